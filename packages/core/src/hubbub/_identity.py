"""Things that there is one of: a copy would have the same waiters, or wait for itself."""

from __future__ import annotations

from typing import NoReturn

__all__ = ["refuse_copies"]


def refuse_copies(self: object, protocol: object = None, /) -> NoReturn:
    """As ``__reduce_ex__`` of a class: its objects can be neither copied nor pickled, like CPython's locks.

    :raises TypeError: in the words of CPython.
    """
    kind = type(self)
    raise TypeError(f"cannot pickle '{kind.__module__}.{kind.__qualname__}' object")
