"""The queue that the others derive from: items, and greenlets that wait to put, to get and to peek.

Plain queues put (if unbounded) and get without a lock: each is one operation of C code on a deque or list. After a put
the greenlet looks for waiters; before a wait it looks for items once more. Everything else holds a mutex, also the code
that brings waiters and items together. Even then another thread may take an item of a plain queue at any moment. So
that code does not look first and take later: it takes an item out, then hands it to a waiter or puts it back in front.

The mutex is re-entrant because a destructor may call ``put`` in the middle of any operation of its own thread. An error
of an overridden ``_put`` or ``_get``, or of an item's ``__lt__``, is raised in the greenlet that puts or gets the item,
even if another greenlet's call meets it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from queue import Empty, Full
from typing import Any, Generic, Self, TypeVar

from hubbub._arguments import as_seconds, whole_number
from hubbub._links import Linkable
from hubbub._mutex import Mutex
from hubbub._twins import known_to_c, mirrored, twin
from hubbub._waiter import Waiter
from hubbub._waitqueue import WaitQueue

__all__ = ["NOTHING", "Failure", "ShutDown", "SimpleQueue"]

T = TypeVar("T")
NOTHING: Any = object()
"""What stands for no item."""

try:
    from queue import ShutDown  # type: ignore[attr-defined,unused-ignore]  # Python 3.13
except ImportError:

    class ShutDown(Exception):  # type: ignore[no-redef]  # the same name as in 3.13
        """Raised by put and get when the queue was shut down."""


class SimpleQueue(Linkable, Generic[T]):
    """A first-in first-out queue.

    Subclasses may override ``_init``, ``_qsize``, ``_put`` and ``_get``, as with :class:`queue.Queue`.

    :param maxsize: how many items fit; None or 0: any number.
    :param items: what is in it at the start.
    """

    __module__ = "hubbub.queue"  # where users find it

    # Beside the __dict__ of Linkable.
    __slots__ = (
        "_append",
        "_emptied",
        "_getters",
        "_links",
        "_maxsize",
        "_mutex",
        "_peekers",
        "_pop",
        "_puts",
        "_putters",
        "_shut_down",
        "queue",
    )

    def __init__(self, maxsize: int | None = None, items: Iterable[T] = ()) -> None:
        if maxsize is not None:
            whole_number(maxsize, "maxsize")
        self._maxsize = maxsize or None
        self._mutex = Mutex()
        self._getters = WaitQueue()
        self._putters = WaitQueue()
        self._peekers = WaitQueue()
        self._links = None
        self._puts: Iterator[None] | None = None  # counts the items that were put, in queues with ``task_done``
        self._shut_down = False
        self._emptied = False
        """Whether it was shut down at once: it drops all items, also those that come late."""
        self.queue: Any = None
        self._init(maxsize)
        for item in items:
            self._put(item)
        self._pop: Callable[[], T] | None = self._plain_pop()
        self._append: Callable[[T], None] | None = None
        self._choose_append()

    def _plain_pop(self) -> Callable[[], T] | None:
        """The C function that takes the next item; None if a subclass has a ``_get`` or ``_qsize`` of its own."""
        plain = type(self)._get is SimpleQueue._get and type(self)._qsize is SimpleQueue._qsize
        if plain and isinstance(self.queue, deque):
            pop: Callable[[], T] = self.queue.popleft
            return pop
        return None

    def _choose_append(self) -> None:
        """Let ``put`` use the C function that stores an item while that is all there is to do."""
        plain = self._pop is not None and type(self)._put is SimpleQueue._put
        usable = plain and self._maxsize is None and not self._shut_down
        self._append = self.queue.append if usable else None

    # What a subclass may override -----------------------------------------------------------------------------------

    def _init(self, maxsize: int | None) -> None:
        self.queue = deque()

    def _qsize(self) -> int:
        return len(self.queue)

    def _put(self, item: T) -> None:
        self.queue.append(item)

    def _get(self) -> T:
        item: T = self.queue.popleft()
        return item

    def _peek(self) -> T:
        item: T = self.queue[0]
        return item

    def _unget(self, item: T) -> None:
        if isinstance(self.queue, deque):
            self.queue.appendleft(item)
        else:
            self._put(item)  # a subclass keeps its items in its own way

    # State ----------------------------------------------------------------------------------------------------------

    @property
    def maxsize(self) -> int | None:
        """How many items fit; None: any number. May be assigned."""
        return self._maxsize

    @maxsize.setter
    def maxsize(self, value: int | None) -> None:
        with self._mutex:
            self._maxsize = value or None
            self._choose_append()
            self._settle()

    def qsize(self) -> int:
        """How many items are there."""
        return self._qsize()

    def copy(self) -> Self:
        """A queue of the same kind and size with the same items. Waiters are not copied."""
        with self._mutex:
            return type(self)(self._maxsize, list(self.queue))

    def __len__(self) -> int:
        return self._qsize()

    def __bool__(self) -> bool:
        """Always true: an empty queue is a queue."""
        return True

    def empty(self) -> bool:
        """Whether ``get`` would wait."""
        return not self._qsize()

    def full(self) -> bool:
        """Whether ``put`` would wait."""
        return self._maxsize is not None and self._qsize() >= self._maxsize

    @property
    def is_shutdown(self) -> bool:
        """Whether :meth:`shutdown` was called."""
        return self._shut_down

    def __repr__(self) -> str:
        limit = f" maxsize={self._maxsize}" if self._maxsize is not None else ""
        waiting = f" getters={len(self._getters)} putters={len(self._putters)}"
        return f"<{type(self).__name__} at {id(self):#x} items={self._qsize()}{limit}{waiting}>"

    # Putting and getting --------------------------------------------------------------------------------------------

    @twin("queue.c")
    def put(self, item: T, block: bool = True, timeout: float | None = None) -> None:
        """Add an item, waiting for room if need be.

        :param timeout: seconds, or None for no limit.
        :raises Full: there is no room in ``timeout`` seconds, or now and ``block`` is false.
        :raises ShutDown: the queue was shut down.
        """
        append = self._append
        if append is not None:
            if self._puts is not None:
                next(self._puts)
            append(item)
            if self._shut_down:
                self._retract(item)
            elif self._getters or self._peekers:
                with self._mutex:
                    self._settle()
            if self._links is not None:
                self._links.fire()
            return
        with self._mutex:
            if self._shut_down:
                raise ShutDown
            if self._putters:
                self._settle()
            if self._maxsize is None or self._qsize() < self._maxsize:
                self._insert(item)
                self._settle()
                if self._links is not None:
                    self._links.fire()
                return
            self._check_wait(block, timeout, Full)
        waiter = Waiter()  # not with the mutex: it may have to make the hub
        waiter.value = item
        if not self._putters.wait(waiter, timeout, self._enter_putters, None, self._mutex):
            raise Full
        if isinstance(waiter.value, Failure):
            raise waiter.value.error

    @mirrored("queue.c")
    def _enter_putters(self, waiter: Waiter) -> None:
        with self._mutex:
            if self._shut_down:
                raise ShutDown
            self._putters.join(waiter)
            if self._maxsize is None or self._qsize() < self._maxsize:  # room was made since ``put`` looked
                self._settle()

    def _abandon_put(self, waiter: Waiter) -> None:
        """For the methods in C: a wait to put has ended with an exception."""
        self._putters.abandon(waiter, None, self._mutex)

    @twin("queue.c")
    def put_nowait(self, item: T) -> None:
        """:meth:`put` without waiting."""
        self.put(item, block=False)

    @twin("queue.c")
    def get(self, block: bool = True, timeout: float | None = None) -> T:
        """Remove and return the next item, waiting for one if need be.

        :param timeout: seconds, or None for no limit.
        :raises Empty: nothing came in ``timeout`` seconds, or is there now and ``block`` is false.
        :raises ShutDown: the queue was shut down and is empty.
        """
        pop = self._pop
        if pop is not None and self.queue:
            try:
                item = pop()
            except IndexError:
                pass  # another thread was quicker
            else:
                if self._putters:
                    with self._mutex:
                        self._settle()
                return item
        if pop is None or not block or timeout is not None or self._shut_down:
            with self._mutex:
                found = self._take()
                if found is not NOTHING:
                    if self._putters:
                        self._settle()
                    return found  # type: ignore[no-any-return]  # put() stored a T
                self._check_open()
                self._check_wait(block, timeout, Empty)
        waiter = Waiter()  # not with the mutex: it may have to make the hub
        if not self._getters.wait(waiter, timeout, self._enter_getters, self._give_back, self._mutex):
            raise Empty
        item, waiter.value = waiter.value, None  # the hub has the waiter in its hands until this greenlet waits again
        if isinstance(item, Failure):
            raise item.error
        return item

    @mirrored("queue.c")
    def _enter_getters(self, waiter: Waiter) -> None:
        with self._mutex:
            found = self._take()
            if found is not NOTHING:
                waiter.value = found
                waiter.done = True  # before it has begun to wait
            else:
                if self._shut_down:
                    raise ShutDown
                self._getters.join(waiter)
            self._settle()

    def _abandon_get(self, waiter: Waiter) -> None:
        """For the methods in C: a wait to get has ended with an exception."""
        self._getters.abandon(waiter, self._give_back, self._mutex)

    @twin("queue.c")
    def get_nowait(self) -> T:
        """:meth:`get` without waiting."""
        return self.get(block=False)

    def peek(self, block: bool = True, timeout: float | None = None) -> T:
        """:meth:`get` without removing the item."""
        with self._mutex:
            found = self._look()
            if found is not NOTHING:
                item: T = found
                return item
            self._check_open()
            self._check_wait(block, timeout, Empty)
        waiter = Waiter()
        if not self._peekers.wait(waiter, timeout, self._enter_peekers, None, self._mutex):
            raise Empty
        return self._received(waiter)

    def _enter_peekers(self, waiter: Waiter) -> None:
        with self._mutex:
            found = self._look()
            if found is not NOTHING:
                waiter.value = found
                waiter.done = True
            else:
                self._check_open()
                self._peekers.join(waiter)
            self._settle()

    def peek_nowait(self) -> T:
        """:meth:`peek` without waiting."""
        return self.peek(block=False)

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        """The next item; the class StopIteration as an item ends the iteration."""
        item = self.get()
        if item is StopIteration:
            raise StopIteration
        return item

    def shutdown(self, immediate: bool = False) -> None:
        """No more puts; gets go on until the queue is empty (:meth:`queue.Queue.shutdown` of Python 3.13).

        :param immediate: drop the items too.
        """
        with self._mutex:
            self._shut_down = True
            self._choose_append()
            self._pop = None  # gets hold the mutex from here on
            if immediate:
                self._emptied = True
            self._settle()
            for waiters in (self._getters, self._putters, self._peekers):
                while waiters.wake_one(Failure(ShutDown())):
                    pass
        if self._links is not None:
            self._links.fire()

    def _drop_all(self) -> None:
        while self._qsize():
            self._get()

    # Inside ---------------------------------------------------------------------------------------------------------

    def ready(self) -> bool:
        """Whether ``get`` would not wait."""
        return bool(self._qsize() or self._shut_down)

    def _check_open(self) -> None:
        if self._shut_down:
            raise ShutDown

    @staticmethod
    def _check_wait(block: bool, timeout: float | None, error: type[Exception]) -> None:
        if not block:
            raise error
        if timeout is not None and not as_seconds(timeout) and timeout < 0:
            raise ValueError("'timeout' must be a non-negative number")

    # With the mutex held: none of these raises another greenlet's error -----------------------------------------------

    @mirrored("queue.c")
    def _insert(self, item: T) -> None:
        if self._puts is not None:
            next(self._puts)  # first: a greenlet that gets the item at once may report it as done
        try:
            self._put(item)
        except BaseException:
            self._uncount()
            raise

    def _uncount(self) -> None:
        """Undo the count of an item that was not put."""

    def _retract(self, item: T) -> None:
        """The queue was shut down while ``item`` was being put without the mutex.

        :raises ShutDown: no greenlet has got the item, and none will.
        """
        with self._mutex:
            items = list(self._taken_out())
            where = next((at for at in reversed(range(len(items))) if items[at] is item), None)
            if where is not None:
                del items[where]
            if isinstance(self.queue, deque):
                self.queue.extendleft(reversed(items))
            else:
                self.queue[:0] = items
            if where is not None:
                self._uncount()
                raise ShutDown

    def _taken_out(self) -> Iterator[T]:
        """All items of a plain queue, in their order. One that another thread takes meanwhile is not among them."""
        pop = self.queue.popleft if isinstance(self.queue, deque) else partial(self.queue.pop, 0)
        while True:
            try:
                item: T = pop()
            except IndexError:
                return
            yield item

    def _take(self) -> Any:
        """The next item, or NOTHING."""
        pop = self._pop
        if pop is None:
            return self._get() if not self._emptied and self._qsize() else NOTHING
        try:
            return pop()
        except IndexError:
            return NOTHING

    def _look(self) -> Any:
        """The next item, which stays, or NOTHING."""
        try:
            return self._peek() if not self._emptied and self._qsize() else NOTHING
        except IndexError:
            if self._pop is None:
                raise
            return NOTHING  # another thread has just taken it

    def settle(self) -> None:
        """Wake the waiters that need wait no longer, after ``queue`` was changed by hand."""
        with self._mutex:
            self._settle()

    @property
    def getters(self) -> int:
        """How many greenlets wait for an item."""
        return len(self._getters)

    @property
    def putters(self) -> int:
        """How many greenlets wait for room, or in a channel for a greenlet that takes their item."""
        return len(self._putters)

    @mirrored("queue.c")
    def _settle(self) -> None:
        """Hand items to those that wait for one, and put the items of those that wait for room, as far as possible."""
        if self._emptied:
            self._drop_all()
            return
        while self._peekers and self._serve(self._peekers, self._look, None):
            pass
        while (self._getters and self._serve(self._getters, self._take, self._unget)) or (
            self._putters and self._serve_putter()
        ):
            pass

    @mirrored("queue.c")
    def _serve(self, waiters: WaitQueue, find: Callable[[], Any], put_back: Callable[[Any], None] | None) -> bool:
        """Hand an item to the first of ``waiters``. False if there is no item or no waiter."""
        try:
            found = find()
        except Exception as error:
            return waiters.wake_one(Failure(error))
        if found is NOTHING:
            return False
        if waiters.wake_one(found):
            return True
        if put_back is not None:
            put_back(found)
        return False

    @mirrored("queue.c")
    def _serve_putter(self) -> bool:
        """Put the item of the greenlet that has waited longest to put. False if there is no room."""
        try:
            if self._maxsize is not None and self._qsize() >= self._maxsize:
                return False
        except Exception as error:
            return self._putters.wake_one(Failure(error))
        waiter = self._putters.popleft()
        if waiter.since < waiter._loop.born:  # stale; a property would take twice as long
            return True
        failure: Failure | None = None
        try:
            self._insert(waiter.value)
        except Exception as error:
            failure = Failure(error)
        except BaseException:
            self._putters.appendleft(waiter)
            raise
        waiter.wake(failure)
        return True

    def _received(self, waiter: Waiter) -> T:
        """What was handed to ``waiter``."""
        if isinstance(waiter.value, Failure):
            raise waiter.value.error
        item: T = waiter.value
        waiter.value = None  # the hub holds the waiter until this greenlet waits again
        return item

    def _give_back(self, item: Any) -> None:
        """The greenlet to which ``item`` was handed will not use it: pass it on, as the next item."""
        if not isinstance(item, Failure):
            with self._mutex:
                self._unget(item)
                self._settle()


@known_to_c
class Failure:
    """What a waiter gets in place of an item: the error to raise."""

    __slots__ = ("error",)

    def __init__(self, error: BaseException) -> None:
        self.error = error
