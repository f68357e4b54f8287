"""A queue that stores no items: each ``put`` hands its item over to a ``get``."""

from __future__ import annotations

from queue import Empty, Full
from typing import Any, TypeVar

from hubbub._simplequeue import NOTHING, Failure, SimpleQueue
from hubbub._waiter import Waiter

__all__ = ["Channel"]

T = TypeVar("T")


class Channel(SimpleQueue[T]):
    """A queue that stores no items: ``put`` waits until a ``get`` has taken the item."""

    __module__ = "hubbub.queue"  # where users find it

    def __init__(self, maxsize: int = 1) -> None:
        """:param maxsize: only 1; it is there because other queues have it."""
        if maxsize != 1:
            raise ValueError("a channel holds no items: maxsize can only be 1")
        super().__init__()

    @property
    def balance(self) -> int:
        """The number of waiting putters, less the number of waiting getters."""
        return len(self._putters) - len(self._getters)

    def full(self) -> bool:
        """Whether no getter waits, so that ``put`` would wait."""
        return not self._getters

    def empty(self) -> bool:
        """Whether no item is to be had, so that ``get`` would wait."""
        return not (self._putters or self.queue)

    def ready(self) -> bool:
        """Whether ``get`` would not wait."""
        return bool(self._putters or self.queue or self._shut_down)

    def put(self, item: T, block: bool = True, timeout: float | None = None) -> None:
        """Hand an item over.

        :raises Full: no getter took it in ``timeout`` seconds, or ``block`` is false and no getter waits now.
        """
        with self._mutex:
            self._check_open()
            if self._getters.wake_one(item):
                return
            self._check_wait(block, timeout, Full)
        waiter = Waiter()
        waiter.value = item
        if not self._putters.wait(waiter, timeout, self._enter_putters, None, self._mutex):
            raise Full
        if isinstance(waiter.value, Failure):
            raise waiter.value.error

    def _enter_putters(self, waiter: Waiter) -> None:
        with self._mutex:
            self._check_open()
            if self._getters.wake_one(waiter.value):
                waiter.value = None
                waiter.done = True
                return
            self._putters.join(waiter)
        if self._links is not None:
            self._links.fire()

    def get(self, block: bool = True, timeout: float | None = None) -> T:
        """Take an item.

        :raises Empty: no putter gave one in ``timeout`` seconds, or ``block`` is false and no putter waits now.
        """
        with self._mutex:
            found = self._take()
            if found is not NOTHING:
                item: T = found
                return item
            self._check_open()
            self._check_wait(block, timeout, Empty)
        waiter = Waiter()
        if not self._getters.wait(waiter, timeout, self._enter_getters, self._give_back, self._mutex):
            raise Empty
        return self._received(waiter)

    def _take(self) -> Any:
        if self.queue:  # an item whose getter was killed
            return self._get()
        while self._putters:
            putter = self._putters.popleft()
            item = putter.value
            if putter.wake():
                return item
        return NOTHING

    def _settle(self) -> None:
        """Does nothing: putters and getters are brought together as they come."""

    def _give_back(self, item: Any) -> None:
        """Pass ``item`` on to the next getter; if none waits, keep it for the next ``get``."""
        with self._mutex:
            if not isinstance(item, Failure) and not self._getters.wake_one(item):
                self.queue.append(item)

    def qsize(self) -> int:
        """Always 0, but for an item whose getter was killed."""
        return self._qsize()
