"""Native threads for calls that cannot wait cooperatively."""

from __future__ import annotations

import concurrent.futures
import os
import sys
from collections.abc import Callable, Iterable
from contextvars import copy_context
from functools import partial
from operator import methodcaller
from typing import Any, ClassVar, ParamSpec, Self, TypeVar
from weakref import WeakSet

from hubbub._arguments import check_function, whole_number
from hubbub._at_fork import at_fork
from hubbub._config import setting
from hubbub._identity import Reduce, refuse_copies
from hubbub._mapping import Mapping
from hubbub._originals import get_ident
from hubbub._reports import Unseen
from hubbub._struck import repeatable
from hubbub._twins import known_to_c, mirrored
from hubbub._waiter import Waiter
from hubbub._waitqueue import WaitQueue
from hubbub._workers import Workers, adopt_hooks
from hubbub.event import AsyncResult, Event
from hubbub.exceptions import InvalidThreadUseError, LoopDestroyed
from hubbub.hub import Hub, get_hub, get_hub_if_exists

__all__ = ["Future", "ThreadPool", "ThreadPoolExecutor", "to_thread"]

P = ParamSpec("P")
T = TypeVar("T")
_pools: WeakSet[ThreadPool] = WeakSet()
_UNFINISHED = RuntimeError("the thread was ended before the task was finished")


_BEGUN, _KILLED, _TAKEN_BACK = "begun", "killed", "taken back"


class _Job:
    """What a thread is given to do. It may be begun, killed or taken back: the first claim counts."""

    __slots__ = ("_claims",)

    def __init__(self) -> None:
        self._claims: list[str] = []

    def claim(self, purpose: str) -> bool:
        """Whether this ``purpose`` was the first claim. For several threads; an interrupted caller may ask again."""
        self._claims.append(purpose)
        return self._claims[0] is purpose

    @property
    def claimed(self) -> bool:
        """Whether it was begun, killed or taken back."""
        return bool(self._claims)


@known_to_c
class _Task(_Job):
    """A call in a thread, whose outcome goes to a greenlet."""

    __slots__ = ("args", "function", "kwargs", "outcome", "pool", "result")

    def __init__(
        self, pool: ThreadPool, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        super().__init__()
        self.pool: ThreadPool = pool
        self.function: Callable[..., Any] = function
        self.args: tuple[Any, ...] = args
        self.kwargs: dict[str, Any] = kwargs
        self.result: AsyncResult[Any] = AsyncResult()
        self.outcome: tuple[Any, Any] | None = None
        """What the function has returned, and (type, error, traceback) if it has failed."""

    def __call__(self) -> None:
        """In the thread."""
        if not self.claim(_BEGUN):
            return
        try:
            adopt_hooks()
            self.outcome = self.function(*self.args, **self.kwargs), None
        except BaseException:
            self.outcome = None, sys.exc_info()
            del self  # the error's traceback keeps this frame

    @mirrored("workers.c")
    def deliver(self) -> None:
        """In the thread: hand the outcome over to the hub."""
        loop = self.pool.hub.loop
        if self.outcome is not None and not loop.destroyed:
            loop.ready.append(self.arrive)
            loop.wake()

    @repeatable
    def arrive(self) -> None:
        """On the hub: the task has ended. Harmless a second time."""
        if self.outcome is not None:
            self.pool._finished(self, *self.outcome)

    def abandon(self) -> bool:
        """In the thread, which ends. False: the task has not begun."""
        if self.claimed:
            self.outcome = self.outcome or (None, (RuntimeError, _UNFINISHED, None))
            self.deliver()
        return self.claimed


class ThreadPool(Mapping):
    """Up to ``maxsize`` native threads that run functions for the greenlets of one hub.

    Threads start when there is work and end after ``idle_seconds`` without. Any error of a task is raised where its
    result is asked for. The pool belongs to the thread of its hub.

    After a fork the child's pool has no threads and no tasks.

    Signal handlers and destructors may use it at any moment, also in the middle of one of its methods.

    As a context manager it ends with the block, as :meth:`join` and :meth:`kill` do; after an error by :meth:`kill`
    alone.

    :param maxsize: at least 1; may be assigned.
    :param idle_seconds: None: threads never end of themselves.
    """

    reports = True
    """Whether the failure of a task is reported by the hub's ``handle_error`` if nobody ever asks for its result."""

    def __init__(self, maxsize: int = 10, hub: Hub | None = None, idle_seconds: float | None = 5.0) -> None:
        self.hub: Hub = hub if hub is not None else get_hub()
        self._workers = Workers(self.check_maxsize(maxsize), idle_seconds)
        self._start_afresh()
        _pools.add(self)

    def _start_afresh(self) -> None:
        self._tasks: set[_Task] = set()
        self._joiners = WaitQueue()
        self._lends = False
        """Whether the greenlet that spawns a task is about to wait for it, and no other is ready. Only a hint."""

    def __repr__(self) -> str:
        threads = f"{self.size}/{self.maxsize}"
        return f"<{type(self).__name__} at {id(self):#x} threads={threads} unfinished={len(self)}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        try:
            if kind is None:
                self.join()
        finally:
            self.kill()

    def __len__(self) -> int:
        """How many tasks have not finished."""
        return len(self._tasks)

    def __bool__(self) -> bool:
        return True

    @property
    def maxsize(self) -> int:
        """How many threads there may be. A thread too many ends after its task."""
        return self._workers.maxsize

    @maxsize.setter
    def maxsize(self, value: int) -> None:
        self._workers.maxsize = self.check_maxsize(value)

    def check_maxsize(self, maxsize: int) -> int:
        """``maxsize``, if it is a number of threads that the pool may have.

        :raises TypeError: no whole number.
        :raises ValueError: it is too small.
        """
        return whole_number(maxsize, "maxsize, the number of threads,", 1)

    @property
    def size(self) -> int:
        """How many threads there are."""
        return self._workers.size

    def resize(self, size: int) -> None:
        """Have ``size`` threads now, as far as possible: start some, or end some, each after its task.

        :raises RuntimeError: no thread can be started.
        """
        self._workers.resize(size)

    @property
    def waiting(self) -> int:
        """How many tasks wait for a thread."""
        return self._workers.waiting

    @property
    def idle_seconds(self) -> float | None:
        """How long a thread waits for work before it ends."""
        return self._workers.idle_seconds

    @idle_seconds.setter
    def idle_seconds(self, value: float | None) -> None:
        self._workers.idle_seconds = value

    def spawn(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> AsyncResult[T]:
        """Run ``function(*args, **kwargs)`` in a thread, as soon as one is free. Does not wait.

        :returns: the result to come; a failure is raised by its ``get``. If the result goes away before anybody has
            asked for it, the failure is reported.
        :raises InvalidThreadUseError: called from another thread than the hub's.
        :raises RuntimeError: no thread can be started.
        """
        check_function(function)
        if self._runs_inline():
            raise InvalidThreadUseError("a thread pool can only be used from the thread of its hub")
        task = _Task(self, function, args, kwargs)
        try:
            self.hub.loop.holders.add(task)
            self._tasks.add(task)
            self._workers.submit(task, self._lends)
        except BaseException:
            if task.claim(_TAKEN_BACK):
                self._forget(task)
            raise
        return task.result

    def apply(self, func: Callable[..., T], args: Iterable[Any] | None = None, kwds: dict[str, Any] | None = None) -> T:
        """``func(*args, **kwds)`` in a thread; waits for what it returns or raises.

        In another thread than the hub's it is just called.
        """
        args, kwds = tuple(args or ()), kwds or {}
        if self._runs_inline():
            return func(*args, **kwds)
        self._lends = not self.hub.loop.ready
        try:
            task = self.spawn(func, *args, **kwds)
        finally:
            self._lends = False
        return task.get()

    def _runs_inline(self) -> bool:
        return get_ident() != self.hub.thread_ident

    def join(self) -> None:
        """Wait until every task has finished."""
        while self._tasks:
            waiter = Waiter()
            self._joiners.wait(waiter, None, self._enter_joiners)

    def _enter_joiners(self, waiter: Waiter) -> None:
        self._joiners.join(waiter)
        if not self._tasks:  # a signal handler has killed them just now
            self._joiners.wake_all()

    def kill(self) -> None:
        """End the threads. A task that runs is finished, one that waits never begins and fails with RuntimeError.

        The pool can be used again.
        """
        try:
            self._kill()
        except BaseException:
            self._kill()  # a signal handler raised in the middle; all of it may be done twice
            raise

    def _kill(self) -> None:
        killed = [task for task in list(self._tasks) if task.claim(_KILLED)]
        for task in killed:
            self._workers.withdraw(task)
        self._workers.dismiss_all()
        for task in killed:
            self._finished(task, None, self.exc_info_of_killed())

    def exc_info_of_killed(self) -> tuple[Any, Any, Any]:
        """The error of a task that a kill has prevented."""
        return (RuntimeError, RuntimeError("the thread pool was killed"), None)

    def _finished(self, task: _Task, value: Any, exc_info: Any) -> None:
        """On the hub: ``task`` has ended."""
        try:
            self._settle(task, value, exc_info)
        except BaseException:
            self._settle(task, value, exc_info)  # a signal handler raised, as in kill()
            raise

    def _settle(self, task: _Task, value: Any, exc_info: Any) -> None:
        if task not in self._tasks:
            return
        if exc_info is None:
            task.result.set(value)
        else:
            self.task_failed(task.result, task.function, exc_info)
            task.result.set_exception(exc_info[1], exc_info)
        self._forget(task)

    def task_failed(self, result: AsyncResult[Any], function: Callable[..., Any], exc_info: Any) -> None:
        """On the hub: ``function`` has failed. If no caller asks ``result`` for the error, it is reported.

        :param exc_info: (type, error, traceback).
        """
        if self.reports and exc_info[2] is not None and result.unseen is None:
            result.unseen = Unseen(self.hub, (self, function), exc_info[1])

    def _forget(self, task: _Task) -> None:
        self.hub.loop.holders.discard(task)
        self._tasks.discard(task)
        if not self._tasks:
            self._joiners.wake_all()


def _after_fork_in_child() -> None:
    for pool in list(_pools):
        pool._start_afresh()


at_fork(in_child=_after_fork_in_child)


def _pool_for_users(hub: Hub) -> ThreadPool:
    return ThreadPool(int(setting("threadpool_size", "10")), hub=hub)


def _pool_for_files(hub: Hub) -> ThreadPool:
    pool = ThreadPool(10, hub=hub)
    pool.reports = False  # a caller that gave up waiting for a file does not want to know of a failure
    return pool


Hub.threadpool.provide(_pool_for_users, end=methodcaller("kill"))
Hub.file_pool.provide(_pool_for_files, end=methodcaller("kill"))


def to_thread(function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """``function(*args, **kwargs)`` in a thread of the hub's pool, with the caller's context variables."""
    check_function(function)
    result: T = get_hub().threadpool.apply(copy_context().run, (function, *args), kwargs)
    return result


class Future(concurrent.futures.Future[T]):
    """A future that greenlets may wait for, also with :func:`hubbub.wait`. Made by :class:`ThreadPoolExecutor`."""

    def __init__(self) -> None:
        super().__init__()
        self._done = Event()
        self._hub = get_hub_if_exists()
        self._unseen: Unseen | None = None
        self._links: list[tuple[Hub, Callable[[Any], Any]]] = []
        self.add_done_callback(lambda _: self._done.set())

    def _wait(self, timeout: float | None) -> None:
        """:raises TimeoutError: it is not done in ``timeout`` seconds."""
        if self.done():
            return
        loop = get_hub().loop
        held = loop.hold()  # what ends the wait is in another thread, out of the loop's sight
        try:
            self._done.wait(timeout)
        finally:
            loop.let_go(held)
        if not self.done():
            raise TimeoutError

    def result(self, timeout: float | None = None) -> T:
        """:meth:`concurrent.futures.Future.result`."""
        self._wait(timeout)
        self._asked()
        return super().result(0)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """:meth:`concurrent.futures.Future.exception`."""
        self._wait(timeout)
        error = super().exception(0)
        self._asked()
        return error

    def failed(self, error: BaseException, function: Callable[..., Any]) -> None:
        """``function`` has failed with ``error``, which is reported if no caller asks for it."""
        self._unseen = Unseen(self._hub, function, error)
        self.set_exception(error)

    def _asked(self) -> None:
        """A caller has asked for the error."""
        if self._unseen is not None:
            self._unseen.seen()

    def ready(self) -> bool:
        """:meth:`concurrent.futures.Future.done`."""
        return self.done()

    def rawlink(self, callback: Callable[[Any], Any]) -> None:
        """Call ``callback(self)`` on this thread's hub when it is done."""
        if not callable(callback):
            raise TypeError(f"the callback must be callable, not {callback!r}")
        hub = get_hub()
        link = (hub, callback)
        self._links.append(link)
        self.add_done_callback(partial(_call_link, link, hub.loop.hold()))

    def unlink(self, callback: Callable[[Any], Any]) -> None:
        """Undo one :meth:`rawlink`, if it has not been called."""
        link = (get_hub(), callback)
        if link in self._links:
            self._links.remove(link)

    def _linked(self, link: tuple[Hub, Callable[[Any], Any]], held: int) -> None:
        link[0].loop.let_go(held)
        if link in self._links:
            self._links.remove(link)
            link[1](self)


def _call_link(link: tuple[Hub, Callable[[Any], Any]], held: int, future: Any) -> None:
    try:
        link[0].loop.run_callback_threadsafe(future._linked, link, held)
    except LoopDestroyed:
        pass  # its hub is gone


class ThreadPoolExecutor(concurrent.futures.Executor):
    """:class:`concurrent.futures.ThreadPoolExecutor` whose futures are waited for cooperatively. From any thread.

    :param max_workers: how many threads there may be; by default as many as the standard library allows.
    """

    __reduce_ex__: ClassVar[Reduce] = refuse_copies

    def __init__(self, max_workers: int | None = None) -> None:
        if max_workers is None:
            max_workers = min(32, (os.cpu_count() or 1) + 4)
        if whole_number(max_workers, "max_workers") == 0:
            raise ValueError("max_workers must be greater than 0")
        self._workers = Workers(max_workers, 5.0)
        self._futures: set[Future[Any]] = set()
        self._closed = False

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have a thread call ``fn(*args, **kwargs)``.

        :raises RuntimeError: :meth:`shutdown` was called.
        """
        check_function(fn)
        if self._closed:
            raise RuntimeError("cannot schedule new futures after shutdown")
        future: Future[T] = Future()
        call = _Call(future, fn, args, kwargs)
        try:
            self._futures.add(future)
            future.add_done_callback(self._futures.discard)
            if self._closed:  # a shutdown in another thread may have missed this one
                raise RuntimeError("cannot schedule new futures after shutdown")
            self._workers.submit(call)
        except BaseException:
            if call.claim(_TAKEN_BACK):
                future.cancel()
            raise
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls, and end the threads when those that were taken are finished.

        :param wait: wait until they are.
        :param cancel_futures: cancel what has not begun.
        """
        self._closed = True
        pending = list(self._futures)
        if cancel_futures:
            for future in pending:
                future.cancel()
        if wait:
            for future in pending:
                if not future.cancelled():
                    future.exception()
            self._workers.dismiss_all()
        else:
            self._workers.idle_seconds = 0


class _Call(_Job):
    """A call in a thread, whose outcome goes to a future."""

    __slots__ = ("_args", "_function", "_future", "_kwargs")

    def __init__(
        self, future: Future[Any], function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        super().__init__()
        self._future = future
        self._function = function
        self._args = args
        self._kwargs = kwargs

    def __call__(self) -> None:
        """In the thread."""
        future = self._future
        if not (self.claim(_BEGUN) and future.set_running_or_notify_cancel()):
            return
        try:
            adopt_hooks()
            value = self._function(*self._args, **self._kwargs)
        except BaseException as error:
            future.failed(error, self._function)
            del self, future  # the error's traceback keeps this frame
        else:
            future.set_result(value)

    def deliver(self) -> None:
        """Nothing is left to do: the call has set the future, whose callbacks may wait for other calls."""

    def abandon(self) -> bool:
        """In the thread, which ends. False: the call has not begun."""
        if self.claimed and not self._future.done():
            self._future.set_exception(_UNFINISHED)
        return self.claimed
