"""Queues, as in :mod:`queue`: first come first served on both sides, and usable from several threads.

An item goes straight from ``put`` to the greenlet that has waited longest in ``get``. One that is killed, or whose time
runs out, after an item was handed to it gives the item back to the front of the queue.

Unbounded queues put and get without a lock: each is one operation of C code on a deque or list, and whoever has put
looks for those who wait, as whoever begins to wait looks for items. All else holds a mutex. It is re-entrant because a
destructor may call ``put`` in the middle of any operation of its own thread. Every operation is written so that this is
harmless: a waiter that has joined a queue looks again whether it need wait.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from heapq import heapify, heappop, heappush
from itertools import count
from queue import Empty, Full
from typing import Any, Generic, Self, TypeVar

from hubbub._links import Linkable
from hubbub._originals import RLock
from hubbub._waiter import Waiter

__all__ = [
    "Channel",
    "Empty",
    "Full",
    "JoinableQueue",
    "LifoQueue",
    "PriorityQueue",
    "Queue",
    "ShutDown",
    "SimpleQueue",
]

T = TypeVar("T")

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

    # Beside the __dict__ of Linkable.
    __slots__ = (
        "_append",
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
        if maxsize is not None and maxsize < 0:
            raise ValueError(f"maxsize must be 0 or more, or None for no limit, not {maxsize!r}")
        self._maxsize = maxsize or None
        self._mutex = RLock()
        self._getters: deque[Waiter] = deque()
        self._putters: deque[Waiter] = deque()
        self._peekers: deque[Waiter] = deque()
        self._links = None
        self._puts: Iterator[int] | None = None  # counts the items that were put; only queues with ``task_done`` do
        self._shut_down = False
        self.queue: Any = None
        self._init(maxsize)
        for item in items:
            self._put(item)
        self._pop: Callable[[], T] | None = self._plain_pop()
        self._append: Callable[[T], None] | None = None
        self._choose_append()

    def _plain_pop(self) -> Callable[[], T] | None:
        """The C function that takes the next item, unless a subclass has its own idea."""
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
        self.queue.appendleft(item)

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
        """A queue of the same kind and size with the same items. Who waits is not copied."""
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
            if self._getters or self._peekers:
                with self._mutex:
                    self._settle()
            if self._links is not None:
                self._links.fire()
            return
        with self._mutex:
            self._check_open()
            if self._maxsize is None or self._getters or self._qsize() < self._maxsize:
                self._insert(item)
                self._settle()
                if self._links is not None:
                    self._links.fire()
                return
            self._check_wait(block, timeout, Full)
            waiter = Waiter()
            waiter.value = item
            self._putters.append(waiter)
            self._settle()
        self._wait_for_taker(waiter, timeout)

    def put_nowait(self, item: T) -> None:
        """:meth:`put` without waiting."""
        self.put(item, block=False)

    def get(self, block: bool = True, timeout: float | None = None) -> T:
        """Remove and return the next item, waiting for one if need be.

        :param timeout: seconds, or None for no limit.
        :raises Empty: nothing came in ``timeout`` seconds, or is there now and ``block`` is false.
        :raises ShutDown: the queue was shut down and is empty.
        """
        if self._pop is not None and self.queue:
            try:
                item = self._pop()
            except IndexError:
                pass  # another thread was quicker
            else:
                if self._putters:
                    with self._mutex:
                        self._settle()
                return item
        with self._mutex:
            if self._qsize():
                item = self._get()
                if self._putters:
                    self._settle()
                return item
            self._check_open()
            self._check_wait(block, timeout, Empty)
            waiter = Waiter()
            self._getters.append(waiter)
            self._settle()
        return self._received(self._getters, waiter, timeout, self._give_back)

    def get_nowait(self) -> T:
        """:meth:`get` without waiting."""
        return self.get(block=False)

    def peek(self, block: bool = True, timeout: float | None = None) -> T:
        """:meth:`get` without removing the item."""
        with self._mutex:
            if self._qsize():
                return self._peek()
            self._check_open()
            self._check_wait(block, timeout, Empty)
            waiter = Waiter()
            self._peekers.append(waiter)
            self._settle()
        return self._received(self._peekers, waiter, timeout, None)

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
            if immediate:
                self._drop_all()
            for waiters in (self._getters, self._putters, self._peekers):
                while waiters:
                    waiters.popleft().wake(ShutDown)
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
        if timeout is not None and timeout < 0:
            raise ValueError("'timeout' must be a non-negative number")

    def _insert(self, item: T) -> None:
        if self._puts is not None:
            next(self._puts)
        self._put(item)

    def _settle(self) -> None:
        """Bring together what can come together. The mutex is held."""
        while self._qsize() and self._peekers:
            self._peekers.popleft().wake(self._peek())
        while True:
            if self._getters and self._qsize():
                waiter = self._getters.popleft()
                if not waiter.stale:
                    waiter.wake(self._get())
            elif self._putters and not self.full():
                waiter = self._putters.popleft()
                if not waiter.stale:
                    self._insert(waiter.value)
                    waiter.wake()
            else:
                return

    def _wait_for_taker(self, waiter: Waiter, timeout: float | None) -> None:
        """The end of a ``put`` that has to wait."""
        try:
            if not waiter.wait(timeout) and self._leave(self._putters, waiter):
                raise Full
        except Full:
            raise
        except BaseException:
            self._leave(self._putters, waiter)
            raise
        if waiter.value is ShutDown:
            raise ShutDown

    def _received(self, queue: deque[Waiter], waiter: Waiter, timeout: float | None, give_back: Any) -> T:
        try:
            if not waiter.wait(timeout) and self._leave(queue, waiter):
                raise Empty
        except Empty:
            raise
        except BaseException:
            if not self._leave(queue, waiter) and give_back is not None:
                give_back(waiter.value)
            raise
        if waiter.value is ShutDown:
            raise ShutDown
        item: T = waiter.value
        return item

    def _give_back(self, item: Any) -> None:
        if item is ShutDown:
            return
        with self._mutex:
            self._unget(item)
            self._settle()

    def _leave(self, queue: deque[Waiter], waiter: Waiter) -> bool:
        """Leave the queue of waiters. False when something was handed over already."""
        with self._mutex:
            try:
                queue.remove(waiter)
            except ValueError:
                return False
            return True


class Queue(SimpleQueue[T]):
    """A first-in first-out queue that counts unfinished tasks, as :class:`queue.Queue`."""

    def __init__(
        self, maxsize: int | None = None, items: Iterable[T] = (), unfinished_tasks: int | None = None
    ) -> None:
        super().__init__(maxsize, items)
        first = unfinished_tasks if unfinished_tasks is not None else self._qsize()
        self._puts = count(first)
        self._looks = 0
        self._done = 0
        self._joiners: list[Waiter] = []

    @property
    def unfinished_tasks(self) -> int:
        """How many items were put and not yet reported by :meth:`task_done`."""
        with self._mutex:
            return self._unfinished()

    def _unfinished(self) -> int:
        # Looking at the counter counts too. The mutex is held.
        puts = next(self._puts) - self._looks if self._puts is not None else 0
        self._looks += 1
        return puts - self._done

    def task_done(self) -> None:
        """One task that was got is finished.

        :raises ValueError: called more often than ``put``.
        """
        with self._mutex:
            unfinished = self._unfinished()
            if unfinished <= 0:
                raise ValueError("task_done() called too many times")
            self._done += 1
            if unfinished == 1:
                self._wake_joiners()

    def _wake_joiners(self) -> None:
        joiners, self._joiners = self._joiners, []
        for waiter in joiners:
            waiter.wake()

    def join(self, timeout: float | None = None) -> bool:
        """Wait until every task is finished.

        :param timeout: seconds, or None for no limit.
        :returns: False when the time ran out first.
        """
        with self._mutex:
            if not self._unfinished():
                return True
            waiter = Waiter()
            self._joiners.append(waiter)
        try:
            return waiter.wait(timeout)
        finally:
            with self._mutex:
                if waiter in self._joiners:
                    self._joiners.remove(waiter)

    def _drop_all(self) -> None:
        while self._qsize():
            self._get()
            if self._unfinished() > 0:
                self._done += 1
        if not self._unfinished():
            self._wake_joiners()


JoinableQueue = Queue


class PriorityQueue(Queue[T]):
    """The smallest item first, as :class:`queue.PriorityQueue`."""

    def _init(self, maxsize: int | None) -> None:
        self.queue = []

    def __init__(
        self, maxsize: int | None = None, items: Iterable[T] = (), unfinished_tasks: int | None = None
    ) -> None:
        super().__init__(maxsize, items, unfinished_tasks)
        heapify(self.queue)

    def _put(self, item: T) -> None:
        heappush(self.queue, item)

    def _get(self) -> T:
        item: T = heappop(self.queue)
        return item

    def _unget(self, item: T) -> None:
        self._put(item)


class LifoQueue(Queue[T]):
    """The newest item first, as :class:`queue.LifoQueue`."""

    def _init(self, maxsize: int | None) -> None:
        self.queue = []

    def _plain_pop(self) -> Callable[[], T] | None:
        if type(self)._get is LifoQueue._get and type(self)._qsize is LifoQueue._qsize:
            pop: Callable[[], T] = self.queue.pop
            return pop
        return None

    def _get(self) -> T:
        item: T = self.queue.pop()
        return item

    def _peek(self) -> T:
        item: T = self.queue[-1]
        return item

    def _unget(self, item: T) -> None:
        self.queue.append(item)


class Channel(SimpleQueue[T]):
    """A meeting place: ``put`` waits until somebody has got the item."""

    def __init__(self, maxsize: int = 1) -> None:
        """:param maxsize: only 1, for the sake of the interface."""
        if maxsize != 1:
            raise ValueError("a channel holds no items: maxsize can only be 1")
        super().__init__()

    @property
    def balance(self) -> int:
        """How many wait to put, less how many wait to get."""
        return len(self._putters) - len(self._getters)

    def full(self) -> bool:
        """Whether nobody is there to take an item."""
        return not self._getters

    def empty(self) -> bool:
        """Whether nobody is there to give an item."""
        return not (self._putters or self.queue)

    def ready(self) -> bool:
        """Whether ``get`` would not wait."""
        return bool(self._putters or self.queue or self._shut_down)

    def put(self, item: T, block: bool = True, timeout: float | None = None) -> None:
        """Hand an item over.

        :raises Full: nobody took it in ``timeout`` seconds, or is there now and ``block`` is false.
        """
        with self._mutex:
            self._check_open()
            while self._getters:
                if self._getters.popleft().wake(item):
                    return
            self._check_wait(block, timeout, Full)
            waiter = Waiter()
            waiter.value = item
            self._putters.append(waiter)
        if self._links is not None:
            self._links.fire()
        self._wait_for_taker(waiter, timeout)

    def get(self, block: bool = True, timeout: float | None = None) -> T:
        """Take an item.

        :raises Empty: nobody gave one in ``timeout`` seconds, or is there now and ``block`` is false.
        """
        with self._mutex:
            if self.queue:  # its getter was killed
                return self._get()
            while self._putters:
                putter = self._putters.popleft()
                item: T = putter.value
                if putter.wake():
                    return item
            self._check_open()
            self._check_wait(block, timeout, Empty)
            waiter = Waiter()
            self._getters.append(waiter)
        return self._received(self._getters, waiter, timeout, self._pass_on)

    def _pass_on(self, item: T) -> None:
        """The getter is gone: the next one gets the item; if there is none it waits in front."""
        with self._mutex:
            while self._getters:
                if self._getters.popleft().wake(item):
                    return
            self.queue.append(item)

    def qsize(self) -> int:
        """Always 0, but for an item whose getter was killed."""
        return self._qsize()
