"""The built-in backend: the standard library's selectors and a heap of deadlines. Needs no compiler.

With epoll it is edge-triggered: a descriptor is registered once, and an event is reported once however long nobody
reads, which saves the system calls that a level-triggered loop spends on switching reports off and on.
"""

from __future__ import annotations

import errno
import select
from collections.abc import Iterable

from hubbub._originals import DefaultSelector as _DefaultSelector
from hubbub._originals import epoll as _epoll
from hubbub._originals import poll as _poll
from hubbub._originals import select as _select
from hubbub.abc import LEVEL, READ, WRITE, Backend

__all__ = ["EpollBackend", "SelectorBackend", "StdlibBackend"]

_FAR = 86400.0
"""The longest single wait, in seconds: system calls overflow before floats do."""

_EPOLLRDHUP: int = getattr(select, "EPOLLRDHUP", 0x2000)
"""PyPy has no name for it."""


def _whole_milliseconds(timeout: float) -> float:
    """What epoll_wait(2) can count; the rest of the time comes in the next turn."""
    return int(min(timeout, _FAR) * 1000.0) / 1000.0


if hasattr(select, "epoll"):

    class EpollBackend(Backend):
        """Edge-triggered :manpage:`epoll(7)`."""

        name = "stdlib"
        edge_triggered = True
        READ_BITS = select.EPOLLIN | select.EPOLLPRI | _EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
        WRITE_BITS = select.EPOLLOUT | select.EPOLLHUP | select.EPOLLERR
        STICKY_BITS = select.EPOLLPRI | _EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR

        def open(self) -> None:
            """See :meth:`hubbub.abc.Backend.open`."""
            self._epoll = _epoll()
            self._epoll_poll = self._epoll.poll
            self._registered: dict[int, int] = {}
            self._lost: set[int] = set()
            """Numbers whose file was closed behind our back: while a copy of it is left, epoll reports it by them."""

        def close(self, forked: bool) -> None:
            """See :meth:`hubbub.abc.Backend.close`."""
            self._epoll.close()

        def poll(self, timeout: float) -> Iterable[tuple[int, int]]:
            """See :meth:`hubbub.abc.Backend.poll`."""
            if timeout > 0.0:
                timeout = self._wait_briefly(timeout) if timeout < 0.002 else _whole_milliseconds(timeout)
            events: list[tuple[int, int]] = self._epoll_poll(timeout)
            return self._without_false(events) if self._lost else events

        def _without_false(self, events: list[tuple[int, int]]) -> list[tuple[int, int]]:
            """Leave out reports of files that have lost their number; after one, have epoll forget all such files."""
            true = [(fd, self._true_bits(fd, bits) if fd in self._lost else bits) for fd, bits in events]
            if true != events:
                self._renew()
            return [event for event in true if event[1]]

        def _true_bits(self, fd: int, bits: int) -> int:
            """The bits of an event that hold for the descriptor itself."""
            if fd not in self._registered:
                return 0
            poller = _poll()
            poller.register(fd, bits)
            return sum(found & bits for _, found in poller.poll(0))

        def _wait_briefly(self, timeout: float) -> float:
            """select(2) counts microseconds where epoll_wait(2) counts milliseconds."""
            fd = self._epoll.fileno()
            if fd < 1024:
                _select((fd,), (), (), timeout)
                return 0.0
            return timeout

        def arm(self, fd: int, events: int) -> None:
            """See :meth:`hubbub.abc.Backend.arm`."""
            if not events & (READ | WRITE):
                self.forget(fd)
                return
            bits = 0 if events & LEVEL else select.EPOLLET | _EPOLLRDHUP | select.EPOLLPRI
            if events & READ:
                bits |= select.EPOLLIN
            if events & WRITE:
                bits |= select.EPOLLOUT
            known = fd in self._registered
            # Noted first, without a call in between: a signal handler may wait after any call, and another greenlet
            # may arm the descriptor meanwhile.
            self._registered[fd] = bits
            try:
                (self._epoll.modify if known else self._epoll.register)(fd, bits)
            except (FileNotFoundError, FileExistsError):
                self._arm_anew(fd, bits, known)
            except BaseException:
                self._registered.pop(fd, None)
                raise

        def _arm_anew(self, fd: int, bits: int, known: bool) -> None:
            """The file was closed behind our back, and its number is in use again, perhaps by a copy of that file."""
            self._registered.pop(fd, None)
            self._lost.add(fd)
            (self._epoll.register if known else self._epoll.modify)(fd, bits)
            self._registered[fd] = bits

        def _renew(self) -> None:
            """Make a new epoll instance: what has lost its number cannot be taken out of the old one."""
            try:
                epoll = _epoll()
            except OSError:
                return  # no descriptor is left; false alarms are the smaller evil
            for fd, bits in self._registered.items():
                try:
                    epoll.register(fd, bits)
                except OSError:
                    pass  # closed as well
            self._lost.clear()
            self._epoll = epoll  # the last reference closes the old one: a poll of it may be interrupted just now
            self._epoll_poll = epoll.poll

        def forget(self, fd: int) -> None:
            """See :meth:`hubbub.abc.Backend.forget`."""
            if fd in self._registered:
                del self._registered[fd]
                try:
                    self._epoll.unregister(fd)
                except OSError as error:
                    if error.errno not in (errno.ENOENT, errno.EBADF):
                        raise
                    self._lost.add(fd)

    StdlibBackend: type[Backend] = EpollBackend


class SelectorBackend(Backend):
    """Whatever :class:`selectors.DefaultSelector` is (kqueue, poll, select), level-triggered."""

    name = "stdlib"

    def open(self) -> None:
        """See :meth:`hubbub.abc.Backend.open`."""
        self._selector = _DefaultSelector()

    def close(self, forked: bool) -> None:
        """See :meth:`hubbub.abc.Backend.close`."""
        self._selector.close()

    def poll(self, timeout: float) -> Iterable[tuple[int, int]]:
        """See :meth:`hubbub.abc.Backend.poll`."""
        events = self._selector.select(None if timeout < 0.0 else min(timeout, _FAR))
        return [(key.fd, bits) for key, bits in events]

    def arm(self, fd: int, events: int) -> None:
        """See :meth:`hubbub.abc.Backend.arm`."""
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
        """See :meth:`hubbub.abc.Backend.forget`."""
        try:
            self._selector.unregister(fd)
        except (KeyError, ValueError):
            pass


if not hasattr(select, "epoll"):
    StdlibBackend = SelectorBackend
