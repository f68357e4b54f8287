"""Writing down what the loop sees of descriptors, in the moment it sees it."""

from __future__ import annotations

import errno
import os
import select
from collections.abc import Callable, Mapping
from typing import Any

from hubbub.abc import READ, WRITE
from hubbub.hub import get_hub
from hubbub.io import Socket
from hubbub.lowlevel import BaseLoop, Readiness, Waiter, closing

__all__ = ["ERR", "HUP", "IN", "OUT", "PRI", "Seen", "Wait", "ready_now"]

_epoll: Any = getattr(select, "epoll", None)
_poll: Any = getattr(select, "poll", None)
_select = select.select
# Numbers of poll(2) and epoll(7), which are the same; where the system has neither, they are this package's alone.
IN: int = getattr(select, "POLLIN", 0x01)
PRI: int = getattr(select, "POLLPRI", 0x02)
OUT: int = getattr(select, "POLLOUT", 0x04)
ERR: int = getattr(select, "POLLERR", 0x08)
HUP: int = getattr(select, "POLLHUP", 0x10)
Seen = dict[int, int]
"""By descriptor, bits of :manpage:`poll(2)` that the loop saw."""


class _Note:
    """Among the watchers of a descriptor for one wait: writes down what the loop sees, in the moment it is seen.

    Callbacks and greenlets run later, and the first of them may take what was there. So what a wait returns must not
    depend on looking again. A note can be used for one wait after the other.
    """

    __slots__ = ("_updated", "_wait", "alone", "events", "fd", "handle")

    def __init__(self, wait: Wait, fd: int, events: int) -> None:
        self._wait = wait
        self.fd = fd
        self.events = events
        """What is wanted of the loop; none if only the closing matters."""
        self.alone: list[Any] = [self]
        """The watchers of a descriptor that has no others."""
        self.handle: Readiness | None = None
        self._updated = False

    def enter(self, loop: BaseLoop) -> None:
        """Be told from now on.

        :raises OSError: the descriptor is closed, or cannot be polled.
        """
        handle = loop.handles.get(self.fd)
        if handle is None:
            handle = loop.handle(self.fd)
            handle.foreign = True
        self.handle = handle
        self._updated = not self._is_armed(handle)
        if handle.watchers is None:
            handle.watchers = self.alone
        else:
            watchers: list[Any] = handle.watchers
            watchers.append(self)
        if handle.foreign and handle.registered:
            handle.renew()  # nobody tells when such a descriptor is closed: the number may be another file's since
        elif self._updated:
            handle.update()

    def _is_armed(self, handle: Readiness) -> bool:
        """Whether the loop reports what is wanted anyhow."""
        if self.events == READ:
            return handle.read.armed
        return not self.events or (handle.write.armed and (handle.read.armed or not self.events & READ))

    def leave(self) -> None:
        """Leave no trace."""
        handle, self.handle = self.handle, None
        if handle is None or handle.closed:
            return
        if handle.watchers is self.alone and len(self.alone) == 1:
            handle.watchers = None
        else:
            self._leave_others(handle)
        # Who else wants something may have changed the registration meanwhile, with this note in mind.
        if self._updated or handle.foreign or handle.level is not handle.always_level or not self._is_armed(handle):
            self._restore(handle)

    def _leave_others(self, handle: Readiness) -> None:
        watchers: list[Any] | None = handle.watchers
        if watchers and self in watchers:
            watchers.remove(self)
            handle.watchers = watchers or None
        self.alone = [self]

    @staticmethod
    def _restore(handle: Readiness) -> None:
        try:
            handle.update()
        except OSError:
            handle.close()  # the descriptor was closed without a word: tell whoever else waits for it
        else:
            if handle.foreign and not (handle.watchers or any(each.waiting for each in handle.directions())):
                handle.drop()

    def fired(self, events: int) -> None:
        """The loop reports ``events``, and goes on with its reports when this returns."""
        events &= self.events
        handle = self.handle
        if handle is not None:
            handle.read.unheeded = 0  # here is who heeds them
            if handle.loop.edge_triggered:  # urgent data too is something to read for such a loop
                events = self._exactly(events)
        if events:
            self._wait.note(self.fd, (IN if events & READ else 0) | (OUT if events & WRITE else 0))

    def _exactly(self, events: int) -> int:
        try:
            return ready_now(self.fd, events)
        except OSError:
            return events  # who looks again will see

    def descriptor_closed(self) -> None:
        """The number may soon be somebody else's."""
        self.handle = None
        self.alone = [self]
        self._wait.closed(self.fd)


class _NestedNote(_Note):
    """On a poller of the kernel's that is a descriptor itself: looks into it."""

    __slots__ = ("_look",)

    def __init__(self, wait: Wait, fd: int, look: Callable[[], bool]) -> None:
        """:param look: takes what is there; says whether there was something."""
        super().__init__(wait, fd, READ)
        self._look = look

    def fired(self, events: int) -> None:
        """The poller has something, or just had."""
        handle = self.handle
        if handle is not None:
            handle.read.unheeded = 0
        try:
            found = self._look()
        except (OSError, ValueError):
            found = True  # who looks again will meet the error
        if found:
            self._wait.wake()


class Wait:
    """One greenlet's wait for any of several events; then, maybe, the next one's."""

    def __init__(self, lasting: bool = False) -> None:
        """:param lasting: it is used again and again, for much the same; then that costs less."""
        self._lasting = lasting
        self.seen: Seen = {}
        self.waiter: Waiter
        self.broken = False
        """Whether one of the descriptors was closed."""
        self._loop: BaseLoop
        self._generation = 0
        self._known: dict[int, _Note] = {}
        """Of those that are registered with the loop for good, in case there is another wait."""
        self._notes: list[_Note] = []
        self._poller: Any = None

    def begin(self) -> None:
        """The calling greenlet is going to wait.

        :raises BlockingSwitchOutError: it must not.
        """
        self.waiter = Waiter()
        self.seen = {}
        self.broken = False
        self._loop = loop = get_hub().loop
        self._generation = loop.generation
        loop.refs += 1

    def enter(self, interests: Mapping[int, int], others: Mapping[int, int], sockets: Mapping[int, Any]) -> None:
        """Register with the loop what it knows already, or is alone; the rest by a poller of the kernel's.

        Such a poller for this wait alone costs a fraction of so many registrations.

        :raises OSError: a descriptor is closed, or cannot be polled.
        """
        alone = _epoll is None or (len(interests) == 1 and not others)
        masks = {} if _epoll is None else dict(others)
        known, entered, handles = self._known, self._notes, self._loop.handles
        for fd, events in interests.items():
            handle = handles.get(fd)
            note = known.get(fd)
            # The usual case by itself, as this is done for each of many: nothing has changed since the last wait.
            if (
                note is not None
                and note.events == events == READ
                and note.handle is handle
                and handle is not None
                and handle.watchers is None
                and handle.read.armed
                and not handle.foreign
            ):
                handle.watchers = note.alone
                entered.append(note)
            elif alone or self._is_known(fd, handle, sockets):
                if note is None or note.events != events:
                    note = _Note(self, fd, events)
                    if self._lasting:
                        known[fd] = note
                entered.append(note)
                note.enter(self._loop)
            else:
                masks[fd] = masks.get(fd, 0) | (IN if events & READ else 0) | (OUT if events & WRITE else 0)
        if masks:
            self._enter_others(masks)

    def _is_known(self, fd: int, handle: Readiness | None, sockets: Mapping[int, Any]) -> bool:
        """Whether the loop knows the descriptor for good. Sockets tell when they are closed: let it know them."""
        if handle is not None and _is_registered(handle):
            return True
        sock: Socket | None = sockets[fd]() if fd in sockets else None
        return sock is not None and sock.fileno() == fd and sock.readiness().loop is self._loop

    def _enter_others(self, masks: Mapping[int, int]) -> None:
        poller = self._poller = _epoll()
        for fd, bits in masks.items():
            try:
                poller.register(fd, bits)
            except PermissionError:
                if bits & (IN | OUT):
                    raise  # a regular file: always ready, and nothing exceptional ever happens to it
                continue
            self._enter(_Note(self, fd, 0))
        self._enter(_NestedNote(self, poller.fileno(), self._look))

    def enter_poller(self, fd: int, look: Callable[[], bool]) -> None:
        """Wait for a poller that stays registered with the loop."""
        handle = self._loop.handle(fd)
        if not handle.read.armed:
            self._loop.arm_direction(handle.read)
        self._enter(_NestedNote(self, fd, look))

    def _enter(self, note: _Note) -> None:
        self._notes.append(note)
        note.enter(self._loop)

    def _look(self) -> bool:
        found = self._poller.poll(0)
        for fd, bits in found:
            self.seen[fd] = self.seen.get(fd, 0) | bits
        return bool(found)

    def note(self, fd: int, bits: int) -> None:
        """This was seen."""
        self.seen[fd] = self.seen.get(fd, 0) | bits
        self.wake()

    def closed(self, fd: int) -> None:
        """A descriptor is being closed."""
        self.seen.pop(fd, None)
        self.broken = True
        self.wake()

    def wake(self) -> None:
        """It is over."""
        if not self.waiter.done:
            self.waiter.wake()

    def forget(self, fd: int) -> None:
        """No wait for this descriptor is to be expected."""
        self._known.pop(fd, None)

    def end(self) -> None:
        """Take everything back."""
        if self._generation == self._loop.generation:  # else it began in the parent process
            self._loop.refs -= 1
        for note in self._notes:
            handle = note.handle
            # As on entering: the usual case by itself.
            if (
                handle is not None
                and handle.watchers is note.alone
                and len(note.alone) == 1
                and note.events == READ
                and handle.read.armed
                and handle.level is handle.always_level
                and not handle.foreign
            ):
                handle.watchers = None
            else:
                note.leave()
        if not self._lasting or self._poller is not None:
            for note in self._notes:
                if self._known.get(note.fd) is not note:
                    note.alone.clear()  # which refers to it
        self._notes.clear()
        if self._poller is not None:
            closing(self._poller.fileno())
            self._poller.close()
            self._poller = None


def _is_registered(handle: Readiness) -> bool:
    """Whether the descriptor is registered for good: it belongs to somebody who tells when it is closed."""
    if handle.foreign:
        return False
    return handle.read.armed or (handle.writer is not None and handle.writer.armed)


def ready_now(fd: int, events: int) -> int:
    """Which of ``events`` (:data:`~hubbub.abc.READ`, :data:`~hubbub.abc.WRITE`) of ``fd`` an attempt would meet.

    :raises OSError: EBADF, it is closed.
    """
    if _poll is None:
        readable, writable, _ = _select([fd] if events & READ else [], [fd] if events & WRITE else [], [], 0)
        return (READ if readable else 0) | (WRITE if writable else 0)
    poller = _poll()
    poller.register(fd, (select.POLLIN if events & READ else 0) | (select.POLLOUT if events & WRITE else 0))
    found = poller.poll(0)
    bits: int = found[0][1] if found else 0
    if bits & select.POLLNVAL:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    broken = bits & (select.POLLHUP | select.POLLERR)
    ready = (READ if broken or bits & select.POLLIN else 0) | (WRITE if broken or bits & select.POLLOUT else 0)
    return ready & events
