"""gevent._imap on hubbub: iterators over results, which are gevent's greenlets."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from hubbub import pool as _pool

from hubbub_gevent.greenlet import Greenlet as Greenlet
from hubbub_gevent.queue import UnboundQueue

__all__ = ["IMap", "IMapUnordered"]


class _Values(UnboundQueue):
    """Results without their place."""

    def _put(self, item: Any) -> None:
        super()._put(item[1])


class IMapUnordered(_pool.IMapUnordered[Any], Greenlet):
    """:class:`hubbub.pool.IMapUnordered` whose ``queue`` holds the results that nobody has read."""

    _queue_class: Any = _Values
    queue: Any = None
    finished = False
    """Whether all results have come."""

    def __init__(
        self, func: Callable[..., Any], iterable: Iterable[Any], spawn: Callable[..., Any], maxsize: int | None = None
    ) -> None:
        super().__init__(func, iterable, spawn, maxsize)
        self.queue = self._results = self._queue_class()

    def _end_if_all_came(self) -> None:
        super()._end_if_all_came()
        self.finished = self._ended

    def _next_result(self) -> Any:
        return self.queue.get()


class IMap(_pool.IMap[Any], IMapUnordered):
    """:class:`hubbub.pool.IMap`; its ``queue`` holds pairs of a place and a result."""

    _queue_class: Any = UnboundQueue

    def __init__(
        self, func: Callable[..., Any], iterable: Iterable[Any], spawn: Callable[..., Any], maxsize: int | None = None
    ) -> None:
        super().__init__(func, iterable, spawn, maxsize)
