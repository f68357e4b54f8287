"""The standard library's :mod:`select`, with waits that let other greenlets run.

``select``, ``poll``, and ``epoll`` or ``kqueue`` where the system has them. Every other public name is the standard
library's own.
"""

from __future__ import annotations

import select as _stdlib
from collections.abc import Iterable
from contextlib import suppress
from operator import index
from typing import TYPE_CHECKING, Any
from weakref import ref

from hubbub.abc import READ, WRITE
from hubbub.io import Socket
from hubbub.lowlevel import Place, as_builtin, closing

from hubbub_net import _ahead, _limits
from hubbub_net._observing import ERR, HUP, IN, OUT, PRI, Observation, Seen
from hubbub_net._publicnames import public_names
from hubbub_net._waiting import Deadline, give_way, wait_any, wait_nested

if TYPE_CHECKING:
    from typing import Self

_select = _stdlib.select
_poll: Any = getattr(_stdlib, "poll", None)
_epoll: Any = getattr(_stdlib, "epoll", None)
_kqueue: Any = getattr(_stdlib, "kqueue", None)
_POLLIN: int = getattr(_stdlib, "POLLIN", 0)
_POLLOUT: int = getattr(_stdlib, "POLLOUT", 0)
_POLLPRI: int = getattr(_stdlib, "POLLPRI", 0)
_EPOLLONESHOT: int = getattr(_stdlib, "EPOLLONESHOT", 0)
_EPOLLET: int = getattr(_stdlib, "EPOLLET", 0)
_Lists = tuple[list[Any], list[Any], list[Any]]

__all__ = ["select", *(name for name in public_names(_stdlib) if name != "select")]


def __getattr__(name: str) -> Any:
    """Names that are not defined here are the standard library's."""
    return getattr(_stdlib, name)


def __dir__() -> list[str]:
    return __all__


def _number(fd: Any) -> int:
    return int(fd if isinstance(fd, int) else fd.fileno())


def _look(reading: list[Any], writing: list[Any], urgent: list[Any]) -> tuple[list[Any], list[Any], list[Any]]:
    """The members that are ready now: for the kernel, or because data was read ahead."""
    found = _select(reading, writing, urgent, 0)
    if not _ahead.noted:
        return found
    known = {id(member) for member in found[0]}
    return [m for m in reading if id(m) in known or _ahead.readable(_number(m))], found[1], found[2]


@as_builtin
def select(
    _: Place, rlist: Iterable[Any], wlist: Iterable[Any], xlist: Iterable[Any], timeout: float | None = None
) -> tuple[list[Any], list[Any], list[Any]]:
    """:func:`select.select`: which of the descriptors are readable, writable, or have urgent data.

    :param timeout: seconds; None waits for ever, 0 only looks.
    :raises ValueError: the timeout is negative, a descriptor is negative, or too great for :manpage:`select(2)`.
    :raises OSError: EBADF, a descriptor is closed or was closed meanwhile.
    """
    if timeout is not None:
        timeout = _limits.select_seconds(timeout)
    # Lists are passed on as they are: fileno() of a member may change them, and select.select allows for that.
    reading, writing, urgent = (kept if isinstance(kept, list) else list(kept) for kept in (rlist, wlist, xlist))
    found = _look(reading, writing, urgent)
    if timeout == 0 or any(found):
        if not give_way():
            return found
        try:
            found = _look(reading, writing, urgent)
        except (OSError, ValueError):
            return [], [], []  # a descriptor was closed meanwhile; the arguments were right, and nothing is ready
        if timeout == 0 or any(found):
            return found
    interests: dict[int, int] = {}
    reading, writing, urgent = list(reading), list(writing), list(urgent)
    for members, bit in ((reading, READ), (writing, WRITE)):
        for member in members:
            fd = _number(member)
            interests[fd] = interests.get(fd, 0) | bit
    others = {_number(member): _POLLPRI for member in urgent}
    sockets = {member.fileno(): ref(member) for member in (*reading, *writing) if isinstance(member, Socket)}
    deadline = Deadline(timeout)
    while True:
        seen = wait_any(interests, deadline.left(), others, sockets)
        found = _with_seen(_look(reading, writing, urgent), seen, (reading, writing, urgent))
        if seen is None or any(found):
            return found


def _with_seen(found: _Lists, seen: Seen | None, members: _Lists) -> _Lists:
    """Add to ``found`` those of ``members`` of which the loop saw an event."""
    if not seen:
        return found
    reading, writing, urgent = members
    return (
        _merged(found[0], reading, IN | HUP | ERR, seen),
        _merged(found[1], writing, OUT | ERR, seen),
        _merged(found[2], urgent, PRI, seen),
    )


def _merged(found: list[Any], members: list[Any], bits: int, seen: Seen) -> list[Any]:
    known = {id(member) for member in found}
    return [m for m in members if id(m) in known or seen.get(m if isinstance(m, int) else m.fileno(), 0) & bits]


def _with_ahead(found: list[tuple[int, int]], masks: dict[int, int], most: int) -> list[tuple[int, int]]:
    """Add to ``found`` the descriptors of which data was read ahead.

    :param masks: what is wanted of each descriptor.
    :param most: at most so many in all; negative for no limit.
    """
    early = [fd for fd in list(_ahead.noted) if masks.get(fd, 0) & _POLLIN and _ahead.readable(fd)]
    if not early:
        return found
    events = dict(found)
    for fd in early:
        if fd in events or most < 0 or len(events) < most:
            events[fd] = events.get(fd, 0) | _POLLIN
    return list(events.items())


if _poll is not None:

    class _Poll:
        """What :func:`poll` returns. As with the standard library's, the class cannot be called."""

        _poll: Any
        _masks: dict[int, int]
        _interests: dict[int, int]
        _others: dict[int, int]
        _sockets: dict[int, Any]
        _observation: Observation
        _polling: bool

        def __init__(self) -> None:
            raise TypeError(f"cannot create '{__name__}.{type(self).__qualname__}' instances: call poll()")

        @classmethod
        def _make(cls) -> Self:
            new = cls.__new__(cls)
            new._poll = _poll()
            new._masks = {}
            new._interests = {}
            new._others = {}
            new._sockets = {}
            new._observation = Observation(lasting=True)
            new._polling = False
            return new

        def __reduce_ex__(self, protocol: Any) -> Any:
            raise TypeError("cannot pickle or copy a poll object")

        def register(self, fd: Any, eventmask: int = _POLLIN | _POLLPRI | _POLLOUT) -> None:
            """Add a descriptor, or change what is wanted of it."""
            self._poll.register(fd, eventmask)
            self._want(_number(fd), index(eventmask))
            if isinstance(fd, Socket):
                self._sockets[fd.fileno()] = ref(fd)

        def modify(self, fd: Any, eventmask: int) -> None:
            """Change what is wanted of a descriptor.

            :raises FileNotFoundError: it was not registered.
            """
            self._poll.modify(fd, eventmask)
            self._want(_number(fd), index(eventmask))

        def unregister(self, fd: Any) -> None:
            """Remove a descriptor.

            :raises KeyError: it was not registered.
            """
            self._poll.unregister(fd)
            number = _number(fd)
            del self._masks[number]
            for known in (self._interests, self._others, self._sockets):
                known.pop(number, None)
            self._observation.forget(number)

        def poll(self, timeout: float | None = None) -> list[tuple[int, int]]:
            """(descriptor, events) pairs.

            :param timeout: milliseconds; None or a negative number waits for ever, 0 only looks.
            :raises OverflowError: the timeout is more than 2**31 - 1.
            :raises RuntimeError: another greenlet waits in this object.
            """
            seconds = None if timeout is None else _limits.poll_seconds(timeout)
            if self._polling:
                raise RuntimeError("concurrent poll() invocation")
            self._polling = True
            try:
                return self._wait(None if seconds is None or seconds < 0 else seconds)
            finally:
                self._polling = False

        def _look(self) -> list[tuple[int, int]]:
            found: list[tuple[int, int]] = self._poll.poll(0)
            if _ahead.noted:
                return _with_ahead(found, self._masks, -1)
            return found

        def _wait(self, timeout: float | None) -> list[tuple[int, int]]:
            give_way()
            found = self._look()
            if found or timeout == 0.0:
                return found
            deadline = Deadline(timeout)
            while True:
                seen = wait_any(self._interests, deadline.left(), self._others, self._sockets, self._observation)
                found = self._look()
                if seen:
                    found = self._with_seen(found, seen)
                if seen is None or found:
                    return found

        def _with_seen(self, found: list[tuple[int, int]], seen: Seen) -> list[tuple[int, int]]:
            """Add the events that the loop saw and that are still wanted to ``found``."""
            events = dict(found)
            for fd, bits in seen.items():
                wanted = bits & (self._masks[fd] | HUP | ERR) if fd in self._masks else 0
                # The loop reports a descriptor that has hung up as readable and writable; poll(2) is more exact.
                if wanted and not events.get(fd, 0) & ~(IN | OUT):
                    events[fd] = events.get(fd, 0) | wanted
            return list(events.items())

        def _want(self, fd: int, mask: int) -> None:
            self._masks[fd] = mask
            self._interests.pop(fd, None)
            self._others.pop(fd, None)
            bits = (READ if mask & _POLLIN else 0) | (WRITE if mask & _POLLOUT else 0)
            if bits:
                self._interests[fd] = bits
            if mask & ~(_POLLIN | _POLLOUT) or not bits:
                self._others[fd] = mask & ~(_POLLIN | _POLLOUT)

    @as_builtin
    def poll(_: Place) -> _Poll:
        """:func:`select.poll`: level-triggered events of any number of descriptors."""
        return _Poll._make()


class _Nested:
    """A kernel poller, which is a descriptor itself, and readable when it has events."""

    _poller: Any

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError(f"cannot pickle or copy {type(self).__name__!r} objects")

    def close(self) -> None:
        """Close it. Greenlets that wait get EBADF."""
        if not self._poller.closed:
            closing(self._poller.fileno())
            self._poller.close()

    def __del__(self) -> None:
        if hasattr(self, "_poller"):
            with suppress(OSError):  # the descriptor was closed already; the class in C does not complain either
                self.close()

    @property
    def closed(self) -> bool:
        """Whether :meth:`close` was called."""
        return bool(self._poller.closed)

    def fileno(self) -> int:
        """The poller's own descriptor."""
        return int(self._poller.fileno())


if _epoll is not None:

    class epoll(_Nested):
        """:class:`select.epoll`."""

        def __init__(self, sizehint: int = -1, flags: int = 0) -> None:
            self._poller = _epoll(sizehint, flags)
            self._masks: dict[int, int] = {}
            self._kept: list[tuple[int, int]] = []

        @classmethod
        def fromfd(cls, fd: int, /) -> Self:
            """An object for the descriptor ``fd``, which it then owns."""
            new = cls.__new__(cls)
            new._poller = _epoll.fromfd(fd)
            new._masks = {}
            new._kept = []
            return new

        def __enter__(self) -> Self:
            self._poller.__enter__()
            return self

        def __exit__(self, *_: object) -> None:
            self.close()

        def register(self, fd: Any, eventmask: int = _POLLIN | _POLLPRI | _POLLOUT) -> None:
            """Add a descriptor.

            :raises FileExistsError: it is registered already.
            """
            self._poller.register(fd, eventmask)
            self._masks[_number(fd)] = index(eventmask)

        def modify(self, fd: Any, eventmask: int) -> None:
            """Change what is wanted of a descriptor."""
            self._poller.modify(fd, eventmask)
            self._masks[_number(fd)] = index(eventmask)

        def unregister(self, fd: Any) -> None:
            """Remove a descriptor."""
            self._poller.unregister(fd)
            self._masks.pop(_number(fd), None)

        def poll(self, timeout: float | None = None, maxevents: int = -1) -> list[tuple[int, int]]:
            """(descriptor, events) pairs.

            :param timeout: seconds; None or a negative number waits for ever, 0 only looks.
            :param maxevents: at most so many pairs; -1 for no limit.
            """
            seconds = None if timeout is None else _limits.epoll_seconds(timeout)
            give_way()
            found = self._look(maxevents)
            if found or seconds == 0:
                return found
            deadline = Deadline(None if seconds is None or seconds < 0 else seconds)
            while True:
                seen = self._wait(deadline.left(), maxevents)
                found = seen or self._look(maxevents)
                if seen is None or found:
                    return found

        def _wait(self, timeout: float | None, most: int) -> list[tuple[int, int]] | None:
            """The events that the loop saw; None when the time ran out first."""
            seen: list[tuple[int, int]] = []

            def look() -> bool:
                seen.extend(self._poller.poll(0, most))
                return bool(seen)

            try:
                in_time = wait_nested(self.fileno(), timeout, look)
            except BaseException:
                self._kept += seen
                raise
            return seen if in_time or seen else None

        def _take_kept(self, found: list[tuple[int, int]], most: int) -> list[tuple[int, int]]:
            """Add the events that an interrupted poll took, if the kernel would not report them again."""
            kept, self._kept = self._kept, []
            events = dict(found)
            for fd, bits in kept:
                if not self._masks.get(fd, 0) & (_EPOLLET | _EPOLLONESHOT):
                    continue
                if fd in events or most < 0 or len(events) < most:
                    events[fd] = events.get(fd, 0) | bits
                else:
                    self._kept.append((fd, bits))
            return list(events.items())

        def _look(self, most: int) -> list[tuple[int, int]]:
            found: list[tuple[int, int]] = self._poller.poll(0, most)
            if self._kept:
                found = self._take_kept(found, most)
            if not _ahead.noted:
                return found
            found = _with_ahead(found, self._masks, most)
            for fd, _ in found:
                if self._masks.get(fd, 0) & _EPOLLONESHOT:
                    self.modify(fd, _EPOLLONESHOT)
            return found


if _kqueue is not None:

    class kqueue(_Nested):
        """:class:`select.kqueue`."""

        def __init__(self) -> None:
            self._poller = _kqueue()
            self._kept: list[Any] = []

        @classmethod
        def fromfd(cls, fd: int, /) -> Self:
            """An object for the descriptor ``fd``, which it then owns."""
            new = cls.__new__(cls)
            new._poller = _kqueue.fromfd(fd)
            new._kept = []
            return new

        def control(self, changelist: Iterable[Any] | None, maxevents: int, timeout: float | None = None) -> list[Any]:
            """Register ``changelist``, then wait for events.

            :param timeout: seconds; None waits for ever, 0 only looks.
            """
            if maxevents:
                give_way()
            found, self._kept = self._kept[:maxevents], self._kept[maxevents:]
            found += self._poller.control(changelist, maxevents - len(found), 0)
            if found or timeout == 0 or not maxevents:
                return found
            deadline = Deadline(timeout)

            def look() -> bool:
                found.extend(self._poller.control(None, maxevents, 0))
                return bool(found)

            try:
                while True:
                    in_time = wait_nested(self.fileno(), deadline.left(), look)
                    if not in_time or found:
                        return found
            except BaseException:
                self._kept += found  # a kernel queue reports a change once
                raise
