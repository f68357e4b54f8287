"""Running coroutines on the hub's event loop, as :func:`asyncio.run` does on asyncio's own."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from hubbub import GreenletExit, Timeout, shield

from hubbub_asyncio.loop import HubEventLoop

__all__ = ["new_event_loop", "run"]

T = TypeVar("T")


def new_event_loop() -> HubEventLoop:
    """A new event loop on the hub of this thread: a ``loop_factory`` for :class:`asyncio.Runner`."""
    return HubEventLoop()


def run(main: Coroutine[Any, Any, T], *, debug: bool | None = None) -> T:
    """Run a coroutine on a new event loop on the hub, and return its result. Other greenlets run meanwhile.

    As :func:`asyncio.run`, but any number of greenlets of a thread may call it at once. Tasks that are left when
    ``main`` has ended are cancelled.

    :param debug: asyncio's debug mode; None: as the environment says.
    :raises RuntimeError: the caller runs in a coroutine, which must await ``main``, or call
        :func:`hubbub_asyncio.await_`.
    """
    if asyncio._get_running_loop() is not None:
        raise RuntimeError(
            "run() cannot be called from a running event loop: await the coroutine, or call await_ on it"
        )
    with asyncio.Runner(debug=debug, loop_factory=new_event_loop) as runner:
        try:
            return runner.run(main)
        finally:
            with shield():  # a scope that is cancelled would interrupt each step of the closing
                try:
                    _end_tasks(runner.get_loop())
                finally:
                    runner.close()


def _end_tasks(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel the tasks that are left, and wait until they have ended.

    A greenlet that is killed or out of time meanwhile goes on waiting, and is interrupted when the tasks have ended: no
    task may be left on an event loop that never runs again.
    """
    interruption: BaseException | None = None
    cancelled: set[asyncio.Task[Any]] = set()
    with shield():
        while tasks := asyncio.all_tasks(loop):
            for task in tasks - cancelled:
                task.cancel()
            cancelled |= tasks
            try:
                loop.run_until_complete(asyncio.wait(tasks))
            except (Timeout, GreenletExit) as error:
                interruption = interruption or error
    for task in cancelled:
        _report(loop, task)
    if interruption is not None:
        raise interruption


def _report(loop: asyncio.AbstractEventLoop, task: asyncio.Task[Any]) -> None:
    """Report the error of a task that was cancelled at the end: no caller will ask for it."""
    if not task.cancelled() and (error := task.exception()) is not None:
        message = "unhandled exception in a task that was cancelled at the end of run()"
        loop.call_exception_handler({"message": message, "exception": error, "task": task})
