"""Observing descriptors: what the loop sees of them is noted at the moment when the loop sees it."""

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
# The numbers of poll(2), which are those of epoll(7) too. Where the system has neither, only this package uses them.
IN: int = getattr(select, "POLLIN", 0x01)
PRI: int = getattr(select, "POLLPRI", 0x02)
OUT: int = getattr(select, "POLLOUT", 0x04)
ERR: int = getattr(select, "POLLERR", 0x08)
HUP: int = getattr(select, "POLLHUP", 0x10)
Seen = dict[int, int]
"""For each descriptor the bits of :manpage:`poll(2)` that the loop saw."""


class _Observer:
    """Observes one descriptor, for one wait after another. See :class:`hubbub.lowlevel.Observer`."""

    __slots__ = ("events", "fd", "handle", "observation")

    def __init__(self, observation: Observation, handle: Readiness, events: int) -> None:
        """:param events: the events that the loop is to report; none if only the closing matters."""
        self.observation = observation
        self.handle = handle
        self.fd = handle.fd
        self.events = events

    def fired(self, events: int) -> None:
        """Note those of ``events`` that are wanted and that the descriptor really has."""
        events &= self.events
        if self.handle.loop.edge_triggered:  # such a loop reports urgent data as readable too
            events = self._exactly(events)
        if events:
            self.observation.note(self.fd, (IN if events & READ else 0) | (OUT if events & WRITE else 0))

    def _exactly(self, events: int) -> int:
        try:
            return ready_now(self.fd, events)
        except OSError:
            return events  # the greenlet that waits tries, and gets the error

    def descriptor_closed(self) -> None:
        """End the wait: the number may soon belong to another file."""
        self.observation.closed(self.fd)


class _PollerObserver(_Observer):
    """Observes a kernel poller (epoll, kqueue), which is a descriptor itself, by taking its events."""

    __slots__ = ("_look",)

    def __init__(self, observation: Observation, handle: Readiness, look: Callable[[], bool]) -> None:
        """:param look: takes the events of the poller; returns whether there were any."""
        super().__init__(observation, handle, READ)
        self._look = look

    def fired(self, events: int) -> None:
        """Take the events that the poller has, or just had."""
        try:
            found = self._look()
        except (OSError, ValueError):
            found = True  # the greenlet that waits tries, and gets the error
        if found:
            self.observation.wake()


class Observation:
    """One greenlet's wait for any of several events. Another wait may use the object afterwards."""

    def __init__(self, lasting: bool = False) -> None:
        """:param lasting: many waits for much the same descriptors use the object, which costs less."""
        self._lasting = lasting
        self.seen: Seen = {}
        self.waiter: Waiter
        self.broken: bool = False
        """Whether one of the descriptors was closed."""
        self._loop: BaseLoop
        self._held = 0
        self._known: dict[int, tuple[Readiness, _Observer]] = {}
        """Observers of descriptors that stay registered with the kernel, kept for the next wait."""
        self._joined: list[tuple[Readiness, _Observer]] = []
        self._poller: Any = None

    def begin(self) -> None:
        """Start the wait of the calling greenlet."""
        self.waiter = Waiter()
        self.seen = {}
        self.broken = False
        self._loop = get_hub().loop
        self._held = self._loop.hold()

    def enter(self, interests: Mapping[int, int], others: Mapping[int, int], sockets: Mapping[int, Any]) -> None:
        """Observe descriptors that the loop knows already, or a single one, through the loop; others by a poller.

        A kernel poller made for this wait costs a fraction of registering many descriptors with the loop.

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
        """Whether the descriptor stays registered with the loop. Sockets may: they tell the loop before they close."""
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
                    raise  # EPERM is a regular file: always ready, and never has exceptional conditions
                continue
            self._join(_Observer(self, self._loop.handle(fd), 0))
        self._join(_PollerObserver(self, self._loop.handle(poller.fileno()), self._look))

    def enter_lasting_poller(self, fd: int, look: Callable[[], bool]) -> None:
        """Observe a kernel poller that stays registered with the loop."""
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
        """Note that the loop saw ``bits``."""
        self.seen[fd] = self.seen.get(fd, 0) | bits
        self.wake()

    def closed(self, fd: int) -> None:
        """Note that a descriptor is being closed."""
        self.seen.pop(fd, None)
        self.forget(fd)
        self.broken = True
        self.wake()

    def wake(self) -> None:
        """Wake the greenlet."""
        if not self.waiter.done:
            self.waiter.wake()

    def forget(self, fd: int) -> None:
        """Drop the observer of a descriptor for which no other wait will come."""
        self._known.pop(fd, None)

    def end(self) -> None:
        """End the wait: all observers leave."""
        self._loop.let_go(self._held)
        leave_all(self._joined)
        self._joined.clear()
        if self._poller is not None:
            closing(self._poller.fileno())
            self._poller.close()
            self._poller = None


def ready_now(fd: int, events: int) -> int:
    """Those of ``events`` (:data:`~hubbub.abc.READ`, :data:`~hubbub.abc.WRITE`) for which ``fd`` is ready now.

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
