"""gevent.queue on hubbub: waits also take a Timeout object as their limit."""

from __future__ import annotations

from types import GenericAlias
from typing import Any

from greenlet import getcurrent
from hubbub import queue as _queue
from hubbub.hub import get_hub, sleep
from hubbub.queue import Empty, Full, ShutDown
from hubbub.timeout import Timeout

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
    "UnboundQueue",
]

__implements__ = ["Queue", "PriorityQueue", "LifoQueue", "SimpleQueue"]
__extensions__ = ["JoinableQueue", "Channel", "ShutDown"]
__imports__ = ["Empty", "Full"]


class _Limits:
    """Waits that take a number of seconds or a Timeout."""

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
                return super().get(block)  # type: ignore[misc]  # a mix-in for hubbub's queues
        return super().get(block, timeout)  # type: ignore[misc]  # see above

    def put(self, item: Any, block: bool = True, timeout: Any = None) -> None:
        """Add an item."""
        if isinstance(timeout, Timeout):
            with timeout:
                super().put(item, block)  # type: ignore[misc]  # see above
        else:
            super().put(item, block, timeout)  # type: ignore[misc]  # see above

    def peek(self, block: bool = True, timeout: Any = None) -> Any:
        """The next item, without removing it."""
        if isinstance(timeout, Timeout):
            with timeout:
                return super().peek(block)  # type: ignore[misc]  # see above
        return super().peek(block, timeout)  # type: ignore[misc]  # see above


class SimpleQueue(_Limits, _queue.SimpleQueue[Any]):
    """:class:`hubbub.queue.SimpleQueue`."""


class Queue(_Limits, _queue.Queue[Any]):
    """:class:`hubbub.queue.Queue`."""


class PriorityQueue(_Limits, _queue.PriorityQueue[Any]):
    """:class:`hubbub.queue.PriorityQueue`."""


class LifoQueue(_Limits, _queue.LifoQueue[Any]):
    """:class:`hubbub.queue.LifoQueue`."""


class Channel(_Limits, _queue.Channel[Any]):
    """:class:`hubbub.queue.Channel` that lets the getter run before ``put`` returns; always both empty and full."""

    def put(self, item: Any, block: bool = True, timeout: Any = None) -> None:
        """Hand an item over."""
        taken = not super().full()
        super().put(item, block, timeout)
        if taken and block and getcurrent() is not get_hub():
            sleep(0)

    @property
    def getters(self) -> Any:
        """Those who wait for an item."""
        return self._getters

    @property
    def putters(self) -> Any:
        """Those who wait for a getter."""
        return self._putters

    def full(self) -> bool:
        """Always."""
        return True

    def empty(self) -> bool:
        """Always."""
        return True


class UnboundQueue(Queue):
    """A queue without limit."""

    def __init__(self, maxsize: int | None = None, items: Any = ()) -> None:
        if maxsize is not None:
            raise ValueError("UnboundQueue has no maxsize")
        super().__init__(maxsize, items)


JoinableQueue = Queue
