"""The built-in loop: the standard library's selectors and a heap of deadlines. Needs no compiler.

With epoll it is edge-triggered: a descriptor is registered once, and an event is reported once however long nobody
reads, which saves the system calls that a level-triggered loop spends on switching reports off and on.
"""

from __future__ import annotations

import errno
import select
import selectors
import socket
from collections.abc import Iterable
from heapq import heapify, heappop, heappush
from time import monotonic

from hubbub.abc import LEVEL, READ, WRITE
from hubbub.loop.base import BaseLoop

__all__ = ["EpollLoop", "SelectorLoop", "StdlibLoop"]

_FAR = 86400.0
"""The longest single wait, in seconds: system calls overflow before floats do."""


class _HeapLoop(BaseLoop):
    """Timers in a heap, wake-ups through a pair of sockets."""

    name = "stdlib"

    def _open(self) -> None:
        self._now = monotonic()
        self._heap: list[list[float]] = []  # [deadline, sequence, key]; a stopped one has key -1
        self._entries: dict[int, list[float]] = {}
        self._sequence = 0
        self._waiting = False
        self._waker_reader, self._waker_writer = socket.socketpair()
        self._waker_reader.setblocking(False)
        self._waker_writer.setblocking(False)

    def _close(self, forked: bool) -> None:
        self._waker_reader.close()
        self._waker_writer.close()
        self._heap.clear()
        self._entries.clear()

    def now(self) -> float:
        """The time of the last poll or :meth:`update_now`, in seconds of :func:`time.monotonic`."""
        return self._now

    def update_now(self) -> float:
        """Read the clock."""
        self._now = monotonic()
        return self._now

    def wake(self) -> None:
        """End a waiting poll. From any thread."""
        if self._waiting:
            self._waiting = False
            try:
                self._waker_writer.send(b"\0")
            except (BlockingIOError, OSError):
                pass  # full: the poll ends anyway; closed: the loop is gone

    def _woken(self) -> None:
        try:
            self._waker_reader.recv(4096)
        except BlockingIOError:
            pass

    def timer_start(self, key: int, after: float, repeat: float) -> None:
        """See :meth:`hubbub.abc.Loop.timer_start`."""
        self._sequence += 1
        self._now = now = monotonic()
        entry = [now + after, self._sequence, key, repeat]
        self._entries[key] = entry
        heappush(self._heap, entry)

    def timer_stop(self, key: int) -> None:
        """See :meth:`hubbub.abc.Loop.timer_stop`."""
        self._entries.pop(key)[2] = -1
        heap = self._heap
        if len(heap) > 64 and len(heap) > 2 * len(self._entries):
            self._heap = list(self._entries.values())
            heapify(self._heap)

    def _expire(self) -> None:
        """Move the keys of the timers that are due to :attr:`due`."""
        heap, entries = self._heap, self._entries
        now = self._now = monotonic()
        due = []
        while heap and heap[0][0] <= now:
            entry = heappop(heap)
            key = int(entry[2])
            if key < 0:
                continue
            due.append(key)
            if entry[3]:
                self._sequence += 1
                entry[0] = max(entry[0] + entry[3], now)
                entry[1] = self._sequence
                heappush(heap, entry)
                if entry[0] <= now:
                    break
            else:
                del entries[key]
        self.due = due

    def _timeout(self, block: bool) -> float:
        """How long to wait, in seconds; -1 for no limit. Announces the wait, so that ``wake`` is not missed."""
        if not block:
            return 0.0
        self._waiting = True
        if self.ready:
            return 0.0
        heap = self._heap
        while heap and heap[0][2] < 0:
            heappop(heap)
        if not heap:
            return -1.0
        return min(max(heap[0][0] - monotonic(), 0.0), _FAR)


if hasattr(select, "epoll"):

    class EpollLoop(_HeapLoop):
        """Edge-triggered :manpage:`epoll(7)`."""

        edge_triggered = True
        READ_BITS = select.EPOLLIN | select.EPOLLPRI | select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
        WRITE_BITS = select.EPOLLOUT | select.EPOLLHUP | select.EPOLLERR
        STICKY_BITS = select.EPOLLPRI | select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR

        def _open(self) -> None:
            super()._open()
            self._epoll = select.epoll()
            self._epoll.register(self._waker_reader.fileno(), select.EPOLLIN)
            self._registered: set[int] = set()

        def _close(self, forked: bool) -> None:
            super()._close(forked)
            self._epoll.close()

        def poll(self, block: bool) -> Iterable[tuple[int, int]]:
            """See :meth:`hubbub.abc.Loop.poll`."""
            timeout = self._timeout(block)
            if 0.0 < timeout < 0.002:
                timeout = self._wait_briefly(timeout)
            elif timeout > 0.0:
                timeout = int(timeout * 1000.0) / 1000.0  # epoll_wait counts whole milliseconds; the rest comes next
            events = self._epoll.poll(timeout)
            self._waiting = False
            if self._heap:
                self._expire()
            waker = self._waker_reader.fileno()
            for event in events:
                if event[0] == waker:
                    self._woken()
                    return [event for event in events if event[0] != waker]
            return events

        def _wait_briefly(self, timeout: float) -> float:
            """select(2) counts microseconds where epoll_wait(2) counts milliseconds."""
            fd = self._epoll.fileno()
            if fd < 1024:
                select.select((fd,), (), (), timeout)
                return 0.0
            return timeout

        def arm(self, fd: int, events: int) -> None:
            """See :meth:`hubbub.abc.Loop.arm`."""
            if not events & (READ | WRITE):
                self.forget(fd)
                return
            bits = 0 if events & LEVEL else select.EPOLLET | select.EPOLLRDHUP | select.EPOLLPRI
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

    StdlibLoop: type[_HeapLoop] = EpollLoop


class SelectorLoop(_HeapLoop):
    """Whatever :class:`selectors.DefaultSelector` is (kqueue, poll, select), level-triggered."""

    def _open(self) -> None:
        super()._open()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._waker_reader, selectors.EVENT_READ)

    def _close(self, forked: bool) -> None:
        super()._close(forked)
        self._selector.close()

    def poll(self, block: bool) -> Iterable[tuple[int, int]]:
        """See :meth:`hubbub.abc.Loop.poll`."""
        timeout = self._timeout(block)
        events = self._selector.select(None if timeout < 0.0 else timeout)
        self._waiting = False
        if self._heap:
            self._expire()
        waker = self._waker_reader.fileno()
        found = [(key.fd, bits) for key, bits in events]
        if any(fd == waker for fd, _ in found):
            self._woken()
            found = [pair for pair in found if pair[0] != waker]
        return found

    def arm(self, fd: int, events: int) -> None:
        """See :meth:`hubbub.abc.Loop.arm`."""
        if not events:
            self.forget(fd)
            return
        if fd in self._selector.get_map():
            self._selector.modify(fd, events)
        else:
            self._selector.register(fd, events)

    def forget(self, fd: int) -> None:
        """See :meth:`hubbub.abc.Loop.forget`."""
        try:
            self._selector.unregister(fd)
        except (KeyError, ValueError):
            pass


if not hasattr(select, "epoll"):
    StdlibLoop = SelectorLoop
