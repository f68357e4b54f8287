"""The cooperative part of :mod:`time`."""

from __future__ import annotations

from hubbub._builtin import Place, as_builtin
from hubbub.hub import sleep as _sleep

__all__ = ["sleep"]


@as_builtin
def sleep(_: Place, seconds: float, /) -> None:
    """:func:`time.sleep`, letting other greenlets run; 0 yields once.

    :raises ValueError: a negative number, or none at all.
    """
    if not seconds >= 0:  # this also refuses NaN
        raise ValueError("sleep length must be non-negative")
    _sleep(seconds)
