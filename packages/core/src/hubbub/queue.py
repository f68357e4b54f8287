"""Queues, as in :mod:`queue`: first come first served on both sides, and usable from several threads.

An item goes straight from ``put`` to the greenlet that has waited longest in ``get``. A greenlet that is killed, or
whose time runs out, after an item was handed to it puts the item back at the front of the queue.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from heapq import heapify, heappop, heappush
from itertools import repeat
from operator import length_hint
from queue import Empty, Full
from typing import Any, TypeVar

from hubbub._arguments import whole_number
from hubbub._channel import Channel
from hubbub._simplequeue import ShutDown, SimpleQueue
from hubbub._waiter import Waiter
from hubbub._waitqueue import WaitQueue

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
_PUTS = 1 << 62
"""More than will ever be put."""


class Queue(SimpleQueue[T]):
    """A first-in first-out queue that counts unfinished tasks, as :class:`queue.Queue`."""

    def __init__(
        self, maxsize: int | None = None, items: Iterable[T] = (), unfinished_tasks: int | None = None
    ) -> None:
        super().__init__(maxsize, items)
        # A repeat counts down in one step of C code, and length_hint() tells how far it is.
        self._puts = repeat(None, _PUTS)
        self._done = _PUTS - (unfinished_tasks if unfinished_tasks is not None else self._qsize())
        self._joiners = WaitQueue()

    @property
    def unfinished_tasks(self) -> int:
        """How many items were put and not yet reported by :meth:`task_done`. May be assigned."""
        with self._mutex:
            return self._unfinished()

    @unfinished_tasks.setter
    def unfinished_tasks(self, number: int) -> None:
        whole_number(number, "unfinished_tasks")
        with self._mutex:
            self._done += self._unfinished() - number
            if not number:
                self._joiners.wake_all()

    def _unfinished(self) -> int:
        return 2 * _PUTS - length_hint(self._puts) - self._done

    def _uncount(self) -> None:
        self._done += 1
        if not self._unfinished():
            self._joiners.wake_all()

    def task_done(self) -> None:
        """Report that the task of one item from ``get`` is finished.

        :raises ValueError: called more often than ``put``.
        """
        with self._mutex:
            self._done += 1
            unfinished = self._unfinished()
            if unfinished < 0:
                self._done -= 1
                raise ValueError("task_done() called too many times")
            if not unfinished:
                self._joiners.wake_all()

    def join(self, timeout: float | None = None) -> bool:
        """Wait until every task is finished.

        :param timeout: seconds, or None for no limit.
        :returns: False when the time ran out first.
        """
        with self._mutex:
            if not self._unfinished():
                return True
        waiter = Waiter()
        return self._joiners.wait(waiter, timeout, self._enter_joiners)

    def _enter_joiners(self, waiter: Waiter) -> None:
        with self._mutex:
            if self._unfinished():
                self._joiners.join(waiter)
            else:
                waiter.done = True

    def _drop_all(self) -> None:
        while self._qsize():
            self._get()
            if self._unfinished() > 0:
                self._done += 1
        if not self._unfinished():
            self._joiners.wake_all()


JoinableQueue = Queue


class PriorityQueue(Queue[T]):
    """The smallest item first, as :class:`queue.PriorityQueue`."""

    def _init(self, maxsize: int | None) -> None:
        self.queue: Any = []

    def __init__(
        self, maxsize: int | None = None, items: Iterable[T] = (), unfinished_tasks: int | None = None
    ) -> None:
        super().__init__(maxsize, items, unfinished_tasks)
        heapify(self.queue)

    def _put(self, item: T) -> None:
        heap = self.queue
        try:
            heappush(heap, item)
        except BaseException:  # raised by a comparison; the item is in the heap already
            where = next((at for at, entry in enumerate(heap) if entry is item), None)
            if where is not None:
                self._restore([*heap[:where], *heap[where + 1 :]])
            raise

    def _get(self) -> T:
        heap = self.queue
        first = heap[0] if heap else None
        try:
            item: T = heappop(heap)
        except BaseException:  # raised by a comparison; the item is out of the heap already
            if first is not None or heap:
                self._restore([first, *heap])
            raise
        return item

    def _restore(self, items: list[Any]) -> None:
        """Set the items, in order as far as they can be compared."""
        self.queue[:] = items
        try:
            heapify(self.queue)
        except Exception:
            self.queue[:] = items  # the failure that led here is being raised already

    def _unget(self, item: T) -> None:
        self._put(item)


class LifoQueue(Queue[T]):
    """The newest item first, as :class:`queue.LifoQueue`."""

    def _init(self, maxsize: int | None) -> None:
        self.queue: Any = []

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
