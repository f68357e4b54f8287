"""gevent.threadpool on hubbub."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor as _StandardExecutor
from functools import partial
from typing import Any

from greenlet import GreenletExit
from hubbub import threadpool as _threadpool
from hubbub.lowlevel import native_local

from hubbub_gevent.event import AsyncResult
from hubbub_gevent.hub import get_hub, get_hub_if_exists
from hubbub_gevent.pool import GroupMappingMixin

__all__ = [
    "ThreadPool",
    "ThreadPoolExecutor",
    "ThreadResult",
]


class ThreadPool(GroupMappingMixin, _threadpool.ThreadPool):
    """:class:`hubbub.threadpool.ThreadPool` with gevent's parameters; it may have no thread at all.

    An error of a task is raised where its result is asked for, and goes to ``hub.handle_error`` too. A pool without
    tasks is false.
    """

    hub: Any = None
    manager: Any = None
    """In gevent a greenlet that starts threads; not needed here."""
    fork_watcher: Any = None
    """In gevent a watcher that ends the threads in a child process; not needed here."""
    pid: Any = None

    def __init__(self, maxsize: int, hub: Any = None, idle_task_timeout: float | None = -1) -> None:
        seconds = None if idle_task_timeout is None or idle_task_timeout < 0 else idle_task_timeout
        super().__init__(maxsize, hub, seconds)
        self.pid = os.getpid()

    def check_maxsize(self, maxsize: int) -> int:
        """:raises TypeError: ``maxsize`` is not a whole number.
        :raises ValueError: it is negative.
        """
        if not isinstance(maxsize, int):
            raise TypeError(f"maxsize must be integer: {maxsize!r}")
        if maxsize < 0:
            raise ValueError(f"maxsize must not be negative: {maxsize!r}")
        return maxsize

    @property
    def size(self) -> int:
        """How many threads there are. Assigning starts new ones, or ends some, each after its task.

        :raises ValueError: the size is negative, or more than ``maxsize``.
        """
        return super().size

    @size.setter
    def size(self, size: int) -> None:
        if size < 0:
            raise ValueError(f"Size of the pool cannot be negative: {size!r}")
        if size > self.maxsize:
            raise ValueError(f"Size of the pool cannot be bigger than maxsize: {size!r} > {self.maxsize!r}")
        self.resize(size)

    @property
    def task_queue(self) -> Any:
        """A sequence as long as there are tasks that no thread has taken."""
        return range(self.waiting)

    def spawn(  # type: ignore[override]  # gevent has another name for it
        self, func: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Any:
        """Run ``func(*args, **kwargs)`` in a thread, as soon as one is free. Does not wait."""
        result = super().spawn(func, *args, **kwargs)
        result.__class__ = AsyncResult  # it was made with hubbub's class
        return result

    def apply_async(
        self, func: Any, args: Any = None, kwds: Any = None, callback: Callable[[Any], Any] | None = None
    ) -> Any:
        """Run ``func`` in a thread without waiting; ``callback(value)`` is called in the hub."""
        task = super().apply_async(func, args, kwds)
        if callback is not None:
            task.rawlink(lambda source: callback(source.value) if source.successful() else None)
        return task

    def __bool__(self) -> bool:
        return len(self) > 0

    def task_failed(self, result: Any, function: Callable[..., Any], exc_info: Any) -> None:
        """Report the failure of a task at once, unless the task was killed."""
        if not issubclass(exc_info[0], GreenletExit):
            self.hub.handle_error((self, function), *exc_info)

    def exc_info_of_killed(self) -> tuple[Any, Any, Any]:
        """The error for a caller that waits for a task that was killed before it began."""
        return (GreenletExit, GreenletExit(), None)

    def adjust(self) -> None:
        """Nothing: threads come and go by themselves."""


class ThreadPoolExecutor(_threadpool.ThreadPoolExecutor, _StandardExecutor):
    """:class:`hubbub.threadpool.ThreadPoolExecutor`, with gevent's ``kill``.

    An error of a call is raised where its future is asked, and goes to ``hub.handle_error`` too. The loop of the thread
    that submits a call goes on until the call is finished.

    :param max_workers: how many threads there may be.
    :param thread_name_prefix: without effect.
    :param initializer: called with ``initargs`` in each thread before its first call.
    """

    def __init__(
        self,
        max_workers: int | None = None,
        thread_name_prefix: str = "",
        initializer: Callable[..., Any] | None = None,
        initargs: tuple[Any, ...] = (),
    ) -> None:
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        super().__init__(max_workers)
        self._hub = get_hub()
        self._prepare = None if initializer is None else _Once(initializer, initargs)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Have a thread call ``fn(*args, **kwargs)``.

        :raises RuntimeError: the executor was shut down.
        """
        call = fn if self._prepare is None else partial(self._prepare, fn)
        future = super().submit(call, *args, **kwargs)
        report = partial(self._report, fn)
        if get_hub_if_exists() is not None:
            future.rawlink(report)
        else:
            future.add_done_callback(partial(self._hub.loop.run_callback_threadsafe, report))
        return future

    def _report(self, fn: Callable[..., Any], future: Any) -> None:
        """Called in the hub when a call is finished."""
        error = None if future.cancelled() else future.exception()
        if error is not None:
            get_hub().handle_error((self, fn), type(error), error, error.__traceback__)

    def kill(self, wait: bool = True, **kwargs: Any) -> None:
        """The same as :meth:`shutdown`."""
        self.shutdown(wait=wait, **kwargs)


class _Once:
    """Calls an initializer once in each thread, before the first call there."""

    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self._function = function
        self._args = args
        self._threads = native_local()

    def __call__(self, then: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        if not hasattr(self._threads, "done"):
            self._function(*self._args)
            self._threads.done = True
        return then(*args, **kwargs)


class ThreadResult:
    """The outcome of one task, which a thread hands to a hub.

    :param receiver: called in the hub with this object, once.
    :param call_when_ready: called in the thread when there is an outcome.
    """

    receiver: Any = None
    hub: Any = None
    context: Any = None
    value: Any = None
    exc_info: Any = ()
    async_watcher: Any = None
    """In gevent a watcher that brings the outcome; not needed here."""

    def __init__(self, receiver: Any, hub: Any, call_when_ready: Any) -> None:
        self.receiver = receiver
        self.hub = hub
        self._call_when_ready = call_when_ready

    @property
    def exception(self) -> Any:
        """The error, or None."""
        return self.exc_info[1] if self.exc_info else None

    def successful(self) -> bool:
        """Whether there is no error."""
        return self.exception is None

    def set(self, value: Any) -> None:
        """Called in the thread: the task has returned ``value``."""
        self.value = value
        self._deliver()

    def handle_error(self, context: Any, exc_info: Any) -> None:
        """Called in the thread: the task has failed."""
        self.context = context
        self.exc_info = exc_info
        self._deliver()

    def _deliver(self) -> None:
        hub, self.hub = self.hub, None
        if hub is not None:
            self._call_when_ready()
            hub.loop.run_callback_threadsafe(self._received, hub)

    def _received(self, hub: Any) -> None:
        if self.exc_info:
            hub.handle_error(self.context, *self.exc_info)
        receiver, self.receiver = self.receiver, None
        if receiver is not None:
            receiver(self)

    def destroy_in_main_thread(self) -> None:
        """Drop the receiver: it will not be called any more."""
        self.receiver = self.hub = None
