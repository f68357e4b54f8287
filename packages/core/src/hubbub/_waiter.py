"""One greenlet's wait for one hand-over, from its own thread or another."""

from __future__ import annotations

from functools import partial
from typing import Any

from greenlet import getcurrent

from hubbub.exceptions import BlockingSwitchOutError
from hubbub.hub import Hub, get_hub

__all__ = ["Waiter"]


class Waiter:
    """A place in somebody's queue of waiters.

    The waker takes the waiter out of its queue and calls :meth:`wake`, from any thread. Whoever takes it out owns the
    hand-over; a waiter that gives up and is not in the queue any more has been handed something.
    """

    __slots__ = ("_loop", "_switch", "done", "since", "user", "value")

    def __init__(self) -> None:
        current = getcurrent()
        hub = current.parent
        if not isinstance(hub, Hub):
            hub = get_hub()
            if current is hub:
                raise BlockingSwitchOutError("cannot wait in a loop callback; spawn a greenlet")
        self._loop = loop = hub.loop
        self._switch = current.switch
        self.since = loop.time
        self.done = False
        self.user: Any = None
        """Whose wait it is, where it leaves no frame to tell (a semaphore in C), for diagnosis."""
        self.value: Any = None

    @property
    def greenlet(self) -> Any:
        """Who waits."""
        return self._switch.__self__  # type: ignore[attr-defined]  # a bound method

    def wait(self, timeout: float | None = None) -> bool:
        """Wait to be woken.

        :param timeout: seconds, or None for no limit.
        :returns: False when the time ran out first.
        """
        if timeout is not None:
            return self._wait_until(timeout)
        hub = self._loop.hub
        try:
            while not self.done:
                hub.switch()
        except BaseException:
            if self.done:
                self._loop.unschedule(self._switch)
            raise
        return True

    def _wait_until(self, timeout: float) -> bool:
        loop = self._loop
        expire = partial(self._switch, self)
        key = loop.call_later(max(timeout, 0.0), expire)
        try:
            while not self.done:
                if loop.hub.switch() is self:
                    return self.done
        except BaseException:
            if self.done:
                loop.unschedule(self._switch)
            raise
        finally:
            loop.cancel_later(key, expire)
        return True

    @property
    def stale(self) -> bool:
        """Whether it never can go on: it waits in the parent process, of which this is a child, or its hub is gone."""
        return self.since < self._loop.born

    def wake(self, value: Any = None) -> bool:
        """End the wait. From any thread, once.

        :returns: False if there was nobody to wake: see :attr:`stale`.
        """
        loop = self._loop
        if self.since < loop.born:
            return False
        self.value = value
        self.done = True
        loop.ready.append(self._switch)
        if loop.in_poll:  # never in the loop's own thread
            loop.wake()
        return True
