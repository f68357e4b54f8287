"""Readiness of one file descriptor, and its waiters.

A descriptor whose owner tells the loop of the closing is registered with the loop at the first wait and stays so until
then. C code may close any other without a word, and its number may come into use again. So such a descriptor is
registered only while watchers or greenlets wait for it, and anew for each that comes. (A kernel forgets a closed
descriptor, so an earlier registration may be gone.)

Each direction remembers whether an attempt is worth while (``ready``): an event that finds nobody waiting sets it, an
attempt that empties the kernel's buffer clears it. So a wait costs no system call, and EAGAIN is hardly ever seen.

A wake-up puts the greenlet's switch into the run queue. A greenlet that is interrupted before that switch runs takes it
out of the queue and marks the direction ready again, so that the next reader does not lose the event.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from greenlet import getcurrent

from hubbub._twins import known_to_c, mirrored, twin
from hubbub.abc import LEVEL, READ, WRITE

if TYPE_CHECKING:
    from hubbub.loop.base import BaseLoop

__all__ = ["FEW_READY", "Direction", "Observer", "Readiness", "closed_error", "join_all", "leave_all"]

_EXPIRED: Any = object()
_PATIENCE = 4
"""How many reports may find nobody waiting before they are switched off."""
FEW_READY = 16
"""So many callables in the run queue are called before the next poll, as a rule."""


class Observer(Protocol):
    """What the loop tells of a descriptor's events in the moment it sees them. See :meth:`Readiness.join`.

    Greenlets and callbacks run later, and the first of them may take what was there. The loop calls an observer while
    it works through its events: the observer must neither wait nor raise.
    """

    @property
    def events(self) -> int:
        """What the observer is told of: :data:`READ`, :data:`WRITE`, both, or 0: the closing alone."""

    def fired(self, events: int) -> None:
        """The loop reports ``events``; at least one of them is wanted."""

    def descriptor_closed(self) -> None:
        """The descriptor is about to be closed, and the observer has left it: the number may soon be another file's."""


class Direction:
    """Reading or writing of one descriptor on one loop. Belongs to the loop's thread."""

    __slots__ = ("armed", "bit", "handle", "loop", "others", "ready", "since", "turn_at", "unheeded", "user", "waiter")

    def __init__(self, handle: Readiness, bit: int) -> None:
        self.handle: Readiness = handle
        self.loop: BaseLoop = handle.loop
        self.bit: int = bit
        self.armed: bool = False
        self.ready: bool = True
        self.unheeded: int = 0
        """How many reports found nobody waiting, since they were last switched off."""
        self.turn_at: int = 0
        """The greenlet that was woken last has its turn when the loop has called so many callables."""
        self.since: float = 0.0
        """When the last wait began: the loop's time, for diagnosis."""
        self.user: Any = None
        """The object that waits, if no frame tells (a socket read in C); for diagnosis."""
        self.waiter: Callable[..., Any] | None = None
        self.others: list[Callable[..., Any]] | None = None

    @twin("direction.c")
    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the next event. Whether an attempt is worth while without waiting, ``ready`` tells.

        :param timeout: seconds, or None for no limit.
        :returns: False when the time ran out first.
        :raises OSError: EBADF, the descriptor was closed while waiting (or before).
        """
        handle = self.handle
        if handle.closed:
            if self.loop.destroyed:
                # That thread has ended (or stayed behind in the parent process); the descriptor lives on.
                return self._on(self.loop.current_hub().loop).wait(timeout)
            raise closed_error()
        current = getcurrent()
        hub = self.loop.hub
        if current.parent is not hub:
            # The main greenlet, the hub itself, a bare greenlet of somebody's, or another thread.
            mine = self.loop.current_hub()
            if mine is not hub:
                return self._on(mine.loop).wait(timeout)
        if not self.armed:
            known = self.loop.arm_direction(self)
            if known is not self:
                return known.wait(timeout)
        switch = current.switch if current is not hub else hub.resume
        self.since = self.loop.time
        if self.waiter is None:
            self.waiter = switch
        else:
            self.queue(switch)
        if handle.closed or not self.armed:
            return self._is_late(switch)
        if timeout is not None:
            return self._wait_until(switch, timeout)
        try:
            hub.switch()
            if self._waits(switch):
                self._go_on_waiting(switch)
        except BaseException:
            self._abandon(switch)
            raise
        if handle.closed:
            raise closed_error()
        return True

    def _waits(self, switch: Callable[..., Any]) -> bool:
        return self.waiter is switch or (self.others is not None and switch in self.others)

    def _go_on_waiting(self, switch: Callable[..., Any], key: Any = None, expire: Any = None) -> None:
        """Wait on, after a switch that returned too early. ``key`` and ``expire`` are of the time limit, if any."""
        loop = self.loop
        loop.hub.wait_while(lambda: self._waits(switch) and (key is None or loop.timer_runs(key, expire)))

    def _is_late(self, switch: Callable[..., Any]) -> bool:
        """A signal handler waited after the direction was armed; meanwhile it was disarmed or the descriptor closed."""
        self._abandon(switch)
        if self.handle.closed:
            raise closed_error()
        return True

    def queue(self, switch: Callable[..., Any]) -> None:
        """Join behind others. An event wakes the first of them, so what that one leaves must be reported again."""
        handle = self.handle
        if not handle.level:
            handle.always_level = True
            handle.update()  # may find that the descriptor is closed
        if self.waiter is None:  # the last of the others has gone meanwhile
            self.waiter = switch
        elif self.others is None:
            self.others = [switch]
        else:
            self.others.append(switch)

    @mirrored("direction.c")
    def _wait_until(self, switch: Callable[..., Any], timeout: float) -> bool:
        loop = self.loop
        expire = partial(switch, _EXPIRED)
        key = result = None
        try:
            key = loop.call_later(timeout, expire)
            result = loop.hub.switch()
            if result is not _EXPIRED and self._waits(switch):
                self._go_on_waiting(switch, key, expire)
            if self._waits(switch):
                self._abandon(switch)
                return False
            if not loop.timer_runs(key, expire):
                loop.unschedule(switch)  # an event came in the same turn
        except BaseException:
            self._abandon(switch)
            raise
        finally:
            if key is not None and result is not _EXPIRED:  # then it is neither running nor in the run queue
                loop.cancel_later(key, expire)
        if self.handle.closed:
            raise closed_error()
        return True

    def _on(self, loop: BaseLoop) -> Direction:
        """The same direction of the same descriptor on the loop of another thread."""
        self.handle.shared = True
        handle = loop.handle(self.handle.fd)
        handle.shared = True
        handle.foreign = self.handle.foreign
        handle.always_level = handle.always_level or self.handle.always_level
        return handle.read if self.bit == READ else handle.write

    def _abandon(self, switch: Callable[..., Any]) -> None:
        """The waiter was interrupted, or its time is up: it withdraws, and loses no event."""
        if self.waiter is switch:
            self.waiter = self.others.pop(0) if self.others else None
        elif self.others is not None and switch in self.others:
            self.others.remove(switch)
        else:
            self.loop.unschedule(switch)
            self.ready = True

    @twin("direction.c")
    def fire(self) -> None:
        """An event: wake the one who has waited longest, or remember it.

        Reports that go on (level-triggered) are stopped when there were a few too many. Not at once: who was woken by
        an event has often just not had its turn yet, and stopping and starting takes four system calls. If many were
        ready when it was woken, reports count from its turn on.
        """
        waiter = self.waiter
        if waiter is None:
            self.ready = True
            if not self.armed or not self.handle.level or self.loop.calls < self.turn_at:
                return
            self.unheeded += 1
            if self.unheeded == _PATIENCE:
                self.unheeded = 0
                self.armed = False
                self.handle.update()
            return
        if (before := len(self.loop.ready)) > FEW_READY:
            self.turn_at = self.loop.calls + before
        # One call, and the last: a signal handler that raises comes after a call.
        others = self.others
        if others:
            self.waiter = others[0]
            del others[0]
        else:
            self.waiter = self.others = None
        self.loop.ready.append(waiter)

    @property
    def waiting(self) -> bool:
        """Whether a greenlet waits."""
        return self.waiter is not None


@known_to_c
class Readiness:
    """One descriptor on one loop."""

    __slots__ = (
        "always_level",
        "closed",
        "fd",
        "foreign",
        "level",
        "loop",
        "observers",
        "read",
        "registered",
        "shared",
        "sticky",
        "writer",
    )

    def __init__(self, loop: BaseLoop, fd: int) -> None:
        self.loop: BaseLoop = loop
        self.fd: int = fd
        self.closed: bool = False
        self.foreign: bool = True
        """No owner has promised to tell when the descriptor is closed: see :meth:`adopt`."""
        self.level: bool = not loop.edge_triggered
        """Events are reported for as long as they last."""
        self.always_level: bool = self.level
        """A caller asked for that on an edge-triggered loop; set before the first wait."""
        self.sticky: bool = False
        """Hang-up, error or urgent data was seen: a short read does not mean that the buffer is empty."""
        self.registered: int = 0
        self.shared: bool = False
        """The descriptor is watched by the loop of another thread too."""
        self.observers: tuple[Observer, ...] | None = None
        self.read: Direction = Direction(self, READ)
        self.writer: Direction | None = None

    @property
    def write(self) -> Direction:
        """The other direction, made on first use: few descriptors are ever waited for to be writable."""
        if self.writer is None:
            self.writer = Direction(self, WRITE)
        return self.writer

    def directions(self) -> tuple[Direction, ...]:
        """Those that greenlets may wait for."""
        return (self.read,) if self.writer is None else (self.read, self.writer)

    @property
    def lasting(self) -> bool:
        """Whether the descriptor stays registered with the kernel until its owner closes it, also without waiters."""
        return not self.foreign and (self.read.armed or (self.writer is not None and self.writer.armed))

    def join(self, observer: Observer, level: bool = False) -> None:
        """Tell ``observer`` of each event from now on, and of the closing. Other observers and waiters are told too.

        The caller has just found that there is nothing yet.

        :param level: tell of what is there already, and again in each turn for as long as it lasts.
        :raises OSError: the descriptor is closed, or cannot be polled; ``observer`` has not joined.
        """
        observers = self.observers
        self.observers = (observer,) if observers is None else (*observers, observer)
        if level or self.foreign or not (self.read.armed and observer.events == READ):
            self._joined(observer, level)

    def _joined(self, observer: Observer, level: bool) -> None:
        """Tell the kernel, unless it already reports what ``observer`` wants."""
        try:
            if level or (self.foreign and self.registered):
                self.renew()
            elif not self._reports(observer.events):
                self.update()
        except BaseException:
            self.leave(observer)
            raise

    def leave(self, observer: Observer) -> None:
        """Tell ``observer`` nothing more. Harmless if it has not joined, or the descriptor was closed."""
        observers = self.observers
        if observers is None or observer not in observers:
            return
        self.observers = None if len(observers) == 1 else tuple(each for each in observers if each is not observer)
        if self.foreign or self.level is not self.always_level or not (self.read.armed and observer.events == READ):
            self._left(observer)

    def _reports(self, events: int) -> bool:
        """Whether the kernel is asked for ``events`` on behalf of waiters."""
        armed = (READ if self.read.armed else 0) | (WRITE if self.writer is not None and self.writer.armed else 0)
        return not events & ~armed

    def _left(self, observer: Observer) -> None:
        """Tell the kernel, unless waiters want the same events as ``observer`` did."""
        if not self.foreign and self.level is self.always_level and self._reports(observer.events):
            return
        try:
            self.update()
        except OSError:
            self.close()  # the descriptor was closed without a word: tell the others that wait for it
        else:
            self.let_go()

    @mirrored("turn.c")
    def observed(self, events: int) -> None:
        """The loop reports ``events``: tell their observers. So they do not count as unheeded if no greenlet waits."""
        for observer in self.observers or ():
            if observer.events & events:
                self.read.unheeded = 0
                observer.fired(events)

    def _wanted(self) -> int:
        """The events that waiters and observers want; with ``LEVEL`` if for as long as they last."""
        events = READ if self.read.armed else 0
        if self.writer is not None and self.writer.armed:
            events |= WRITE
        for observer in self.observers or ():
            events |= observer.events
        if self.loop.edge_triggered:
            self.level = self.always_level or bool(self.observers)
            if self.level:
                events |= LEVEL
        return events

    def update(self) -> None:
        """Bring the backend's registration in line with what is wanted.

        A signal handler may wait after any call, and other greenlets may update meanwhile; hence the loop.
        """
        events = self._wanted()
        while events != self.registered and not self.closed:
            self.loop._backend.arm(self.fd, events)
            self.registered = events
            events = self._wanted()

    def renew(self) -> None:
        """Tell the kernel again what is wanted: the number may be another file's by now.

        :raises OSError: the descriptor is closed, or cannot be polled.
        """
        self.registered = 0
        self.update()

    def adopt(self) -> None:
        """The caller will tell when the descriptor is closed: it stays registered from the first wait until then."""
        self.foreign = False
        if self.registered:  # by others, perhaps for a file that had the number before
            self.sticky = False
            for direction in self.directions():
                direction.ready = True
            self.renew()

    def let_go(self) -> None:
        """A waiter or observer has gone. If none is left, and no owner tells of the closing, forget the descriptor."""
        if self.foreign and not (self.closed or self.observers or any(each.waiting for each in self.directions())):
            self.drop()

    def forget_waiters(self) -> None:
        """In the child after ``fork``: no greenlet waits, and the new backend knows nothing of the descriptor."""
        self.registered = 0
        self.observers = None
        for direction in self.directions():
            direction.armed = False
            direction.ready = True
            direction.waiter = None
            direction.others = None

    def drop(self) -> None:
        """Forget the descriptor; greenlets that were woken already go on."""
        self.loop.handles.pop(self.fd, None)
        self.registered = 0
        for direction in self.directions():
            direction.armed = False
            direction.ready = True
        backend = self.loop._backend
        backend.arm(self.fd, 0)  # by this call a backend finds out whether it is still the same file
        backend.forget(self.fd)
        successor = self.loop.handles.get(self.fd)
        if successor is not None:  # made while a signal handler waited in the middle of the above
            successor.renew()

    def close(self) -> None:
        """The descriptor is about to be closed: unregister, and wake every waiter (they get EBADF)."""
        if self.closed:
            return
        self.closed = True
        loop = self.loop
        loop.handles.pop(self.fd, None)
        self.registered = 0
        loop._backend.forget(self.fd)  # also if nothing is registered just now: a backend may remember the number
        observers, self.observers = self.observers, None
        for observer in observers or ():
            observer.descriptor_closed()
        for direction in self.directions():
            while direction.waiter is not None:
                direction.fire()
            direction.ready = True


def join_all(pairs: Iterable[tuple[Readiness, Observer]]) -> None:
    """:meth:`Readiness.join` for each pair: for code that waits for many descriptors, again and again.

    :raises OSError: a descriptor is closed, or cannot be polled. :func:`leave_all` takes back what was joined.
    """
    for handle, observer in pairs:
        observers = handle.observers
        handle.observers = (observer,) if observers is None else (*observers, observer)
        if handle.foreign or not (handle.read.armed and observer.events == READ):
            handle._joined(observer, False)


def leave_all(pairs: Iterable[tuple[Readiness, Observer]]) -> None:
    """:meth:`Readiness.leave` for each pair."""
    for handle, observer in pairs:
        observers = handle.observers
        if observers is None:
            continue
        if observers[0] is observer and len(observers) == 1:
            handle.observers = None
        elif observer in observers:
            handle.observers = tuple(each for each in observers if each is not observer)
        else:
            continue
        if (
            observer.events != READ
            or not handle.read.armed
            or handle.foreign
            or handle.level is not handle.always_level
        ):
            handle._left(observer)


@known_to_c
def closed_error() -> OSError:
    """What those who wait get when their descriptor is closed: EBADF."""
    return OSError(errno.EBADF, "File descriptor was closed in another greenlet")
