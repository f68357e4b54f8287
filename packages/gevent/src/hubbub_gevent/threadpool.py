"""gevent.threadpool on hubbub."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from greenlet import GreenletExit
from hubbub import threadpool as _threadpool
from hubbub.event import AsyncResult

from hubbub_gevent.hub import get_hub

__all__ = ["ThreadPool", "ThreadPoolExecutor", "ThreadResult", "get_hub"]


class ThreadPool(_threadpool.ThreadPool):
    """:class:`hubbub.threadpool.ThreadPool` with gevent's parameters; it may have no thread at all."""

    def __init__(self, maxsize: int, hub: Any = None, idle_task_timeout: float | None = -1) -> None:
        seconds = None if idle_task_timeout is None or idle_task_timeout < 0 else idle_task_timeout
        super().__init__(maxsize, hub, seconds)
        self.pid = os.getpid()

    def _checked(self, maxsize: int) -> int:
        if not isinstance(maxsize, int):
            raise TypeError(f"maxsize must be integer: {maxsize!r}")
        if maxsize < 0:
            raise ValueError(f"maxsize must not be negative: {maxsize!r}")
        return maxsize

    @property
    def size(self) -> int:
        """How many threads there are. Assigning starts new ones, or ends some, each after its task.

        :raises ValueError: negative, or more than ``maxsize``.
        """
        return self._workers.size

    @size.setter
    def size(self, size: int) -> None:
        if size < 0:
            raise ValueError(f"Size of the pool cannot be negative: {size!r}")
        if size > self.maxsize:
            raise ValueError(f"Size of the pool cannot be bigger than maxsize: {size!r} > {self.maxsize!r}")
        self._workers.resize(size)

    @property
    def task_queue(self) -> Any:
        """Truly as long as there are tasks that no thread has taken."""
        return range(self._workers.waiting)

    def spawn(  # type: ignore[override]  # gevent has another name for it
        self, func: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> AsyncResult[Any]:
        """Run ``func(*args, **kwargs)`` in a thread, as soon as one is free. Does not wait."""
        return super().spawn(func, *args, **kwargs)

    def apply_async(
        self, func: Any, args: Any = None, kwds: Any = None, callback: Callable[[Any], Any] | None = None
    ) -> Any:
        """Run ``func`` in a thread without waiting; ``callback(value)`` is called on the hub, and must not wait."""
        task = super().apply_async(func, args, kwds)
        if callback is not None:
            task.rawlink(lambda source: callback(source.value) if source.successful() else None)
        return task

    def kill(self) -> None:
        """End the threads. Who waits for a task that has not begun gets a GreenletExit."""
        task: Any
        for task in self._workers.dismiss_all():
            self._finished(task, None, (GreenletExit, GreenletExit(), None))

    def adjust(self) -> None:
        """Threads come and go by themselves."""


class ThreadPoolExecutor(_threadpool.ThreadPoolExecutor):
    """:class:`hubbub.threadpool.ThreadPoolExecutor`, with gevent's ``kill``."""

    def kill(self, wait: bool = True, **kwargs: Any) -> None:
        """The same as :meth:`shutdown`."""
        self.shutdown(wait=wait, **kwargs)


class ThreadResult:
    """The outcome of one task, brought from a thread to its hub.

    :param receiver: called on the hub with this object, once.
    :param call_when_ready: called in the thread when there is an outcome.
    """

    def __init__(self, receiver: Any, hub: Any, call_when_ready: Any) -> None:
        self.receiver = receiver
        self.hub = hub
        self.context: Any = None
        self.value: Any = None
        self.exc_info: Any = ()
        self._call_when_ready = call_when_ready

    @property
    def exception(self) -> Any:
        """The error, or None."""
        return self.exc_info[1] if self.exc_info else None

    def successful(self) -> bool:
        """Whether there is no error."""
        return self.exception is None

    def set(self, value: Any) -> None:
        """In the thread: it has returned ``value``."""
        self.value = value
        self._deliver()

    def handle_error(self, context: Any, exc_info: Any) -> None:
        """In the thread: it has failed."""
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
        """The receiver is not interested any more."""
        self.receiver = self.hub = None
