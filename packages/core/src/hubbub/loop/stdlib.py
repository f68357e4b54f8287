"""The built-in loop: the standard library's selectors and a heap of deadlines. Needs no compiler.

With epoll it is edge-triggered: a descriptor is registered once, and an event is reported once however long nobody
reads, which saves the system calls that a level-triggered loop spends on switching reports off and on.
"""

from __future__ import annotations

import errno
import select
from collections.abc import Iterable

from hubbub._originals import DefaultSelector as _DefaultSelector
from hubbub._originals import epoll as _epoll
from hubbub._originals import select as _select
from hubbub.abc import LEVEL, READ, WRITE
from hubbub.loop.base import BaseLoop

__all__ = ["EpollLoop", "SelectorLoop", "StdlibLoop"]

_FAR = 86400.0
"""The longest single wait, in seconds: system calls overflow before floats do."""

_EPOLLRDHUP: int = getattr(select, "EPOLLRDHUP", 0x2000)
"""PyPy has no name for it."""


def _whole_milliseconds(timeout: float) -> float:
    """What epoll_wait(2) can count; the rest of the time comes in the next turn."""
    return int(min(timeout, _FAR) * 1000.0) / 1000.0


if hasattr(select, "epoll"):

    class EpollLoop(BaseLoop):
        """Edge-triggered :manpage:`epoll(7)`."""

        name = "stdlib"
        edge_triggered = True
        READ_BITS = select.EPOLLIN | select.EPOLLPRI | _EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
        WRITE_BITS = select.EPOLLOUT | select.EPOLLHUP | select.EPOLLERR
        STICKY_BITS = select.EPOLLPRI | _EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR

        def _open(self) -> None:
            self._epoll = _epoll()
            self._epoll_poll = self._epoll.poll
            self._registered: set[int] = set()

        def _close(self, forked: bool) -> None:
            self._epoll.close()

        def poll(self, timeout: float) -> Iterable[tuple[int, int]]:
            """See :meth:`hubbub.abc.Loop.poll`."""
            if timeout > 0.0:
                timeout = self._wait_briefly(timeout) if timeout < 0.002 else _whole_milliseconds(timeout)
            events: list[tuple[int, int]] = self._epoll_poll(timeout)
            return events

        def _wait_briefly(self, timeout: float) -> float:
            """select(2) counts microseconds where epoll_wait(2) counts milliseconds."""
            fd = self._epoll.fileno()
            if fd < 1024:
                _select((fd,), (), (), timeout)
                return 0.0
            return timeout

        def arm(self, fd: int, events: int) -> None:
            """See :meth:`hubbub.abc.Loop.arm`."""
            if not events & (READ | WRITE):
                self.forget(fd)
                return
            bits = 0 if events & LEVEL else select.EPOLLET | _EPOLLRDHUP | select.EPOLLPRI
            if events & READ:
                bits |= select.EPOLLIN
            if events & WRITE:
                bits |= select.EPOLLOUT
            if fd in self._registered:
                try:
                    self._epoll.modify(fd, bits)
                    return
                except FileNotFoundError:
                    pass  # closed behind our back, and the number is in use again
            self._epoll.register(fd, bits)
            self._registered.add(fd)

        def forget(self, fd: int) -> None:
            """See :meth:`hubbub.abc.Loop.forget`."""
            if fd in self._registered:
                self._registered.discard(fd)
                try:
                    self._epoll.unregister(fd)
                except OSError as error:
                    if error.errno not in (errno.ENOENT, errno.EBADF):
                        raise

    StdlibLoop: type[BaseLoop] = EpollLoop


class SelectorLoop(BaseLoop):
    """Whatever :class:`selectors.DefaultSelector` is (kqueue, poll, select), level-triggered."""

    name = "stdlib"

    def _open(self) -> None:
        self._selector = _DefaultSelector()

    def _close(self, forked: bool) -> None:
        self._selector.close()

    def poll(self, timeout: float) -> Iterable[tuple[int, int]]:
        """See :meth:`hubbub.abc.Loop.poll`."""
        events = self._selector.select(None if timeout < 0.0 else min(timeout, _FAR))
        return [(key.fd, bits) for key, bits in events]

    def arm(self, fd: int, events: int) -> None:
        """See :meth:`hubbub.abc.Loop.arm`."""
        if not events:
            self.forget(fd)
            return
        if fd in self._selector.get_map():
            try:
                self._selector.modify(fd, events)
                return
            except FileNotFoundError:
                self.forget(fd)  # closed behind our back, and the number is in use again
        self._selector.register(fd, events)

    def forget(self, fd: int) -> None:
        """See :meth:`hubbub.abc.Loop.forget`."""
        try:
            self._selector.unregister(fd)
        except (KeyError, ValueError):
            pass


if not hasattr(select, "epoll"):
    StdlibLoop = SelectorLoop
