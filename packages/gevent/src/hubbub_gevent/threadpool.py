"""gevent.threadpool on hubbub."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from greenlet import GreenletExit
from hubbub import threadpool as _threadpool

from hubbub_gevent.hub import get_hub

__all__ = ["ThreadPool", "ThreadPoolExecutor", "ThreadResult", "get_hub"]


class ThreadPool(_threadpool.ThreadPool):
    """:class:`hubbub.threadpool.ThreadPool` with gevent's parameters."""

    def __init__(self, maxsize: int, hub: Any = None, idle_task_timeout: float | None = -1) -> None:
        seconds = None if idle_task_timeout is None or idle_task_timeout < 0 else idle_task_timeout
        super().__init__(maxsize, hub, seconds)

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

    def kill(self, wait: bool = True) -> None:
        """The same as :meth:`shutdown`."""
        self.shutdown(wait=wait)


class ThreadResult:
    """The outcome of one task."""

    def __init__(self, receiver: Any, hub: Any, call_when_ready: Any) -> None:
        self.receiver = receiver
        self.hub = hub
        self.context: Any = None
        self.value: Any = None
        self.exc_info: Any = ()

    @property
    def exception(self) -> Any:
        """The error, or None."""
        return self.exc_info[1] if self.exc_info else None

    def successful(self) -> bool:
        """Whether there is no error."""
        return self.exception is None
