"""Waiting for any of several descriptors."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from typing import Any

from hubbub.hub import get_hub, sleep
from hubbub.lowlevel import getcurrent, monotonic, native_local

from hubbub_net._observing import Observation, Seen

__all__ = ["Deadline", "give_way", "wait_any", "wait_nested"]

_CANNOT_WAIT = frozenset({errno.EBADF, errno.EPERM})
"""Errors of a descriptor that is closed (EBADF), or is a file that is always ready (EPERM)."""


class Deadline:
    """A time limit over several waits."""

    __slots__ = ("_end",)

    def __init__(self, seconds: float | None) -> None:
        """:param seconds: from now; None for no limit."""
        self._end = None if seconds is None else monotonic() + seconds

    def left(self) -> float | None:
        """Seconds, 0 when the time is up, or None for no limit."""
        return None if self._end is None else max(self._end - monotonic(), 0.0)


class _Turn(native_local):
    loop: Any = None
    iteration = -1


_turn = _Turn()


def give_way() -> bool:
    """Let other greenlets run, if the loop has made no turn since the last call on this thread.

    Calls that may return without waiting use this, so that a program that repeats them does not starve other greenlets.

    :returns: whether other greenlets could run.
    """
    hub = get_hub()
    loop = hub.loop
    due = loop is _turn.loop and loop.iteration == _turn.iteration and getcurrent() is not hub.runner
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
    observation: Observation | None = None,
) -> Seen | None:
    """Wait for an event of any descriptor, or for one of them to be closed.

    :param interests: for each descriptor :data:`~hubbub.abc.READ`, :data:`~hubbub.abc.WRITE` or both. None of them was
        ready just now.
    :param others: for each descriptor bits of :manpage:`poll(2)` that the loop does not know, such as urgent data.
        Ignored where there is no :manpage:`epoll(7)`.
    :param sockets: descriptors that are those of a :class:`hubbub.io.Socket`, with a weak reference to it.
    :param timeout: seconds, or None for no limit.
    :param observation: one to use again, which costs less: made for much the same descriptors, and not in use now.
    :returns: the events that the loop saw; other greenlets may have taken the data since. Empty: the caller looks
        again. None: the time ran out first.
    """
    observation = observation or Observation()
    observation.begin()
    try:
        try:
            observation.enter(interests, others or {}, sockets or {})
        except OSError as error:
            if error.errno not in _CANNOT_WAIT:
                raise
            return {}  # the caller looks again, and gets the error or the event
        return observation.seen if observation.waiter.wait(timeout) or observation.seen else None
    finally:
        observation.end()


def wait_nested(fd: int, timeout: float | None, look: Callable[[], bool]) -> bool:
    """Wait until the kernel's poller ``fd``, which was just found empty, has an event.

    It stays registered with the loop; code that closes it calls :func:`hubbub.lowlevel.closing` first.

    :param look: takes the poller's events at the moment when the loop sees them; returns whether there were any. The
        loop calls it in the hub, so it must not wait.
    :returns: False when the time ran out first.
    :raises OSError: EBADF, it was closed.
    """
    observation = Observation()
    observation.begin()
    try:
        observation.enter_lasting_poller(fd, look)
        in_time = observation.waiter.wait(timeout)
    finally:
        observation.end()
    if observation.broken:
        raise OSError(errno.EBADF, "File descriptor was closed in another greenlet")
    return in_time
