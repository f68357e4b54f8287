"""A queue without a place for items: whoever puts and whoever gets meet."""

from __future__ import annotations

from queue import Empty, Full
from typing import Any, TypeVar

from hubbub._simplequeue import NOTHING, Failure, SimpleQueue
from hubbub._waiter import Waiter

__all__ = ["Channel"]

T = TypeVar("T")


class Channel(SimpleQueue[T]):
    """A meeting place: ``put`` waits until somebody has got the item."""

    __module__ = "hubbub.queue"  # where users find it

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

        :raises Empty: nobody gave one in ``timeout`` seconds, or is there now and ``block`` is false.
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
        if self.queue:  # its getter was killed
            return self._get()
        while self._putters:
            putter = self._putters.popleft()
            item = putter.value
            if putter.wake():
                return item
        return NOTHING

    def _settle(self) -> None:
        """Nothing comes together here: put and get meet of themselves."""

    def _give_back(self, item: Any) -> None:
        """The next one that waits gets it; if there is none it waits in front."""
        with self._mutex:
            if not isinstance(item, Failure) and not self._getters.wake_one(item):
                self.queue.append(item)

    def qsize(self) -> int:
        """Always 0, but for an item whose getter was killed."""
        return self._qsize()
