"""A loop whose clock jumps: when everybody sleeps, it is at once the time at which the first wakes."""

from __future__ import annotations

import selectors
import socket
from collections.abc import Iterable
from heapq import heappop, heappush

from hubbub.abc import READ, WRITE
from hubbub.lowlevel import BaseLoop

__all__ = ["VirtualClock", "VirtualClockLoop"]


class VirtualClockLoop(BaseLoop):
    """Like a real loop, except for the time, which only passes when there is nothing else to do.

    Descriptors and other threads are real and take real time: while somebody waits for one of them, the loop gives them
    ``grace`` seconds of real time before each jump.
    """

    name = "virtual"
    grace = 0.02

    def _open(self) -> None:
        self._now = 0.0
        self.jumps = 0
        self._heap: list[tuple[float, int, int]] = []  # (deadline, sequence, key)
        self._running_timers: dict[int, tuple[int, float]] = {}  # key: (sequence, repeat)
        self._sequence = 0
        self._selector = selectors.DefaultSelector()
        self._waker_reader, self._waker_writer = socket.socketpair()
        self._waker_reader.setblocking(False)
        self._waker_writer.setblocking(False)
        self._selector.register(self._waker_reader, selectors.EVENT_READ)

    def _close(self, forked: bool) -> None:
        self._selector.close()
        self._waker_reader.close()
        self._waker_writer.close()
        self._heap.clear()
        self._running_timers.clear()

    # Time -----------------------------------------------------------------------------------------------------------

    def now(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._now

    def update_now(self) -> float:
        """The same: nobody else moves this clock."""
        return self._now

    def timer_start(self, key: int, after: float, repeat: float) -> None:
        """See :meth:`hubbub.abc.Loop.timer_start`."""
        self._schedule(key, self._now + after, repeat)

    def _schedule(self, key: int, deadline: float, repeat: float) -> None:
        self._sequence += 1
        self._running_timers[key] = (self._sequence, repeat)
        heappush(self._heap, (deadline, self._sequence, key))

    def timer_stop(self, key: int) -> None:
        """See :meth:`hubbub.abc.Loop.timer_stop`."""
        self._running_timers.pop(key, None)

    def _next_deadline(self) -> float | None:
        heap = self._heap
        while heap:
            deadline, sequence, key = heap[0]
            if self._running_timers.get(key, (0, 0.0))[0] == sequence:
                return deadline
            heappop(heap)
        return None

    def _expire(self) -> None:
        due = []
        while (deadline := self._next_deadline()) is not None and deadline <= self._now:
            key = heappop(self._heap)[2]
            repeat = self._running_timers.pop(key)[1]
            due.append(key)
            if repeat:
                self._schedule(key, deadline + repeat, repeat)
        self.due = due

    # Events ---------------------------------------------------------------------------------------------------------

    def poll(self, block: bool) -> Iterable[tuple[int, int]]:
        """See :meth:`hubbub.abc.Loop.poll`. With nothing to report, the clock jumps to the next deadline."""
        events = self._look(0.0)
        if block and not events and not self.ready:
            deadline = self._next_deadline()
            if deadline is None:
                events = self._look(None)
            elif deadline > self._now:
                events = self._look(self.grace) if self._others_may_act() else []
                if not events and not self.ready:
                    self._now = deadline
                    self.jumps += 1
        self._expire()
        return [event for event in events if event[0] != self._waker_reader.fileno()]

    def _others_may_act(self) -> bool:
        """Whether an event may come from outside: somebody waits for a descriptor, a thread or a signal."""
        if self.refs > 0:
            return True
        return any(handle.read.waiting or handle.write.waiting for handle in self.handles.values())

    def _look(self, timeout: float | None) -> list[tuple[int, int]]:
        events = [(key.fd, bits) for key, bits in self._selector.select(timeout)]
        if any(fd == self._waker_reader.fileno() for fd, _ in events):
            self._waker_reader.recv(4096)
        return events

    def wake(self) -> None:
        """See :meth:`hubbub.abc.Loop.wake`."""
        try:
            self._waker_writer.send(b"\0")
        except OSError:
            pass  # full: a wake-up is on its way already; closed: the loop is gone

    # Descriptors ----------------------------------------------------------------------------------------------------

    def arm(self, fd: int, events: int) -> None:
        """See :meth:`hubbub.abc.Loop.arm`."""
        events &= READ | WRITE
        if not events:
            self.forget(fd)
        elif fd in self._selector.get_map():
            self._selector.modify(fd, events)
        else:
            self._selector.register(fd, events)

    def forget(self, fd: int) -> None:
        """See :meth:`hubbub.abc.Loop.forget`."""
        try:
            self._selector.unregister(fd)
        except (KeyError, ValueError):
            pass  # not known


class VirtualClock:
    """What a test sees of a :class:`VirtualClockLoop`."""

    def __init__(self, loop: VirtualClockLoop) -> None:
        self.loop = loop

    def now(self) -> float:
        """Virtual seconds since the test began."""
        return self.loop.now()

    @property
    def jumps(self) -> int:
        """How often the clock has jumped."""
        return self.loop.jumps

    def __repr__(self) -> str:
        return f"<{type(self).__name__} now={self.now()} jumps={self.jumps}>"
