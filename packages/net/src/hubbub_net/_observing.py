"""Observing descriptors: what the loop sees of them is written down in the moment it sees it."""

from __future__ import annotations

import errno
import os
import select
from collections.abc import Callable, Mapping
from typing import Any

from hubbub.abc import READ, WRITE
from hubbub.hub import get_hub
from hubbub.io import Socket
from hubbub.lowlevel import BaseLoop, Readiness, Waiter, closing, join_all, leave_all

__all__ = ["ERR", "HUP", "IN", "OUT", "PRI", "Observation", "Seen", "ready_now"]

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


class _Observer:
    """Observes one descriptor, for one wait after the other. See :class:`hubbub.lowlevel.Observer`."""

    __slots__ = ("events", "fd", "handle", "observation")

    def __init__(self, observation: Observation, handle: Readiness, events: int) -> None:
        """:param events: what is wanted of the loop; none if only the closing matters."""
        self.observation = observation
        self.handle = handle
        self.fd = handle.fd
        self.events = events

    def fired(self, events: int) -> None:
        """Write down which of ``events`` were wanted, and are there."""
        events &= self.events
        if self.handle.loop.edge_triggered:  # urgent data too is something to read for such a loop
            events = self._exactly(events)
        if events:
            self.observation.note(self.fd, (IN if events & READ else 0) | (OUT if events & WRITE else 0))

    def _exactly(self, events: int) -> int:
        try:
            return ready_now(self.fd, events)
        except OSError:
            return events  # the caller of the wait will meet the error

    def descriptor_closed(self) -> None:
        """The number may soon be another file's."""
        self.observation.closed(self.fd)


class _PollerObserver(_Observer):
    """Observes a poller of the kernel's that is a descriptor itself, by looking into it."""

    __slots__ = ("_look",)

    def __init__(self, observation: Observation, handle: Readiness, look: Callable[[], bool]) -> None:
        """:param look: takes what is there; says whether there was something."""
        super().__init__(observation, handle, READ)
        self._look = look

    def fired(self, events: int) -> None:
        """Look, since the poller has something, or just had."""
        try:
            found = self._look()
        except (OSError, ValueError):
            found = True  # the caller of the wait will meet the error
        if found:
            self.observation.wake()


class Observation:
    """One greenlet's wait for any of several events; then, maybe, the next one's."""

    def __init__(self, lasting: bool = False) -> None:
        """:param lasting: it is used again and again, for much the same; then that costs less."""
        self._lasting = lasting
        self.seen: Seen = {}
        self.waiter: Waiter
        self.broken: bool = False
        """Whether one of the descriptors was closed."""
        self._loop: BaseLoop
        self._held = 0
        self._known: dict[int, tuple[Readiness, _Observer]] = {}
        """Of those that are registered with the kernel for good, in case there is another wait."""
        self._joined: list[tuple[Readiness, _Observer]] = []
        self._poller: Any = None

    def begin(self) -> None:
        """The calling greenlet is going to wait."""
        self.waiter = Waiter()
        self.seen = {}
        self.broken = False
        self._loop = get_hub().loop
        self._held = self._loop.hold()

    def enter(self, interests: Mapping[int, int], others: Mapping[int, int], sockets: Mapping[int, Any]) -> None:
        """Observe by the loop what it knows already, or is alone; the rest by a poller of the kernel's.

        Such a poller for this wait alone costs a fraction of so many registrations.

        :raises OSError: a descriptor is closed, or cannot be polled.
        """
        alone = _epoll is None or (len(interests) == 1 and not others)
        masks = {} if _epoll is None else dict(others)
        known, handles = self._known, self._loop.handles
        usual: list[tuple[Readiness, _Observer]] = []
        for fd, events in interests.items():
            handle = handles.get(fd)
            pair = known.get(fd)
            if pair is not None and pair[0] is handle and pair[1].events == events:
                usual.append(pair)
            elif alone or self._is_lasting(fd, handle, sockets):
                observer = _Observer(self, self._loop.handle(fd), events)
                if self._lasting:
                    known[fd] = observer.handle, observer
                self._join(observer)
            else:
                masks[fd] = masks.get(fd, 0) | (IN if events & READ else 0) | (OUT if events & WRITE else 0)
        self._joined += usual
        join_all(usual)
        if masks:
            self._enter_poller(masks)

    def _is_lasting(self, fd: int, handle: Readiness | None, sockets: Mapping[int, Any]) -> bool:
        """Whether the kernel knows the descriptor for good. Sockets tell when they are closed: let it know them."""
        if handle is not None and handle.lasting:
            return True
        sock: Socket | None = sockets[fd]() if fd in sockets else None
        return sock is not None and sock.fileno() == fd and sock.readiness().loop is self._loop

    def _enter_poller(self, masks: Mapping[int, int]) -> None:
        poller = self._poller = _epoll()
        for fd, bits in masks.items():
            try:
                poller.register(fd, bits)
            except PermissionError:
                if bits & (IN | OUT):
                    raise  # a regular file: always ready, and nothing exceptional ever happens to it
                continue
            self._join(_Observer(self, self._loop.handle(fd), 0))
        self._join(_PollerObserver(self, self._loop.handle(poller.fileno()), self._look))

    def enter_lasting_poller(self, fd: int, look: Callable[[], bool]) -> None:
        """Wait for a poller that stays registered with the loop."""
        handle = self._loop.handle(fd)
        if not handle.read.armed:
            self._loop.arm_direction(handle.read)
        self._join(_PollerObserver(self, handle, look))

    def _join(self, observer: _Observer) -> None:
        observer.handle.join(observer)
        self._joined.append((observer.handle, observer))

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
        self.forget(fd)
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
        self._loop.let_go(self._held)
        leave_all(self._joined)
        self._joined.clear()
        if self._poller is not None:
            closing(self._poller.fileno())
            self._poller.close()
            self._poller = None


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
