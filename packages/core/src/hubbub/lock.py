"""Semaphores and locks for greenlets, fair and usable from several threads.

A permit is a token in a deque; taking and giving one are single operations of C code, so no lock is needed around them.
``release`` hands its permit to the greenlet that has waited longest; it is never put back where somebody who just
released could take it again before those who wait.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import repeat
from operator import length_hint
from types import TracebackType
from typing import Any, TypeVar

from greenlet import getcurrent

from hubbub._links import Linkable
from hubbub._waiter import Waiter
from hubbub.hub import get_hub
from hubbub.scope import shield

__all__ = ["BoundedSemaphore", "Condition", "DummySemaphore", "RLock", "Semaphore"]


T = TypeVar("T")
_SMALL = 1024


class Semaphore(Linkable):
    """A counter of permits, as :class:`threading.Semaphore`: ``acquire`` takes one or waits, ``release`` gives one.

    :param value: how many permits there are at the start.
    :raises ValueError: ``value`` is negative.
    """

    __slots__ = ("_links", "_permits", "_reserve", "_waiters")  # beside the __dict__ of Linkable

    def __init__(self, value: int = 1) -> None:
        if value < 0:
            raise ValueError(f"a semaphore starts with 0 or more permits, not {value!r}")
        self._set_permits(value)
        self._waiters: deque[Waiter] = deque()
        self._links = None

    def _set_permits(self, value: int) -> None:
        small = min(value, _SMALL)
        self._permits: deque[None] = deque(repeat(None, small))
        # A large value costs no memory.
        self._reserve: repeat[None] | None = repeat(None, value - small) if value > small else None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} counter={self.counter} waiters={len(self._waiters)}>"

    @property
    def counter(self) -> int:
        """How many permits are free. May be assigned; permits that this frees go to those who wait."""
        count = len(self._permits)
        return count if self._reserve is None else count + length_hint(self._reserve)

    @counter.setter
    def counter(self, value: int) -> None:
        self._set_permits(max(value, 0))
        self._hand_over()

    def locked(self) -> bool:
        """Whether ``acquire`` would wait."""
        return not self.counter

    def ready(self) -> bool:
        """Whether a permit is free."""
        return self.counter > 0

    def _take(self) -> bool:
        try:
            self._permits.pop()
        except IndexError:
            for _ in self._reserve or ():
                return True
            return False
        return True

    def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool:
        """Take a permit, waiting for one if need be.

        :param blocking: false: do not wait.
        :param timeout: seconds; None for no limit.
        :returns: whether a permit was taken.
        """
        if not self._waiters:
            if self._permits:
                try:
                    self._permits.pop()
                    return True
                except IndexError:
                    pass  # another thread was quicker
            if self._reserve is not None and self._take():
                return True
        if not blocking or (timeout is not None and timeout <= 0):
            return self._acquire_at_once()
        waiter = Waiter()
        self._waiters.append(waiter)
        if self._permits or self._reserve is not None:
            self._hand_over()
        try:
            if waiter.wait(timeout):
                return True
        except BaseException:
            if not self._withdraw(waiter):
                self.release()
            raise
        return not self._withdraw(waiter)

    def _acquire_at_once(self) -> bool:
        # Permits that are free while somebody waits are on their way to him, unless he is about to give up.
        return not self._waiters and self._take()

    def _withdraw(self, waiter: Waiter) -> bool:
        """Leave the queue. False when a permit was handed over already."""
        try:
            self._waiters.remove(waiter)
        except ValueError:
            return False
        return True

    def release(self) -> int:
        """Give a permit, to the one who has waited longest if somebody waits. From any thread.

        :returns: how many permits are free then.
        """
        while self._waiters:
            try:
                waiter = self._waiters.popleft()
            except IndexError:
                break  # the waiter has just given up, in another thread
            if waiter.wake():
                return 0
        permits = self._permits
        permits.append(None)
        if self._waiters:
            self._hand_over()
        if self._links is not None:
            self._links.fire()
        return len(permits) if self._reserve is None else self.counter

    def _hand_over(self) -> None:
        while self._waiters and self._take():
            try:
                waiter = self._waiters.popleft()
            except IndexError:
                self._permits.append(None)
                continue
            if not waiter.wake():
                self._permits.append(None)

    def wait(self, timeout: float | None = None) -> int:
        """Wait until a permit is free, without taking it.

        :returns: how many are free then; 0 when ``timeout`` seconds have passed.
        """
        if self.counter:
            return self.counter
        if self.acquire(timeout=timeout):
            self.release()
        return self.counter

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()


class BoundedSemaphore(Semaphore):
    """A semaphore that refuses more releases than acquires."""

    def __init__(self, value: int = 1) -> None:
        super().__init__(value)
        self._initial_value = value

    def release(self) -> int:
        """As :meth:`Semaphore.release`.

        :raises ValueError: released more often than acquired.
        """
        if self.counter >= self._initial_value:
            raise ValueError("Semaphore released too many times")
        return super().release()


class DummySemaphore:
    """A semaphore with endless permits: it never waits."""

    def __init__(self, value: int | None = None) -> None:
        """:param value: ignored."""

    def locked(self) -> bool:
        """Never."""
        return False

    def ready(self) -> bool:
        """Always."""
        return True

    def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool:
        """At once."""
        return True

    def release(self) -> None:
        """Nothing to give back."""

    def wait(self, timeout: float | None = None) -> int:
        """At once."""
        return 1

    def rawlink(self, callback: Callable[[Any], Any]) -> None:
        """Never called: there is nothing to wait for."""

    def unlink(self, callback: Callable[[Any], Any]) -> None:
        """Nothing to undo."""

    def __enter__(self) -> None:
        """At once."""

    def __exit__(self, *_: object) -> None:
        """Nothing to give back."""


class RLock:
    """A lock that its owner, a greenlet, may take again: as :func:`threading.RLock`."""

    def __init__(self) -> None:
        self._block = Semaphore(1)
        self._owner: Any = None
        self._count = 0

    def __repr__(self) -> str:
        return f"<{type(self).__name__} owner={self._owner!r} count={self._count}>"

    def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool:
        """Take the lock once more, waiting until it is free or mine.

        :returns: whether it was taken.
        """
        current = getcurrent()
        if self._owner is current:
            self._count += 1
            return True
        if timeout is not None and timeout < 0:
            timeout = None
        if not self._block.acquire(blocking, timeout):
            return False
        self._owner = current
        self._count = 1
        return True

    def release(self) -> None:
        """Give it back once.

        :raises RuntimeError: the current greenlet does not own it.
        """
        if self._owner is not getcurrent():
            raise RuntimeError("cannot release un-acquired lock")
        self._count -= 1
        if not self._count:
            self._owner = None
            self._block.release()

    def locked(self) -> bool:
        """Whether somebody owns it."""
        return self._count > 0

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()

    # What threading.Condition asks of a lock ------------------------------------------------------------------------

    def _is_owned(self) -> bool:
        return self._owner is getcurrent()

    # The owner is whoever calls. The state has no greenlet in it: the collector loses sight of a tuple that has.

    def _release_save(self) -> int:
        count, self._count, self._owner = self._count, 0, None
        self._block.release()
        return count

    def _acquire_restore(self, state: int) -> None:
        self._block.acquire()
        self._owner = getcurrent()
        self._count = state


class Condition:
    """Waiting until a notification, as :class:`threading.Condition`. Waiters are notified in the order they came.

    A waiter that is killed, or whose time runs out, in the turn of its notification passes it on.

    :param lock: a lock with ``acquire`` and ``release``; by default an :class:`RLock` of its own.
    """

    def __init__(self, lock: Any = None) -> None:
        self._lock = lock if lock is not None else RLock()
        self._waiters: deque[Waiter] = deque()
        self.acquire = self._lock.acquire
        self.release = self._lock.release

    def __repr__(self) -> str:
        return f"<{type(self).__name__} lock={self._lock!r} waiters={len(self._waiters)}>"

    def __enter__(self) -> Any:
        return self._lock.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._lock.__exit__(kind, error, traceback)

    def wait(self, timeout: float | None = None) -> bool:
        """Give the lock back, wait for a notification, take the lock again.

        :param timeout: seconds to wait for the notification, or None for no limit. The lock is waited for without one.
        :returns: False when the time ran out first.
        :raises RuntimeError: the lock is not held.
        """
        self._check_owned()
        waiter = Waiter()
        self._waiters.append(waiter)
        state = self._release_all()
        try:
            notified = waiter.wait(timeout) or not self._withdraw(waiter)
        except BaseException:
            if not self._withdraw(waiter):
                self._notify_one()
            raise
        finally:
            self._take_again(state)
        return notified

    def wait_for(self, predicate: Callable[[], T], timeout: float | None = None) -> T:
        """Wait until ``predicate()`` is true.

        :param timeout: seconds for all of it, or None for no limit.
        :returns: what the predicate returned last.
        """
        clock = get_hub().loop.update_now
        deadline = None if timeout is None else clock() + timeout
        result = predicate()
        while not result:
            left = None if deadline is None else deadline - clock()
            if left is not None and left <= 0:
                break
            self.wait(left)
            result = predicate()
        return result

    def notify(self, n: int = 1) -> None:
        """Wake the ``n`` greenlets that have waited longest.

        :raises RuntimeError: the lock is not held.
        """
        self._check_owned()
        for _ in range(n):
            if not self._notify_one():
                return

    def notify_all(self) -> None:
        """Wake all that wait."""
        self.notify(len(self._waiters))

    def _notify_one(self) -> bool:
        while self._waiters:
            try:
                waiter = self._waiters.popleft()
            except IndexError:
                break  # it has just given up, in another thread
            if waiter.wake():
                return True
        return False

    def _withdraw(self, waiter: Waiter) -> bool:
        try:
            self._waiters.remove(waiter)
        except ValueError:
            return False
        return True

    def _check_owned(self) -> None:
        owned = getattr(self._lock, "_is_owned", None)
        if not (owned() if owned is not None else self._lock.locked()):
            raise RuntimeError("the lock of the condition must be held")

    def _release_all(self) -> Any:
        save = getattr(self._lock, "_release_save", None)
        if save is not None:
            return save()
        self._lock.release()
        return None

    def _take_again(self, state: Any) -> None:
        """Whatever comes meanwhile, the lock is held when ``wait`` ends."""
        interruption: BaseException | None = None
        while True:
            try:
                with shield():
                    if state is not None:
                        self._lock._acquire_restore(state)
                    else:
                        self._lock.acquire()
            except BaseException as error:  # raised when the lock is held again
                interruption = error
            else:
                break
        if interruption is not None:
            raise interruption
