"""gevent.select on hubbub: a descriptor that is closed while a greenlet waits for it counts as readable or writable."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from hubbub_monkey import get_original
from hubbub_net import select as _cooperative

_original_select = get_original("select", "select")
__all__ = ["error", "poll", "select"]
__implements__: list[str] = ["select", "poll"]
error = OSError
_ALL = _cooperative.POLLIN | _cooperative.POLLPRI | _cooperative.POLLOUT


def select(
    rlist: Iterable[Any], wlist: Iterable[Any], xlist: Iterable[Any], timeout: float | None = None
) -> tuple[list[Any], list[Any], list[Any]]:
    """:func:`hubbub_net.select.select`."""
    reading, writing, urgent = (kept if isinstance(kept, list) else list(kept) for kept in (rlist, wlist, xlist))
    _original_select(reading, writing, urgent, 0)  # a descriptor that is closed from the start is an error
    try:
        return _cooperative.select(reading, writing, urgent, timeout)
    except (OSError, ValueError):
        gone = [[item for item in kept if _is_closed(item)] for kept in (reading, writing, urgent)]
        if not any(gone):
            raise
        return gone[0], gone[1], gone[2]


class poll:
    """:func:`hubbub_net.select.poll` as a class, whose methods take their arguments by name too."""

    def __init__(self) -> None:
        self._poll = _cooperative.poll()

    def register(self, fd: Any, eventmask: int = _ALL) -> None:
        """Add a descriptor, or change the events to wait for."""
        self._poll.register(fd, eventmask)

    def modify(self, fd: Any, eventmask: int) -> None:
        """Change the events to wait for.

        :raises FileNotFoundError: it was not registered.
        """
        self._poll.modify(fd, eventmask)

    def unregister(self, fd: Any) -> None:
        """Remove a descriptor.

        :raises KeyError: it was not registered.
        """
        self._poll.unregister(fd)

    def poll(self, timeout: float | None = None) -> list[tuple[int, int]]:
        """Wait, and return (descriptor, events) pairs.

        :param timeout: milliseconds; None or a negative number waits for ever, 0 only looks.
        """
        return self._poll.poll(timeout)


def _is_closed(item: Any) -> bool:
    """Whether a descriptor, or an object with ``fileno()``, is closed."""
    try:
        os.fstat(item if isinstance(item, int) else item.fileno())
    except (OSError, ValueError):
        return True
    return False


def __getattr__(name: str) -> Any:
    return getattr(_cooperative, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *dir(_cooperative)})
