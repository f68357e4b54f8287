"""Applying a function to many items at once: what greenlet pools and thread pools have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, ClassVar, Generic, ParamSpec, TypeVar, overload

from hubbub._arguments import check_function
from hubbub._identity import Reduce, refuse_copies
from hubbub._struck import repeatable
from hubbub.event import Event
from hubbub.greenlet import Greenlet
from hubbub.lock import Semaphore
from hubbub.queue import SimpleQueue

__all__ = ["IMap", "IMapUnordered", "Mapping"]

P = ParamSpec("P")
T = TypeVar("T")
T1 = TypeVar("T1")
T2 = TypeVar("T2")
R = TypeVar("R")

_END: Any = object()
_MISSING: Any = object()


class IMapUnordered(Greenlet[None], Generic[R]):
    """Spawns a task for each item, and iterates over the results as they come.

    ``queue`` holds the results that were not read yet; ``finished`` tells whether all have come.

    A task's failure is raised where its result would stand; the iteration may then go on. A failure of the iterable
    ends it.

    :param maxsize: how many results may wait to be read before no more tasks are spawned; None: any number.
    """

    queue_class: ClassVar[type[SimpleQueue[Any]]] = SimpleQueue

    def __init__(
        self,
        function: Callable[..., R],
        iterable: Iterable[Any],
        spawn: Callable[..., Any],
        maxsize: int | None = None,
    ) -> None:
        super().__init__()
        if maxsize is not None and maxsize < 1:
            raise ValueError(f"maxsize must be at least 1, or None for no limit, not {maxsize!r}")
        check_function(function, "the function to map")
        self._function = function
        self._iterable = iterable
        self._spawn = spawn
        self._room = Semaphore(maxsize) if maxsize is not None else None
        self.queue: SimpleQueue[Any] = self.queue_class()
        self.finished: bool = False
        self._count = 0
        self._came = 0
        self._exhausted = False
        self._broken_by: BaseException | None = None
        self.rawlink(self._fed)

    def _run(self) -> None:
        for item in self._iterable:
            if self._room is not None:
                self._room.acquire()
            task = self._spawn(self._function, item)  # may raise; may be interrupted while it waits for a place
            index = self._count
            self._count += 1
            task.rawlink(partial(self.arrived, index))

    def handle_failure(self, error: BaseException) -> None:
        """Keep ``error`` for the reader. It is not reported to the hub."""
        self.keep_failure(error)
        self._broken_by = error

    def _fed(self, _: Any) -> None:
        self._exhausted = True
        if self._broken_by is not None:
            self._put(self._count, _Failure(self._broken_by))
            self._count += 1
            self._came += 1
        self._end_if_all_came()

    def arrived(self, index: int, task: Any) -> None:
        """Called on the hub when a task has ended."""
        self._came += 1
        self._put(index, task.value if task.successful() else _Failure(task.exception))
        self._end_if_all_came()

    def _end_if_all_came(self) -> None:
        if self._exhausted and self._came == self._count and not self.finished:
            self.finished = True
            self._put(self._count, _END)

    def __iter__(self) -> Iterator[R]:
        return self

    def __next__(self) -> R:
        result: Any = self._next_result()
        if result is _END:
            self._put(self._count, _END)
            raise StopIteration
        if self._room is not None:
            self._room.release()
        if isinstance(result, _Failure):
            raise result.error
        value: R = result
        return value

    next = __next__

    def _put(self, index: int, result: Any) -> None:
        self.queue.put_nowait(result)

    def _next_result(self) -> Any:
        return self.queue.get()


class IMap(IMapUnordered[R]):
    """:class:`IMapUnordered`, but in the order of the items. ``queue`` holds pairs of an index and a result."""

    def __init__(
        self,
        function: Callable[..., R],
        iterable: Iterable[Any],
        spawn: Callable[..., Any],
        maxsize: int | None = None,
    ) -> None:
        super().__init__(function, iterable, spawn, maxsize)
        self._early: dict[int, Any] = {}
        self._index = 0

    def _put(self, index: int, result: Any) -> None:
        self.queue.put_nowait((index, result))

    def _next_result(self) -> Any:
        while self._index not in self._early:
            index, result = self.queue.get()
            self._early[index] = result
        result = self._early.pop(self._index)
        if result is not _END:
            self._index += 1
        return result


class _Failure:
    __slots__ = ("error",)

    def __init__(self, error: BaseException) -> None:
        self.error = error


class _Collection(Greenlet[None], Generic[R]):
    """Spawns a task for each item, and keeps the results in the order of the items, for :meth:`Mapping.map`.

    That waits once, where the reader of an :class:`IMap` takes each result from a queue.
    """

    def __init__(self, function: Callable[..., R], iterable: Iterable[Any], spawn: Callable[..., Any]) -> None:
        super().__init__()
        check_function(function, "the function to map")
        self._function = function
        self._iterable = iterable
        self._spawn = spawn
        self._results: list[Any] = []
        self._came = 0  # how many results have come, before the first failure at most
        self._is_fed = False
        self._left = 1  # tasks that have not ended, and this greenlet
        self._first = -1  # the place of the first failure, if there is one
        self._failure: BaseException | None = None
        self._decided = Event()
        self.rawlink(self._fed)

    def _run(self) -> None:
        spawn, function, results, arrived = self._spawn, self._function, self._results, self._arrived
        for item in self._iterable:
            task = spawn(function, item)  # may raise; may be interrupted while it waits for a place
            self._left += 1
            task.rawlink(partial(arrived, len(results)))
            results.append(_MISSING)

    def handle_failure(self, error: BaseException) -> None:
        """Keep ``error`` for the caller. It is not reported to the hub."""
        self.keep_failure(error)
        self._results.append(None)
        self._note(len(self._results) - 1, error)

    @repeatable
    def _arrived(self, index: int, task: Any) -> None:
        """Called on the hub when a task has ended."""
        failure = None if task.successful() else task.exception
        if self._results[index] is _MISSING:  # no call in here
            self._results[index] = task.value if failure is None else None
            self._left -= 1
        if failure is not None:
            self._note(index, failure)
        if not self._left or self._failure is not None:
            self._decide()

    @repeatable
    def _fed(self, _: Any) -> None:
        if not self._is_fed:
            self._is_fed = True
            self._left -= 1
        if not self._left or self._failure is not None:
            self._decide()

    def _note(self, index: int, error: BaseException) -> None:
        if self._failure is None or index < self._first:
            self._first = index
            self._failure = error

    def _decide(self) -> None:
        """The results are known when no task is left; a failure is the first when all results before it have come."""
        if self._failure is not None:
            results = self._results
            while self._came < self._first and results[self._came] is not _MISSING:
                self._came += 1
            if self._came < self._first:
                return
        self._decided.set()

    def outcome(self) -> list[R]:
        """Wait for the results, or raise the first failure. Who is interrupted wants no more tasks."""
        try:
            self._decided.wait()
        except BaseException:
            self.kill(block=False)
            raise
        if self._failure is None:
            return self._results
        failure, self._failure = self._failure, None
        try:
            raise failure
        finally:
            del failure  # its traceback holds this frame


class _OnValue:
    """A link that passes a successful result to a callback."""

    __slots__ = ("callback",)

    def __init__(self, callback: Callable[[Any], Any]) -> None:
        self.callback = callback

    def __call__(self, task: Any) -> None:
        if task.successful():
            Greenlet.spawn(self.callback, task.value)


class Mapping:
    """``apply``, ``map`` and their kin, over ``spawn``; named as in :class:`multiprocessing.pool.Pool`."""

    __reduce_ex__: ClassVar[Reduce] = refuse_copies

    def spawn(self, function: Callable[P, Any], /, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Start ``function(*args, **kwargs)``; returns an object with ``get`` and ``rawlink``."""
        raise NotImplementedError(f"{type(self).__name__} must say how it starts a task")

    def _runs_inline(self) -> bool:
        """Whether ``apply`` should call the function itself, because waiting for a place could never end."""
        return False

    def _would_wait(self) -> bool:
        """Whether ``spawn`` would wait now."""
        return False

    def apply(self, func: Callable[..., R], args: Iterable[Any] | None = None, kwds: dict[str, Any] | None = None) -> R:
        """Run ``func(*args, **kwds)`` as a task and wait for it; returns or raises what it does."""
        args, kwds = tuple(args or ()), kwds or {}
        if self._runs_inline():
            return func(*args, **kwds)
        result: R = self.spawn(func, *args, **kwds).get()
        return result

    def apply_cb(
        self,
        func: Callable[..., R],
        args: Iterable[Any] | None = None,
        kwds: dict[str, Any] | None = None,
        callback: Callable[[R], Any] | None = None,
    ) -> R:
        """:meth:`apply`, then ``callback(result)`` in a greenlet."""
        result = self.apply(func, args, kwds)
        if callback is not None:
            Greenlet.spawn(callback, result)
        return result

    def apply_async(
        self,
        func: Callable[..., R],
        args: Iterable[Any] | None = None,
        kwds: dict[str, Any] | None = None,
        callback: Callable[[R], Any] | None = None,
    ) -> Any:
        """:meth:`apply` without waiting; returns an object with ``get``."""
        if self._would_wait():
            return Greenlet.spawn(self.apply_cb, func, args, kwds, callback)
        task = self.spawn(func, *tuple(args or ()), **(kwds or {}))
        if callback is not None:
            task.rawlink(_OnValue(callback))
        return task

    def map(self, func: Callable[[T], R], iterable: Iterable[T]) -> list[R]:
        """Call ``func`` for all items at the same time; the results are in order. Raises the first failure.

        If the wait is interrupted, no more tasks are spawned; those that run go on.
        """
        if type(self).imap is not Mapping.imap:  # a subclass has iterators of its own
            return list(self.imap(func, iterable))
        _check_items(iterable)
        tasks = _Collection(func, iterable, self.spawn)
        tasks.start()
        return tasks.outcome()

    def map_cb(
        self, func: Callable[[T], R], iterable: Iterable[T], callback: Callable[[list[R]], Any] | None = None
    ) -> list[R]:
        """:meth:`map`, then ``callback(results)``."""
        results = self.map(func, iterable)
        if callback is not None:
            callback(results)
        return results

    def map_async(
        self, func: Callable[[T], R], iterable: Iterable[T], callback: Callable[[list[R]], Any] | None = None
    ) -> Greenlet[list[R]]:
        """:meth:`map` without waiting: a greenlet whose value is the list."""
        return Greenlet.spawn(self.map_cb, func, iterable, callback)

    @overload
    def imap(self, func: Callable[[T], R], items: Iterable[T], /, *, maxsize: int | None = None) -> IMap[R]: ...

    @overload
    def imap(
        self, func: Callable[[T1, T2], R], items: Iterable[T1], others: Iterable[T2], /, *, maxsize: int | None = None
    ) -> IMap[R]: ...

    @overload
    def imap(
        self,
        func: Callable[..., R],
        items: Iterable[Any],
        others: Iterable[Any],
        third: Iterable[Any],
        /,
        *iterables: Iterable[Any],
        maxsize: int | None = None,
    ) -> IMap[R]: ...

    def imap(self, func: Callable[..., Any], *iterables: Iterable[Any], maxsize: int | None = None) -> IMap[Any]:
        """Iterate over ``func`` of the items, in order, computed ahead as the pool allows.

        :param maxsize: how many results may wait to be read; None: any number.
        """
        results = IMap(func, *self._items(iterables), maxsize)
        results.start()
        return results

    @overload
    def imap_unordered(
        self, func: Callable[[T], R], items: Iterable[T], /, *, maxsize: int | None = None
    ) -> IMapUnordered[R]: ...

    @overload
    def imap_unordered(
        self, func: Callable[[T1, T2], R], items: Iterable[T1], others: Iterable[T2], /, *, maxsize: int | None = None
    ) -> IMapUnordered[R]: ...

    @overload
    def imap_unordered(
        self,
        func: Callable[..., R],
        items: Iterable[Any],
        others: Iterable[Any],
        third: Iterable[Any],
        /,
        *iterables: Iterable[Any],
        maxsize: int | None = None,
    ) -> IMapUnordered[R]: ...

    def imap_unordered(
        self, func: Callable[..., Any], *iterables: Iterable[Any], maxsize: int | None = None
    ) -> IMapUnordered[Any]:
        """:meth:`imap` in the order in which the results come."""
        results = IMapUnordered(func, *self._items(iterables), maxsize)
        results.start()
        return results

    def _items(self, iterables: tuple[Iterable[Any], ...]) -> tuple[Iterable[Any], Callable[..., Any]]:
        if not iterables:
            raise TypeError("at least one iterable is needed")
        for items in iterables:
            _check_items(items)
        return zip(*iterables, strict=False), self._spawn_unpacked

    def _spawn_unpacked(self, function: Callable[..., Any], items: tuple[Any, ...]) -> Any:
        return self.spawn(function, *items)


def _check_items(items: Any) -> None:
    if not (isinstance(items, Iterable) or hasattr(items, "__getitem__")):
        raise TypeError(f"an iterable of arguments is needed, not {items!r}")
