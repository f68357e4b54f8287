"""One greenlet's wait for one hand-over, from its own thread or another."""

from __future__ import annotations

from typing import Any, ClassVar

from greenlet import getcurrent

from hubbub._arguments import as_seconds
from hubbub._identity import Reduce, refuse_copies
from hubbub._standin import Seat
from hubbub._twins import mirrored, twin
from hubbub.hub import Hub, get_hub

__all__ = ["Waiter"]


class Waiter:
    """The place of one waiting greenlet in a wait queue.

    The waker takes the waiter out of its queue and calls :meth:`wake`, from any thread. The code that takes it out owns
    the hand-over; a waiter that gives up and is not in the queue any more has been handed something.

    The waker, and the timer of the time limit, put the waiter itself into the run queue, not the greenlet's ``switch``.
    If the loop calls the waiter when the wait is over, because the other came first or the greenlet was interrupted,
    the call does nothing. So no wake-up, however late and from whatever thread, ends another wait.
    """

    __reduce_ex__: ClassVar[Reduce] = refuse_copies

    __slots__ = ("_loop", "_waiting", "done", "greenlet", "since", "user", "value")

    @twin("waiter.c")
    def __init__(self) -> None:
        current = getcurrent()
        hub = current.parent
        if not isinstance(hub, Hub):
            hub = get_hub()
        self._loop = loop = hub.loop
        self._waiting = False
        self.greenlet: Any = current if current is not hub else Seat(hub)
        """Who waits; for the hub, whose callback waits, its seat."""
        self.since: float = loop.time
        self.done: bool = False
        self.user: Any = None
        """Whose wait it is, where it leaves no frame to tell (a semaphore in C), for diagnosis."""
        self.value: Any = None

    def __repr__(self) -> str:
        state = "done" if self.done else "waiting" if self._waiting else "idle"
        return f"<{type(self).__name__} {state} of {self.greenlet!r}>"

    @mirrored("waiter.c")
    def __call__(self) -> None:
        """From the run queue: go on with the greenlet, if it still waits."""
        if self._waiting:
            self._waiting = False
            self.greenlet.switch()

    @twin("waiter.c")
    def wait(self, timeout: float | None = None) -> bool:
        """Wait to be woken.

        :param timeout: seconds, or None for no limit.
        :returns: False when the time ran out first.
        """
        if timeout is not None:
            return self._wait_until(timeout)
        hub = self._loop.hub
        self._waiting = True
        try:
            if not self.done:
                hub.switch()
                if self._waiting:
                    self._go_on_waiting(None)
        finally:
            self._waiting = False
        return True

    def _go_on_waiting(self, key: Any) -> None:
        """Wait on, after a switch that :meth:`__call__` did not make. ``key``: of the time limit, if there is one."""
        loop = self._loop
        loop.hub.wait_while(lambda: not self.done and (key is None or loop.timer_runs(key, self)))

    @mirrored("waiter.c")
    def _wait_until(self, timeout: float) -> bool:
        loop = self._loop
        key = loop.call_later(as_seconds(timeout), self)
        self._waiting = True
        try:
            if not self.done and loop.timer_runs(key, self):
                loop.hub.switch()
                if self._waiting:
                    self._go_on_waiting(key)
        finally:
            self._waiting = False
            if loop.timer_runs(key, self):  # else it may be in the run queue, where it does no harm: no search for it
                loop.cancel_later(key, self)
        return self.done

    @property
    def stale(self) -> bool:
        """Whether it can never go on: its greenlet waits in the parent of this process, or its hub is gone."""
        return self.since < self._loop.born

    @twin("waiter.c")
    def wake(self, value: Any = None) -> bool:
        """End the wait. From any thread, once.

        :returns: False if there was nobody to wake: see :attr:`stale`.
        """
        loop = self._loop
        if self.since < loop.born:
            return False
        self.value = value
        self.done = True
        loop.ready.append(self)
        if loop.in_poll:  # never in the loop's own thread
            loop.wake()
        return True
