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
from hubbub.lowlevel import Waiter, closing, getcurrent, wait_readable, wait_writable

__all__ = ["Deadline", "give_way", "ready_now", "wait_any", "wait_nested"]

_epoll: Any = getattr(select, "epoll", None)
_poll: Any = getattr(select, "poll", None)
_select = select.select
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


def wait_any(interests: Mapping[int, int], timeout: float | None, others: Mapping[int, int] | None = None) -> bool:
    """Wait for an event of any descriptor, or for one of them to be closed. It may be a false alarm: look again.

    :param interests: for each descriptor :data:`~hubbub.abc.READ`, :data:`~hubbub.abc.WRITE` or both.
    :param others: for each descriptor bits of :manpage:`poll(2)` that the loop does not know, such as urgent data.
        Ignored where there is no :manpage:`epoll(7)`.
    :param timeout: seconds, or None for no limit.
    :returns: False when the time ran out first.
    """
    if len(interests) == 1 and not others:
        ((fd, events),) = interests.items()
        if events in (READ, WRITE):
            return _wait_one(fd, events, timeout)
    if _epoll is None:
        return _wait_watching(interests, timeout)
    masks = {
        fd: (select.EPOLLIN if events & READ else 0) | (select.EPOLLOUT if events & WRITE else 0)
        for fd, events in interests.items()
    }
    for fd, bits in (others or {}).items():
        masks[fd] = masks.get(fd, 0) | bits
    return _wait_polling(masks, timeout)


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


def _wait_polling(masks: Mapping[int, int], timeout: float | None) -> bool:
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
        return wait_nested(poller.fileno(), timeout)
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
