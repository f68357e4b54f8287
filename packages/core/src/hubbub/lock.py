"""Semaphores and locks for greenlets, fair and usable from several threads.

A permit is a token in a deque; taking and giving one are single operations of C code, so no lock is needed around them.
``release`` hands its permit to the greenlet that has waited longest. It never puts the permit back where a greenlet
that has just released it could take it again before the waiters.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from itertools import repeat
from operator import length_hint
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from hubbub._arguments import as_seconds, whole_number
from hubbub._identity import Reduce, refuse_copies
from hubbub._latch import Latch, ReentrantLatch
from hubbub._links import Linkable
from hubbub._mutex import Mutex
from hubbub._spinning import give_way
from hubbub._twins import mirrored, twin
from hubbub._waiter import Waiter
from hubbub._waitqueue import WaitQueue
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
        whole_number(value, "the number of permits")
        self._set_permits(value)
        self._waiters = WaitQueue()
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
        """How many permits are free. May be assigned; permits that this frees go to the waiters."""
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

    @twin("semaphore.c")
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
        if not blocking or (timeout is not None and not as_seconds(timeout)):
            return self._acquire_at_once()
        waiter = Waiter()
        return self._waiters.wait(waiter, timeout, self._enter, self._give)

    @mirrored("semaphore.c")
    def _enter(self, waiter: Waiter) -> None:
        self._waiters.join(waiter)
        if self._permits or self._reserve is not None:
            self._hand_over()

    def _abandon(self, waiter: Waiter) -> None:
        """For the methods in C: a wait has ended with an exception."""
        self._waiters.abandon(waiter, self._give)

    def _acquire_at_once(self) -> bool:
        # Permits that are free while a greenlet waits are on their way to it, unless it is about to give up.
        if not self._waiters and self._take():
            return True
        give_way()
        return False

    @twin("semaphore.c")
    def release(self) -> int:
        """Give a permit, to the one who has waited longest if somebody waits. From any thread.

        :returns: how many permits are free then.
        """
        permits = self._permits
        try:
            permits.append(None)
            while self._waiters and permits:
                self._waiters.offer(self._offer)
            if self._links is not None:
                self._links.fire()
        except BaseException:  # of a signal handler, before it was seen that somebody waits
            self._settle()
            raise
        return len(permits) if self._reserve is None else self.counter

    def _give(self, _: object = None) -> None:
        self._permits.append(None)
        self._settle()

    @mirrored("semaphore.c")
    def _settle(self) -> None:
        """A permit has become free."""
        try:
            if self._waiters:
                self._hand_over()
        except BaseException:  # of a signal handler: nobody who waits must miss the permit
            self._hand_over()
            raise
        if self._links is not None:
            self._links.fire()

    def _hand_over(self) -> None:
        """Hand over free permits while there are waiters. May be called at any time, also more than once.

        The waiter is taken out first, then the permit: so no permit is held back when there is no waiter for it.
        """
        while self._waiters and (self._permits or (self._reserve is not None and length_hint(self._reserve))):
            self._waiters.offer(self._offer)

    @mirrored("semaphore.c")
    def _offer(self, waiter: Waiter) -> bool:
        try:
            del self._permits[-1]
        except IndexError:
            if not self._take():
                return False  # somebody was quicker
        woken = False
        try:
            woken = waiter.wake()
        finally:
            if not woken and not waiter.done:  # it is stale, or a signal handler has raised
                self._permits.append(None)
        return True

    def wait(self, timeout: float | None = None) -> int:
        """Wait until a permit is free, without taking it.

        :returns: how many are free then; 0 when ``timeout`` seconds have passed.
        """
        free = self.counter
        if free:
            return free
        if self.acquire(timeout=timeout):
            self.release()
        return self.counter

    @twin("semaphore.c")
    def __enter__(self) -> None:
        self.acquire()

    @twin("semaphore.c")
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()


class BoundedSemaphore(Semaphore):
    """A semaphore that refuses more releases than acquires."""

    def __init__(self, value: int = 1) -> None:
        super().__init__(value)
        self._initial_value = value
        self._releasing = Mutex()

    def release(self) -> int:
        """As :meth:`Semaphore.release`.

        :raises ValueError: released more often than acquired.
        """
        self._give_back(1)
        return self.counter

    def _give_back(self, count: int) -> None:
        with self._releasing:  # other threads may take permits meanwhile, but none gives any
            if self.counter + count > self._initial_value:
                raise ValueError("Semaphore released too many times")
            self._permits.extend(repeat(None, count))
        self._settle()


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


class RLock(ReentrantLatch):
    """A lock that its owner, a greenlet, may take again: as :func:`threading.RLock`."""

    def __repr__(self) -> str:
        owner = self._holder.get(0)
        return f"<{type(self).__name__} owner={owner!r} count={self._depth + 1 if owner is not None else 0}>"

    @twin("latch.c")
    def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool:
        """Take the lock once more, waiting until it is free or mine.

        :param timeout: seconds; None, or less than 0, for no limit.
        :returns: whether it was taken.
        """
        if timeout is not None and timeout < 0:
            timeout = None
        return self._take_again(timeout if blocking else 0.0)

    @twin("latch.c")
    def release(self) -> None:
        """Give it back once.

        :raises RuntimeError: the current greenlet does not own it.
        """
        super().release()

    @twin("latch.c")
    def __enter__(self) -> bool:
        return self.acquire()

    @twin("latch.c")
    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)


class _OfLock:
    """A method of a condition's lock as the condition's own.

    The block of ``with`` then begins and ends in the lock itself: no step of Python lies in between, at which a signal
    handler that raises would leave the lock taken.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, condition: Condition | None, owner: type[Condition]) -> Any:
        if condition is not None:
            return getattr(condition._lock, self._name)
        name = self._name
        return lambda condition, *args: getattr(condition._lock, name)(*args)


class Condition:
    """Waiting until a notification, as :class:`threading.Condition`. Waiters are notified in the order they came.

    A waiter that is killed, or whose time runs out, in the turn of its notification passes it on.

    :param lock: a lock with ``acquire`` and ``release``; by default an :class:`RLock` of its own.
    """

    __reduce_ex__: ClassVar[Reduce] = refuse_copies

    def __init__(self, lock: Any = None) -> None:
        self._lock = lock if lock is not None else RLock()
        self._waiters = WaitQueue()
        self.acquire: Callable[..., Any] = self._lock.acquire
        self.release: Callable[[], Any] = self._lock.release

    def __repr__(self) -> str:
        return f"<{type(self).__name__} lock={self._lock!r} waiters={len(self._waiters)}>"

    if TYPE_CHECKING:

        def __enter__(self) -> Any: ...

        def __exit__(
            self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
        ) -> None: ...

    else:
        __enter__ = _OfLock("__enter__")
        __exit__ = _OfLock("__exit__")

    def wait(self, timeout: float | None = None) -> bool:
        """Give the lock back, wait for a notification, take the lock again.

        :param timeout: seconds to wait for the notification, or None for no limit. The lock is waited for without one.
        :returns: False when the time ran out first.
        :raises RuntimeError: the lock is not held.
        """
        self._check_owned()
        waiter = Waiter()
        hold = _Hold(self._lock)
        try:
            return self._waiters.wait(waiter, timeout, partial(self._enter, hold), self._pass_on)
        finally:
            try:
                hold.take_again()
            except BaseException:  # raised by a signal handler, before the call had begun
                hold.take_again()
                raise

    def _enter(self, hold: _Hold, waiter: Waiter) -> None:
        self._waiters.join(waiter)
        hold.give_back()

    def _pass_on(self, _: object) -> None:
        self._waiters.wake_one()

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
            if not self._waiters.wake_one():
                return

    def notify_all(self) -> None:
        """Wake all that wait."""
        self.notify(len(self._waiters))

    def _check_owned(self) -> None:
        owned = getattr(self._lock, "_is_owned", None)
        if not (owned() if owned is not None else self._lock.locked()):
            raise RuntimeError("the lock of the condition must be held")


class _Hold:
    """Gives a lock back for a while, and takes it again after that whatever happens."""

    __slots__ = ("_lock", "_state")

    def __init__(self, lock: Any) -> None:
        self._lock = lock
        self._state = lock._hold() if isinstance(lock, Latch) else None

    def give_back(self) -> None:
        lock = self._lock
        if isinstance(lock, Latch):
            lock._leave_wholly()
        elif hasattr(lock, "_release_save"):
            self._state = lock._release_save()
        else:
            lock.release()

    def take_again(self) -> None:
        interruption: BaseException | None = None
        while True:
            try:
                with shield():
                    self._take()
            except BaseException as error:  # raised when the lock is held again
                interruption = error
            else:
                break
        try:
            if interruption is not None:
                raise interruption
        finally:
            del interruption  # its traceback refers to this frame

    def _take(self) -> None:
        lock = self._lock
        if isinstance(lock, Latch):
            lock._take_back(self._state)
        elif hasattr(lock, "_acquire_restore"):
            lock._acquire_restore(self._state)
        else:
            lock.acquire()
