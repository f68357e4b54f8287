"""Waiting for any of several descriptors."""

from __future__ import annotations

import errno
import os
import select
from _thread import _local
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from time import monotonic
from typing import Any

from hubbub.abc import READ, WRITE
from hubbub.hub import get_hub, sleep
from hubbub.io import Socket
from hubbub.lowlevel import Direction, Readiness, Waiter, closing, getcurrent, wait_readable, wait_writable

__all__ = ["Deadline", "give_way", "ready_now", "wait_any", "wait_nested"]

_epoll: Any = getattr(select, "epoll", None)
_poll: Any = getattr(select, "poll", None)
_select = select.select
_wait_readable = Socket.wait_readable
_CANNOT_WAIT = frozenset({errno.EBADF, errno.EPERM})
"""Closed, or a file that is always ready."""


class Deadline:
    """A time limit over several waits."""

    __slots__ = ("_end",)

    def __init__(self, seconds: float | None) -> None:
        """:param seconds: from now; None for no limit."""
        self._end = None if seconds is None else monotonic() + seconds

    def left(self) -> float | None:
        """Seconds, 0 when the time is up, or None for no limit."""
        return None if self._end is None else max(self._end - monotonic(), 0.0)


class _Turn(_local):
    loop: Any = None
    iteration = -1


_turn = _Turn()


def give_way() -> bool:
    """Let other greenlets run, if the loop has not turned since this thread was here last.

    Called by what may need no wait, so that a loop around it does not starve the others.

    :returns: whether others could run.
    """
    hub = get_hub()
    loop = hub.loop
    due = loop is _turn.loop and loop.iteration == _turn.iteration and getcurrent() is not hub
    if due:
        sleep(0)
    _turn.loop = loop
    _turn.iteration = loop.iteration
    return due


def wait_any(
    interests: Mapping[int, int],
    timeout: float | None,
    others: Mapping[int, int] | None = None,
    sockets: Mapping[int, Any] | None = None,
) -> bool:
    """Wait for an event of any descriptor, or for one of them to be closed. It may be a false alarm: look again.

    :param interests: for each descriptor :data:`~hubbub.abc.READ`, :data:`~hubbub.abc.WRITE` or both. None of them was
        ready just now.
    :param others: for each descriptor bits of :manpage:`poll(2)` that the loop does not know, such as urgent data.
        Ignored where there is no :manpage:`epoll(7)`.
    :param sockets: descriptors that are those of a :class:`hubbub.io.Socket`, with a weak reference to it.
    :param timeout: seconds, or None for no limit.
    :returns: False when the time ran out first.
    """
    if len(interests) == 1 and not others:
        ((fd, events),) = interests.items()
        if events in (READ, WRITE):
            return _wait_one(fd, events, timeout)
    if _epoll is None:
        return _wait_watching(interests, timeout)
    if sockets and not _get_to_know(interests, sockets):
        return True
    loop = get_hub().loop
    directions: list[Direction] = []
    masks = dict(others or {})
    for fd, events in interests.items():
        handle = loop.handles.get(fd)
        # A descriptor that is registered for good belongs to somebody who tells when it is closed.
        if handle is not None and not handle.foreign and _is_registered(handle):
            if events & READ:
                directions.append(handle.read)
            if events & WRITE:
                directions.append(handle.write)
        else:
            bits = (select.EPOLLIN if events & READ else 0) | (select.EPOLLOUT if events & WRITE else 0)
            masks[fd] = masks.get(fd, 0) | bits
    if masks:
        return _wait_polling(masks, directions, timeout)
    return _wait_directions(directions, timeout)


def _is_registered(handle: Readiness) -> bool:
    writer = handle.writer
    return handle.read.armed or (writer is not None and writer.armed)


def _get_to_know(interests: Mapping[int, int], sockets: Mapping[int, Any]) -> bool:
    """Let the loop register sockets that are not yet. They stay registered, so the next wait for them costs no call.

    :returns: False if others could run meanwhile, so that it is time to look again.
    """
    handles = get_hub().loop.handles
    waited = False
    for fd in interests:
        handle = handles.get(fd)
        if fd not in sockets or (handle is not None and _is_registered(handle)):
            continue
        sock = sockets[fd]()
        if sock is not None and sock.fileno() == fd:
            waited = True
            try:
                _wait_readable(sock, 0.0)
            except (TimeoutError, OSError):
                continue  # who looks again will see
    return not waited


def _wait_one(fd: int, events: int, timeout: float | None) -> bool:
    try:
        return (wait_readable if events == READ else wait_writable)(fd, timeout)
    except OSError as error:
        if error.errno not in _CANNOT_WAIT:  # thrown in by somebody
            raise
        return True  # who looks again will see


def _wait_watching(interests: Mapping[int, int], timeout: float | None) -> bool:
    loop = get_hub().loop
    waiter = Waiter()

    def happened() -> None:
        if not waiter.done:
            waiter.wake()

    with ExitStack() as stack:
        for fd, events in interests.items():
            watcher = loop.io(fd, events)
            stack.callback(watcher.close)
            watcher.start(happened)
        return waiter.wait(timeout)


class _Closing:
    """Among the watchers of descriptors: asks for no events, but learns when one of them is closed."""

    events = 0

    def __init__(self, closed: Callable[[], None]) -> None:
        self.descriptor_closed = closed


def _wait_polling(masks: Mapping[int, int], directions: list[Direction], timeout: float | None) -> bool:
    """By a poller of the kernel's for this wait alone: that costs a fraction of so many watchers."""
    loop = get_hub().loop
    poller = _epoll()
    notice: Any = _Closing(partial(closing, poller.fileno()))
    handles = []
    try:
        for fd, bits in masks.items():
            try:
                poller.register(fd, bits)
            except PermissionError:
                if bits & (select.EPOLLIN | select.EPOLLOUT):
                    return True  # a regular file: always ready, and nothing exceptional ever happens to it
                continue
            handle = loop.handle(fd)
            if handle.watchers is None:
                handle.watchers = [notice]
            else:
                handle.watchers.append(notice)
            handles.append(handle)
        if not directions:
            return wait_nested(poller.fileno(), timeout)
        return _wait_directions([*directions, loop.handle(poller.fileno()).read], timeout)
    except OSError as error:
        if error.errno not in _CANNOT_WAIT:
            raise
        return True
    finally:
        for handle in handles:
            if handle.watchers and notice in handle.watchers:
                handle.watchers.remove(notice)
                handle.watchers = handle.watchers or None
        closing(poller.fileno())
        poller.close()


def _wait_directions(directions: list[Direction], timeout: float | None) -> bool:
    """By a place in the queue of each."""
    loop = get_hub().loop
    waiter = Waiter()

    def happened() -> None:
        if not waiter.done:
            waiter.wake()

    try:
        for direction in directions:
            if not direction.armed:
                loop.arm_direction(direction)
            if direction.waiter is None:
                direction.waiter = happened
            else:
                direction.queue(happened)
        return waiter.wait(timeout)
    except OSError as error:
        if error.errno not in _CANNOT_WAIT:
            raise
        return True
    finally:
        for direction in directions:
            _leave(direction, happened)


def _leave(direction: Direction, happened: Callable[[], None]) -> None:
    """Leave the queue. Who has had the event has not used it up: it is for the next reader or writer."""
    others = direction.others
    if direction.waiter is happened:
        direction.waiter = others.pop(0) if others else None
    elif others is not None and happened in others:
        others.remove(happened)
    else:
        direction.ready = True
        if direction.waiter is not None and not direction.handle.level:
            direction.fire()


def wait_nested(fd: int, timeout: float | None) -> bool:
    """Wait until the kernel's poller ``fd``, which was just found empty, has an event.

    It stays registered with the loop; whoever closes it calls :func:`hubbub.lowlevel.closing` first.

    :returns: False when the time ran out first.
    """
    return get_hub().loop.handle(fd).read.wait(timeout)


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
