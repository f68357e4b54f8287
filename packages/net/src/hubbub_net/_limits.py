"""Time limits, checked by CPython's own functions in C: what these accept differs from one version to the next."""

from __future__ import annotations

import select
from typing import Any

__all__ = ["epoll_seconds", "poll_seconds", "select_seconds"]

_select = select.select
_usual = frozenset({int, float})
_LONG = 1_000_000
_LONGEST_MILLISECONDS = 2**31 - 1


class _Accepted(Exception):
    """``select.select`` has accepted the time limit."""


class _Member:
    """A member that ``select.select`` asks for its descriptor only after it has accepted the time limit."""

    def fileno(self) -> int:
        """Report the acceptance by an exception, so that the call looks at no descriptor."""
        raise _Accepted


_members = [_Member()]


def select_seconds(value: Any) -> float:
    """The seconds that :func:`select.select` makes of a time limit.

    :raises TypeError: it is no number.
    :raises ValueError: it is negative, or a NaN.
    :raises OverflowError: it is too large.
    """
    if not (type(value) in _usual and 0 <= value <= _LONG):
        try:
            _select(_members, (), (), value)
        except _Accepted:
            pass
    return float(value)


def epoll_seconds(value: Any) -> float:
    """The seconds that ``select.epoll.poll`` makes of a time limit; negative ones are allowed."""
    if type(value) in _usual and -_LONG <= value <= _LONG:
        return float(value)
    seconds = float(value) if isinstance(value, (int, float)) and value < 0 else select_seconds(value)
    if abs(seconds) * 1e3 > _LONGEST_MILLISECONDS:
        raise OverflowError("timeout is too large")
    return seconds


if hasattr(select, "poll"):
    _poller = select.poll()
    _poller.register(_LONGEST_MILLISECONDS)  # no descriptor has that number: poll returns at once

    def poll_seconds(value: Any) -> float:
        """The seconds that ``select.poll.poll`` makes of a time limit in milliseconds; negative ones are allowed."""
        if not (type(value) in _usual and -_LONG <= value <= _LONG):
            _poller.poll(value)
        return float(value) / 1000.0
