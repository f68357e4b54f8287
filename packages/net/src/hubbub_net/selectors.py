"""The standard library's :mod:`selectors`, with waits that let other greenlets run.

Every class that the system has, and :class:`DefaultSelector`. A loop around a selector that always finds events lets
other greenlets run too.
"""

from __future__ import annotations

import selectors as _stdlib
from typing import Any
from weakref import ref

from hubbub.abc import READ, WRITE
from hubbub.io import Socket
from hubbub.lowlevel import closing

from hubbub_net import _ahead
from hubbub_net._names import public_names
from hubbub_net._waiting import Deadline, give_way, wait_any, wait_nested

_OWN = ["DefaultSelector", "SelectSelector"]
__all__ = [*_OWN, *(name for name in public_names(_stdlib) if name not in _OWN)]

_Events = list[tuple[_stdlib.SelectorKey, int]]


def __getattr__(name: str) -> Any:
    """What is not defined here is the standard library's."""
    return getattr(_stdlib, name)


def __dir__() -> list[str]:
    return __all__


class _Cooperative(_stdlib.BaseSelector):
    """Asks the kernel only for what is there; waiting is the loop's."""

    def select(self, timeout: float | None = None) -> _Events:
        """(key, events) pairs.

        :param timeout: seconds; None waits for ever, 0 or less only looks.
        """
        give_way()
        found = self._look()
        if found or (timeout is not None and timeout <= 0):
            return found
        deadline = Deadline(timeout)
        while True:
            in_time = self._wait(deadline.left())
            found = self._look()
            if not in_time or found:
                return found

    def _look(self) -> _Events:
        """What is ready now, for the kernel or because it was read ahead."""
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

    def _wait(self, timeout: float | None) -> bool:
        interests = {}
        sockets = {}
        for key in self.get_map().values():
            if isinstance(key.fileobj, Socket):
                sockets[key.fd] = ref(key.fileobj)
            interests[key.fd] = (READ if key.events & _stdlib.EVENT_READ else 0) | (
                WRITE if key.events & _stdlib.EVENT_WRITE else 0
            )
        return wait_any(interests, timeout, None, sockets)


class _Nested(_Cooperative):
    """The selector is a descriptor itself, and readable when it has events."""

    def fileno(self) -> int:
        """The selector's own descriptor."""
        raise NotImplementedError

    def _wait(self, timeout: float | None) -> bool:
        return wait_nested(self.fileno(), timeout)

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


_CLASSES: dict[str, Any] = {"SelectSelector": SelectSelector}

if hasattr(_stdlib, "PollSelector"):

    class PollSelector(_Cooperative, _stdlib.PollSelector):
        """:class:`selectors.PollSelector`."""

    _CLASSES["PollSelector"] = PollSelector

if hasattr(_stdlib, "DevpollSelector"):

    class DevpollSelector(_Cooperative, _stdlib.DevpollSelector):  # type: ignore[name-defined,misc]  # Solaris only
        """:class:`selectors.DevpollSelector`."""

    _CLASSES["DevpollSelector"] = DevpollSelector

if hasattr(_stdlib, "EpollSelector"):

    class EpollSelector(_Nested, _stdlib.EpollSelector):
        """:class:`selectors.EpollSelector`."""

        fileno = _stdlib.EpollSelector.fileno

    _CLASSES["EpollSelector"] = EpollSelector

if hasattr(_stdlib, "KqueueSelector"):

    class KqueueSelector(_Nested, _stdlib.KqueueSelector):  # type: ignore[name-defined,misc]  # BSD only
        """:class:`selectors.KqueueSelector`."""

        fileno = _stdlib.KqueueSelector.fileno  # type: ignore[attr-defined]  # BSD only

    _CLASSES["KqueueSelector"] = KqueueSelector

DefaultSelector: Any = _CLASSES[_stdlib.DefaultSelector.__name__]
