"""The standard library's :mod:`selectors`, with waits that let other greenlets run.

Every class that the system has, and :class:`DefaultSelector`. A selector that always finds events lets other greenlets
run too.
"""

from __future__ import annotations

import selectors as _stdlib
import sys
from collections.abc import Iterable
from math import ceil
from typing import Any
from weakref import ref

from hubbub.abc import READ, WRITE
from hubbub.io import Socket
from hubbub.lowlevel import closing

from hubbub_net import _ahead, _limits
from hubbub_net._observing import IN, OUT, Seen
from hubbub_net._publicnames import public_names
from hubbub_net._waiting import Deadline, give_way, wait_any, wait_nested

_OWN = ["DefaultSelector", "SelectSelector"]
__all__ = [*_OWN, *(name for name in public_names(_stdlib) if name not in _OWN)]

_Events = list[tuple[_stdlib.SelectorKey, int]]


def __getattr__(name: str) -> Any:
    """Names that are not defined here are the standard library's."""
    return getattr(_stdlib, name)


def __dir__() -> list[str]:
    return __all__


class _Cooperative(_stdlib.BaseSelector):
    """A selector that asks the kernel only for what is ready now; the loop does the waiting."""

    def select(self, timeout: float | None = None) -> _Events:
        """(key, events) pairs.

        :param timeout: seconds; None waits for ever, 0 or less only looks.
        """
        seconds = None if timeout is None else self._seconds(timeout)
        give_way()
        found = self._look()
        if found or (seconds is not None and seconds <= 0):
            return found
        deadline = Deadline(seconds)
        while True:
            seen = self._wait(deadline.left())
            found = _merged(self._look(), seen or ())
            if seen is None or found:
                return found

    def _seconds(self, timeout: float) -> float:
        """The time limit as the standard library's class takes it."""
        return _limits.epoll_seconds(ceil(timeout * 1e3) * 1e-3) if timeout > 0 else 0.0

    def _look(self) -> _Events:
        """The events that are there now: for the kernel, or because data was read ahead."""
        found = super().select(0)
        if not _ahead.noted:
            return found
        registered = self.get_map()
        merged = {key.fd: (key, events) for key, events in found}
        for fd in list(_ahead.noted):
            key = registered.get(fd)
            if key is not None and key.events & _stdlib.EVENT_READ and _ahead.readable(fd):
                merged[fd] = key, merged.get(fd, (key, 0))[1] | _stdlib.EVENT_READ
        return list(merged.values())

    def _wait(self, timeout: float | None) -> _Events | None:
        """The events that the loop saw; None when the time ran out first."""
        interests = {}
        sockets = {}
        for key in self.get_map().values():
            if isinstance(key.fileobj, Socket):
                sockets[key.fd] = ref(key.fileobj)
            interests[key.fd] = (READ if key.events & _stdlib.EVENT_READ else 0) | (
                WRITE if key.events & _stdlib.EVENT_WRITE else 0
            )
        seen = wait_any(interests, timeout, None, sockets)
        return None if seen is None else self._known(seen)

    def _known(self, seen: Seen) -> _Events:
        found = []
        for fd, bits in seen.items():
            key = self.get_map().get(fd)
            if key is not None:
                events = (_stdlib.EVENT_READ if bits & ~OUT else 0) | (_stdlib.EVENT_WRITE if bits & ~IN else 0)
                found.append((key, events & key.events))
        return [(key, events) for key, events in found if events]


def _merged(found: _Events, seen: Iterable[tuple[_stdlib.SelectorKey, int]]) -> _Events:
    """The events that are there now, and those that the loop saw."""
    if not seen:
        return found
    merged = {key.fd: (key, events) for key, events in found}
    for key, events in seen:
        merged[key.fd] = key, merged.get(key.fd, (key, 0))[1] | events
    return list(merged.values())


class _Nested(_Cooperative):
    """A selector that is a descriptor itself, and readable when it has events."""

    def fileno(self) -> int:
        """The selector's own descriptor."""
        raise NotImplementedError

    def _wait(self, timeout: float | None) -> _Events | None:
        seen: _Events = []

        def look() -> bool:
            seen.extend(super(_Cooperative, self).select(0))
            return bool(seen)

        return seen if wait_nested(self.fileno(), timeout, look) else None

    def close(self) -> None:
        """Close it. A greenlet that waits gets EBADF."""
        try:
            fd = self.fileno()
        except ValueError:
            return  # closed already
        closing(fd)
        super().close()

    def __del__(self) -> None:
        if hasattr(self, "_selector"):
            self.close()


class SelectSelector(_Cooperative, _stdlib.SelectSelector):
    """:class:`selectors.SelectSelector`."""

    def _seconds(self, timeout: float) -> float:
        return _limits.select_seconds(max(timeout, 0))


_CLASSES: dict[str, Any] = {"SelectSelector": SelectSelector}

if hasattr(_stdlib, "PollSelector"):

    class PollSelector(_Cooperative, _stdlib.PollSelector):
        """:class:`selectors.PollSelector`."""

        def _seconds(self, timeout: float) -> float:
            return _limits.poll_seconds(ceil(timeout * 1e3)) if timeout > 0 else 0.0

    _CLASSES["PollSelector"] = PollSelector

# The first three conditions tell type checkers where typeshed has the class; the last one decides at run time.
if (
    sys.platform != "win32"
    and sys.platform != "linux"
    and sys.platform != "darwin"
    and hasattr(_stdlib, "DevpollSelector")
):

    class DevpollSelector(_Cooperative, _stdlib.DevpollSelector):
        """:class:`selectors.DevpollSelector`."""

    _CLASSES["DevpollSelector"] = DevpollSelector

if hasattr(_stdlib, "EpollSelector"):
    _epoll_fileno = _stdlib.EpollSelector.fileno  # patching puts the class below in its place

    class EpollSelector(_Nested, _stdlib.EpollSelector):
        """:class:`selectors.EpollSelector`."""

        def fileno(self) -> int:
            """The selector's own descriptor."""
            return _epoll_fileno(self)

    _CLASSES["EpollSelector"] = EpollSelector

if sys.platform != "win32" and sys.platform != "linux" and hasattr(_stdlib, "KqueueSelector"):
    _kqueue_fileno = _stdlib.KqueueSelector.fileno  # patching puts the class below in its place

    class KqueueSelector(_Nested, _stdlib.KqueueSelector):
        """:class:`selectors.KqueueSelector`."""

        def fileno(self) -> int:
            """The selector's own descriptor."""
            return _kqueue_fileno(self)

    _CLASSES["KqueueSelector"] = KqueueSelector

DefaultSelector: Any = _CLASSES[_stdlib.DefaultSelector.__name__]
