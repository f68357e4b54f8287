"""Native threads for what cannot wait cooperatively."""

from __future__ import annotations

import sys
import threading
from _thread import get_ident
from collections import deque
from collections.abc import Callable
from contextvars import copy_context
from typing import Any, TypeVar

from hubbub._waiter import Waiter
from hubbub.event import AsyncResult
from hubbub.exceptions import InvalidThreadUseError
from hubbub.hub import Hub, get_hub

__all__ = ["ThreadPool", "to_thread"]

T = TypeVar("T")
_Lock = threading.Lock
_Condition = threading.Condition
_Thread = threading.Thread


class _Task:
    __slots__ = ("args", "function", "kwargs", "result")

    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.function = function
        self.args = args
        self.kwargs = kwargs
        self.result: AsyncResult[Any] = AsyncResult()


class ThreadPool:
    """Up to ``maxsize`` native threads that run functions for the greenlets of one hub.

    Threads start when there is work and end after ``idle_seconds`` without. Belongs to the thread of its hub.
    """

    def __init__(self, maxsize: int = 10, hub: Hub | None = None, idle_seconds: float = 5.0) -> None:
        if maxsize < 1:
            raise ValueError(f"a pool needs at least 1 thread, not {maxsize!r}")
        self.hub = hub if hub is not None else get_hub()
        self.maxsize = maxsize
        self.idle_seconds = idle_seconds
        self._start_afresh()

    def _start_afresh(self) -> None:
        self._tasks: deque[_Task] = deque()
        self._changed = _Condition(_Lock())
        self._threads: set[threading.Thread] = set()
        self._idle = 0
        self._unfinished = 0
        self._killed = False
        self._joiners: list[Waiter] = []

    def __repr__(self) -> str:
        return f"<{type(self).__name__} threads={len(self._threads)}/{self.maxsize} unfinished={self._unfinished}>"

    def __len__(self) -> int:
        """How many tasks have not finished."""
        return self._unfinished

    def __bool__(self) -> bool:
        return True

    @property
    def size(self) -> int:
        """How many threads there are."""
        return len(self._threads)

    def spawn(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> AsyncResult[Any]:
        """Run ``function(*args, **kwargs)`` in a thread.

        :returns: the result to come; a failure is raised by its ``get``.
        :raises InvalidThreadUseError: called from another thread than the hub's.
        """
        if not callable(function):
            raise TypeError(f"function must be callable, not {function!r}")
        if get_ident() != self.hub.thread_ident:
            raise InvalidThreadUseError("a thread pool can only be used from the thread of its hub")
        task = _Task(function, args, kwargs)
        self.hub.loop.refs += 1
        self._unfinished += 1
        with self._changed:
            self._tasks.append(task)
            if self._idle:
                self._changed.notify()
            elif len(self._threads) < self.maxsize:
                self._add_thread()
        return task.result

    def apply(self, function: Callable[..., T], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> T:
        """Run a function in a thread and wait for what it returns or raises."""
        result: T = self.spawn(function, *args, **(kwargs or {})).get()
        return result

    def join(self) -> None:
        """Wait until every task has finished."""
        while self._unfinished:
            waiter = Waiter()
            self._joiners.append(waiter)
            waiter.wait()

    def kill(self) -> None:
        """End the threads. A task that runs is finished, one that waits never begins."""
        with self._changed:
            self._killed = True
            abandoned = list(self._tasks)
            self._tasks.clear()
            self._changed.notify_all()
        for task in abandoned:
            self._finished(task, None, (RuntimeError, RuntimeError("the thread pool was killed"), None))

    def reinit(self) -> None:
        """In the child after a fork: the threads are gone, the tasks of the parent too."""
        self._start_afresh()

    def _add_thread(self) -> None:
        thread = _Thread(target=self._work, name=f"hubbub-pool-{len(self._threads)}", daemon=True)
        self._threads.add(thread)
        try:
            thread.start()
        except BaseException:
            self._threads.discard(thread)
            if not self._threads:
                raise

    def _work(self) -> None:
        thread = threading.current_thread()
        while (task := self._next_task(thread)) is not None:
            value, exc_info = None, None
            try:
                value = task.function(*task.args, **task.kwargs)
            except BaseException:
                exc_info = sys.exc_info()
            loop = self.hub.loop
            if not loop.destroyed:
                loop.run_callback_threadsafe(self._finished, task, value, exc_info)
            del task, value, exc_info

    def _next_task(self, thread: threading.Thread) -> _Task | None:
        with self._changed:
            while not self._tasks and not self._killed and len(self._threads) <= self.maxsize:
                self._idle += 1
                notified = self._changed.wait(self.idle_seconds)
                self._idle -= 1
                if not notified and not self._tasks:
                    break
            if self._tasks and not self._killed:
                return self._tasks.popleft()
            self._threads.discard(thread)
            return None

    def _finished(self, task: _Task, value: Any, exc_info: Any) -> None:
        self.hub.loop.refs -= 1
        self._unfinished -= 1
        if exc_info is None:
            task.result.set(value)
        else:
            task.result.set_exception(exc_info[1], exc_info)
        if not self._unfinished:
            joiners, self._joiners = self._joiners, []
            for waiter in joiners:
                waiter.wake()


def to_thread(function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """``function(*args, **kwargs)`` in a thread of the hub's pool, with the caller's context variables."""
    result: T = get_hub().threadpool.apply(copy_context().run, (function, *args), kwargs)
    return result
