"""A loop whose clock jumps: when all greenlets sleep, it is at once the time at which the first one wakes."""

from __future__ import annotations

import selectors
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any, TypeAlias

from hubbub.abc import READ, WRITE, Backend
from hubbub.lowlevel import BaseLoop

__all__ = ["VirtualClock", "VirtualClockLoop"]


_Events: TypeAlias = list[tuple[int, int]]


@dataclass(order=True)
class _Appointment:
    """A running timer; a timer that was stopped has no callback any more."""

    deadline: float
    sequence: int
    callback: Callable[[], Any] | None = field(compare=False)
    repeat: float = field(compare=False)
    ref: bool = field(compare=False)


class VirtualClockLoop(BaseLoop):
    """Like a real loop, except for the time, which only passes when there is nothing else to do.

    Descriptors and other threads are real and take real time: while a greenlet waits for one of them, the loop waits
    ``grace`` seconds of real time for events before each jump.
    """

    grace: float = 0.02
    refs: int

    def __init__(self, default: bool = False) -> None:
        super().__init__(_JumpingBackend(self), default)

    def start_clock(self) -> None:
        """Set the time to 0, with no timers."""
        self._time = 0.0
        self.jumps: int = 0
        self._agenda: list[_Appointment] = []
        self._made = 0
        self._counting = 0  # how many appointments are in ``refs``

    # Time -----------------------------------------------------------------------------------------------------------

    def now(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._time

    def update_now(self) -> float:
        """As :meth:`now`: only the loop moves this clock."""
        return self._time

    def call_later(self, after: float, callback: Callable[[], Any], repeat: float = 0.0, ref: bool = True) -> Any:
        """See :meth:`hubbub.loop.timers.Timers.call_later`."""
        self._made += 1
        appointment = _Appointment(self._time + after, self._made, callback, repeat, False)
        heappush(self._agenda, appointment)
        self.ref_timer(appointment, ref)
        return appointment

    def cancel_later(self, key: Any, callback: Callable[[], Any]) -> None:
        """See :meth:`hubbub.loop.timers.Timers.cancel_later`."""
        if key.callback is callback:
            self._end(key)
        self.unschedule(callback)  # a timer that repeats may be in both places

    def timer_runs(self, key: Any, callback: Callable[[], Any]) -> bool:
        """See :meth:`hubbub.loop.timers.Timers.timer_runs`."""
        return bool(key.callback is callback)

    def moment(self) -> int:
        """See :meth:`hubbub.loop.timers.Timers.moment`."""
        self._made += 1
        return self._made

    def moment_of(self, key: Any) -> int:
        """See :meth:`hubbub.loop.timers.Timers.moment_of`."""
        number: int = key.sequence
        return number

    def ref_timer(self, key: Any, ref: bool) -> None:
        """See :meth:`hubbub.loop.timers.Timers.ref_timer`."""
        if key.ref != ref and key.callback is not None:
            key.ref = ref
            change = 1 if ref else -1
            self.refs += change
            self._counting += change

    def _end(self, appointment: _Appointment) -> None:
        self.ref_timer(appointment, False)
        appointment.callback = None

    def _next(self) -> _Appointment | None:
        agenda = self._agenda
        while agenda and agenda[0].callback is None:
            heappop(agenda)
        return agenda[0] if agenda else None

    def _expire_until_now(self) -> None:
        """Queue the callbacks that are due; one that repeats is queued once a turn at most."""
        again = []
        while (appointment := self._next()) is not None and appointment.deadline <= self._time:
            heappop(self._agenda)
            assert appointment.callback is not None
            if not appointment.repeat or appointment.callback not in self.ready:
                self.ready.append(appointment.callback)
            if appointment.repeat:
                appointment.deadline += appointment.repeat
                again.append(appointment)
            else:
                self._end(appointment)
        for appointment in again:
            self._made += 1
            appointment.sequence = self._made
            heappush(self._agenda, appointment)

    def poll_with(self, look: Callable[[float | None], _Events], timeout: float) -> _Events:
        """The events to report. If there are none, the clock jumps to the next timer.

        :param look: waits for events in real time: for so many seconds; None for no limit.
        """
        events = look(0.0)
        if timeout and not events and not self.ready:
            appointment = self._next()
            if appointment is None:
                events = look(None)
            elif appointment.deadline > self._time:
                events = look(self.grace) if self._others_may_act() else []
                if not events and not self.ready:
                    self._time = appointment.deadline
                    self.jumps += 1
        self._expire_until_now()
        return events

    def _others_may_act(self) -> bool:
        """Whether an event may come from outside: something waits for a descriptor, a thread or a signal."""
        if self.refs > self._counting:
            return True
        return any(each.waiting for handle in self.handles.values() for each in handle.directions())


class _JumpingBackend(Backend):
    """A selector; the loop decides how long it waits."""

    name = "virtual"

    def __init__(self, loop: VirtualClockLoop) -> None:
        self._loop = loop

    def open(self) -> None:
        """See :meth:`hubbub.abc.Backend.open`."""
        self._selector = selectors.DefaultSelector()
        self._loop.start_clock()

    def close(self, forked: bool) -> None:
        """See :meth:`hubbub.abc.Backend.close`."""
        self._selector.close()

    def poll(self, timeout: float) -> _Events:
        """See :meth:`hubbub.abc.Backend.poll`."""
        return self._loop.poll_with(self._look, timeout)

    def _look(self, timeout: float | None) -> _Events:
        return [(key.fd, bits) for key, bits in self._selector.select(timeout)]

    def arm(self, fd: int, events: int) -> None:
        """See :meth:`hubbub.abc.Backend.arm`."""
        events &= READ | WRITE
        if not events:
            self.forget(fd)
            return
        if fd in self._selector.get_map():
            try:
                self._selector.modify(fd, events)
                return
            except FileNotFoundError:
                self.forget(fd)  # it was closed, and the number is in use again
        self._selector.register(fd, events)

    def forget(self, fd: int) -> None:
        """See :meth:`hubbub.abc.Backend.forget`."""
        try:
            self._selector.unregister(fd)
        except (KeyError, ValueError):
            pass  # not registered


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
