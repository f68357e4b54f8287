"""The cooperative part of :mod:`time`."""

from __future__ import annotations

from operator import index

from hubbub._builtin import Place, as_builtin
from hubbub.hub import sleep as _sleep

__all__ = ["sleep"]

_MOST = 2**63 / 1e9
"""Seconds that the standard library's ``sleep`` cannot count any more: it counts nanoseconds in 64 bits."""


@as_builtin
def sleep(_: Place, seconds: float, /) -> None:
    """:func:`time.sleep`, letting other greenlets run; 0 yields once.

    :raises ValueError: a negative number, or none at all.
    :raises OverflowError: more than 292 years, as infinity is; :func:`hubbub.sleep` takes that.
    """
    try:
        possible = 0 <= seconds < _MOST
    except TypeError:  # not a number, but perhaps something that stands for one
        seconds = index(seconds)  # type: ignore[arg-type]  # its type says nothing of __index__
        possible = 0 <= seconds < _MOST
    if not possible:
        if seconds < 0:
            raise ValueError("sleep length must be non-negative")
        if seconds >= _MOST:
            raise OverflowError("timestamp out of range for platform time_t")
        raise ValueError("Invalid value NaN (not a number)")
    _sleep(seconds)
