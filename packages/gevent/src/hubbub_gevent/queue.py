"""gevent.queue on hubbub: waits also take a Timeout object as their limit."""

from __future__ import annotations

from operator import index
from types import GenericAlias
from typing import Any

from greenlet import getcurrent
from hubbub import queue as _queue
from hubbub.hub import get_hub, sleep
from hubbub.queue import Empty, Full, ShutDown
from hubbub.timeout import Timeout

from hubbub_gevent._conditions import Conditions

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

__implements__: list[str] = ["Queue", "PriorityQueue", "LifoQueue", "SimpleQueue"]
__extensions__: list[str] = ["JoinableQueue", "Channel", "ShutDown"]
__imports__: list[str] = ["Empty", "Full"]


class _Limits:
    """Timeouts as a number of seconds or a Timeout object, and the sizes that gevent accepts."""

    _conditions: Conditions | None = None

    def __class_getitem__(cls, item: Any) -> GenericAlias:
        return GenericAlias(cls, item)

    @property
    def hub(self) -> Any:
        """The hub of this thread."""
        return get_hub()

    def get(self, block: bool = True, timeout: Any = None) -> Any:
        """Remove and return the next item."""
        if isinstance(timeout, Timeout):
            with timeout:
                item = super().get(block)  # type: ignore[misc]  # a mix-in for hubbub's queues
        else:
            item = super().get(block, timeout)  # type: ignore[misc]  # see above
        if self._conditions is not None:
            self._conditions.changed(self)
        return item

    def put(self, item: Any, block: bool = True, timeout: Any = None) -> None:
        """Add an item."""
        if isinstance(timeout, Timeout):
            with timeout:
                super().put(item, block)  # type: ignore[misc]  # see above
        else:
            super().put(item, block, timeout)  # type: ignore[misc]  # see above
        if self._conditions is not None:
            self._conditions.changed(self)

    def peek(self, block: bool = True, timeout: Any = None) -> Any:
        """The next item, without removing it."""
        if isinstance(timeout, Timeout):
            with timeout:
                return super().peek(block)  # type: ignore[misc]  # see above
        return super().peek(block, timeout)  # type: ignore[misc]  # see above


def _limit(maxsize: Any) -> Any:
    """The limit for a size; below 0 there is none, as in the standard library.

    :raises TypeError: ``maxsize`` is not a whole number.
    """
    return maxsize if maxsize is None or index(maxsize) > 0 else None


class SimpleQueue(_Limits, _queue.SimpleQueue[Any]):
    """:class:`hubbub.queue.SimpleQueue`."""

    def __init__(self, maxsize: int | None = None, items: Any = ()) -> None:
        super().__init__(_limit(maxsize), items)

    @property
    def maxsize(self) -> int | None:
        """How many items fit; None: any number. May be assigned."""
        return super().maxsize

    @maxsize.setter
    def maxsize(self, value: int | None) -> None:
        _set_maxsize(self, _limit(value))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} at {id(self):#x}{self._state()}>"

    def __str__(self) -> str:
        return f"<{type(self).__name__}{self._state()}>"

    def _state(self) -> str:
        limit = f" maxsize={self.maxsize}" if self.maxsize is not None else ""
        items = f" queue={self.queue!r}" if self.queue else ""
        getters = f" getters[{self.getters}]" if self.getters else ""
        putters = f" putters[{self.putters}]" if self.putters else ""
        return f"{limit}{items}{getters}{putters}"


_set_maxsize = _queue.SimpleQueue.maxsize.fset  # type: ignore[attr-defined]  # a property


class Queue(SimpleQueue, _queue.Queue[Any]):
    """:class:`hubbub.queue.Queue`, with the mutex and the conditions of :class:`queue.Queue`."""

    def __init__(self, maxsize: int | None = None, items: Any = (), unfinished_tasks: int | None = None) -> None:
        _queue.Queue.__init__(self, _limit(maxsize), items, unfinished_tasks)

    def _state(self) -> str:
        tasks = self.unfinished_tasks
        return super()._state() + (f" tasks={tasks}" if tasks else "")

    def task_done(self) -> None:
        """Note that one item that was taken is dealt with."""
        super().task_done()
        if self._conditions is not None:
            self._conditions.changed(self)

    def _conditions_made(self) -> Conditions:
        if self._conditions is None:
            self._conditions = Conditions(self)
        return self._conditions

    @property
    def mutex(self) -> Any:
        """A lock for callers that change the queue's contents themselves. The queue's own methods do not need it."""
        return self._conditions_made().mutex

    @property
    def not_empty(self) -> Any:
        """Notified when there is an item."""
        return self._conditions_made().not_empty

    @property
    def not_full(self) -> Any:
        """Notified when there is room."""
        return self._conditions_made().not_full

    @property
    def all_tasks_done(self) -> Any:
        """Notified when no task is unfinished."""
        return self._conditions_made().all_tasks_done


class PriorityQueue(Queue, _queue.PriorityQueue[Any]):
    """:class:`hubbub.queue.PriorityQueue`."""

    def __init__(self, maxsize: int | None = None, items: Any = (), unfinished_tasks: int | None = None) -> None:
        _queue.PriorityQueue.__init__(self, _limit(maxsize), items, unfinished_tasks)


class LifoQueue(Queue, _queue.LifoQueue[Any]):
    """:class:`hubbub.queue.LifoQueue`."""


class Channel(_Limits, _queue.Channel[Any]):
    """:class:`hubbub.queue.Channel` whose ``put`` lets the getter run before it returns; always both empty and full."""

    def put(self, item: Any, block: bool = True, timeout: Any = None) -> None:
        """Hand an item over."""
        taken = not super().full()
        super().put(item, block, timeout)
        if taken and block and getcurrent() is not get_hub().runner:
            sleep(0)

    def next(self) -> Any:
        """The next item."""
        return next(self)

    def full(self) -> bool:
        """Always true."""
        return True

    def empty(self) -> bool:
        """Always true."""
        return True


class UnboundQueue(Queue):
    """A queue without limit."""

    def __init__(self, maxsize: int | None = None, items: Any = ()) -> None:
        if maxsize is not None:
            raise ValueError("UnboundQueue has no maxsize")
        super().__init__(maxsize, items)


JoinableQueue = Queue
