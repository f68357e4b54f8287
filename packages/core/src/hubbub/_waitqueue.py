"""The waiters of a lock, a queue or an event, in the order in which they came."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from math import inf
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from hubbub._identity import Reduce, refuse_copies
from hubbub._twins import twin
from hubbub._waiter import Waiter

__all__ = ["WaitQueue"]

_NO_MUTEX: AbstractContextManager[Any] = nullcontext()


class WaitQueue(deque[Waiter]):
    """Waiters: each joins at the end, withdraws if its wait is cut short, and is woken from the front.

    May be used from any thread. ``len`` tells how many wait. It is a deque so that each step is a single one of C code:
    no other thread, signal handler or destructor runs in the middle of it. Use the methods below.

    One rule holds for everything that greenlets wait for, and only :meth:`wait` implements it. The code that takes a
    waiter out of the queue owns the hand-over. If a wait ends by an exception, and its waiter is not in the queue any
    more, the waiter was handed something that its greenlet will never use: ``wait`` passes it on.
    """

    __slots__ = ()

    __reduce_ex__: ClassVar[Reduce] = refuse_copies
    __copy__: ClassVar[Callable[[Any], NoReturn]] = refuse_copies

    def __repr__(self) -> str:
        return f"<{type(self).__name__} waiters={len(self)}>"

    @twin("waitqueue.c")
    def wait(
        self,
        waiter: Waiter,
        timeout: float | None = None,
        enter: Callable[[Waiter], object] | None = None,
        pass_on: Callable[[Any], object] | None = None,
        mutex: AbstractContextManager[Any] | None = None,
    ) -> bool:
        """Join the queue with ``waiter``, which is new, and wait until it is woken.

        :param timeout: seconds, or None for no limit.
        :param enter: called with the waiter instead of :meth:`join`. It looks once more for what is waited for, under
            whatever lock that needs, and either joins, or sets ``waiter.done`` (and ``waiter.value``): then there is
            no wait. If it raises, the waiter withdraws.
        :param pass_on: called with ``waiter.value`` if a wait that ends by an exception was handed something. None:
            what wakes is a broadcast, and nothing is handed over.
        :param mutex: held while the waiter withdraws; for wakers that hold it from taking a waiter out until they have
            woken it.
        :returns: False if the time ran out and nothing was handed over.
        """
        try:
            if enter is None:
                self.append(waiter)
            else:
                enter(waiter)
            return waiter.wait(timeout) or not self.withdraw(waiter, mutex)
        except BaseException:
            self.abandon(waiter, pass_on, mutex)
            raise

    if TYPE_CHECKING:

        def join(self, waiter: Waiter, /) -> None:
            """Join at the end. For the ``enter`` of :meth:`wait`, which withdraws a waiter whose wait is cut short."""

    else:
        join = deque.append  # a single step of C code

    def withdraw(self, waiter: Waiter, mutex: AbstractContextManager[Any] | None = None) -> bool:
        """Take out ``waiter``, whose wait has ended without a wake-up. Harmless a second time.

        If a waker in another thread has just taken it out, that waker finds that there is nobody to wake.

        :returns: False if it is too late: what was waited for has been handed over, and belongs to the caller now.
        """
        with mutex or _NO_MUTEX:
            waiter.since = -inf  # stale: nobody can wake it from here on
            try:
                self.remove(waiter)
            except ValueError:
                return not waiter.done
            return True

    def abandon(
        self,
        waiter: Waiter,
        pass_on: Callable[[Any], object] | None = None,
        mutex: AbstractContextManager[Any] | None = None,
    ) -> None:
        """A wait has ended with an exception: withdraw, or pass on what was handed over. Part of :meth:`wait`."""
        if not self.withdraw(waiter, mutex) and pass_on is not None:
            pass_on(waiter.value)

    # Waking ---------------------------------------------------------------------------------------------------------

    def wake_one(self, value: Any = None) -> bool:
        """Wake the waiter that has waited longest, and hand ``value`` over to it.

        :returns: False if there is none.
        """
        if not self:
            return False
        waiter: Waiter | None = None
        try:
            # A loop takes a waiter out and knows it in one step: no signal handler can come between.
            for waiter in iter(self.popleft, None):
                if waiter.wake(value):
                    return True
        except IndexError:
            pass  # the last one has withdrawn
        except BaseException:  # raised by a signal handler
            if waiter is not None and not waiter.done:
                self.put_back(waiter)
            raise
        return False

    def wake_all(self, value: Any = None) -> None:
        """Wake all that wait now, in their order, and hand ``value`` to each. Waiters that join meanwhile wait on."""
        taken: deque[Waiter] = deque()
        try:
            try:
                taken.extend(islice(iter(self.popleft, None), len(self)))  # in one step
            except IndexError:
                pass  # some have withdrawn meanwhile: these are all
            for waiter in taken:
                waiter.wake(value)
        except BaseException:  # raised by a signal handler
            for waiter in taken:
                if not waiter.done:
                    waiter.wake(value)
            raise

    def offer(self, give: Callable[[Waiter], bool]) -> bool:
        """Take out the waiter that has waited longest, and call ``give``, which hands it something and wakes it.

        :param give: returns False if there was nothing to give; then the waiter is put back. If it raises, or a signal
            handler does in the middle, it is called once more with the same waiter.
        :returns: False if nobody waits, or there was nothing to give.
        """
        waiter: Waiter | None = None
        try:
            for waiter in iter(self.popleft, None):  # as in wake_one
                if give(waiter):
                    return True
                self.put_back(waiter)
                return False
        except IndexError:
            pass  # nobody waits, or the last one has withdrawn
        except BaseException:  # raised by a signal handler
            if waiter is not None and not waiter.done and waiter not in self:
                self._offer_again(give, waiter)
            raise
        return False

    def _offer_again(self, give: Callable[[Waiter], bool], waiter: Waiter) -> None:
        try:
            give(waiter)
        finally:
            if not waiter.done:
                self.put_back(waiter)

    def put_back(self, waiter: Waiter) -> None:
        """Undo taking out ``waiter``, which was not woken: it is the first again."""
        self.appendleft(waiter)
        if waiter.stale:  # it has withdrawn meanwhile
            self.withdraw(waiter)
