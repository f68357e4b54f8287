"""Objects that refuse to be copied: a copy would have the same waiters, or wait for itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn, SupportsIndex

__all__ = ["Reduce", "refuse_copies"]

Reduce = Callable[[Any, SupportsIndex], NoReturn]
"""The type of ``__reduce_ex__`` in such a class."""


def refuse_copies(self: object, protocol: object = None, /) -> NoReturn:
    """As ``__reduce_ex__`` of a class: its objects can be neither copied nor pickled, like CPython's locks.

    :raises TypeError: always, with CPython's message.
    """
    kind = type(self)
    raise TypeError(f"cannot pickle '{kind.__module__}.{kind.__qualname__}' object")
