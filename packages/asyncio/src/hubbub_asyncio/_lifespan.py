"""The start and the end of an ASGI application (specification of ASGI, "Lifespan Protocol")."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

__all__ = ["Lifespan"]


class Lifespan:
    """The task of an application's lifespan. To be used by coroutines of one event loop.

    :param application: an ASGI application.
    :param state: the dictionary that it may fill (``scope["state"]``).
    """

    def __init__(self, application: Callable[..., Any], state: dict[str, Any]) -> None:
        self._application = application
        self._state = state
        self._task: asyncio.Task[None] | None = None
        self._messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._answer: asyncio.Future[dict[str, Any]] | None = None

    async def startup(self) -> None:
        """Start the application, and wait until it is ready.

        An application that raises, or ends, before it answers does not know the protocol; that is no failure.

        :raises RuntimeError: the application has answered that its start failed.
        """
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self._state}
        self._task = asyncio.create_task(self._run(scope))
        answer = await self._say("lifespan.startup", None)
        if answer is not None and answer["type"] == "lifespan.startup.failed":
            await asyncio.wait([self._task])
            raise RuntimeError(answer.get("message") or "it gives no reason") from self._error()

    async def shutdown(self, seconds: float | None) -> None:
        """Run the application's end.

        A failure is handed to the event loop's exception handler.

        :param seconds: how long each of the answer and the end of the task may take; then the task is cancelled.
        """
        task = self._task
        if task is None or task.done():
            return
        answer = await self._say("lifespan.shutdown", seconds)
        if answer is not None and answer["type"] == "lifespan.shutdown.failed":
            self._complain(f"an ASGI application failed to shut down: {answer.get('message', '')}")
        if not task.done():
            await asyncio.wait([task], timeout=seconds)
            task.cancel()
            await asyncio.wait([task], timeout=seconds)
        if self._error() is not None:
            self._complain("an ASGI application failed while it shut down")

    def _error(self) -> BaseException | None:
        task = self._task
        return task.exception() if task is not None and task.done() and not task.cancelled() else None

    def _complain(self, message: str) -> None:
        context: dict[str, Any] = {"message": message}
        if (error := self._error()) is not None:
            context["exception"] = error
        asyncio.get_running_loop().call_exception_handler(context)

    async def _run(self, scope: dict[str, Any]) -> None:
        await self._application(scope, self._messages.get, self._send)

    async def _say(self, kind: str, seconds: float | None) -> dict[str, Any] | None:
        """Give the application a message, and return its answer; None: it gave none, or not in time."""
        task = self._task
        assert task is not None  # startup has made it
        self._answer = asyncio.get_running_loop().create_future()
        self._messages.put_nowait({"type": kind})
        both: list[asyncio.Future[Any]] = [self._answer, task]
        await asyncio.wait(both, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if self._answer.done():
            return self._answer.result()
        self._error()  # retrieve it: else asyncio would report that it was never retrieved
        return None

    async def _send(self, message: dict[str, Any]) -> None:
        kinds = [f"lifespan.{what}.{how}" for what in ("startup", "shutdown") for how in ("complete", "failed")]
        if message["type"] not in kinds:
            raise ValueError(f"a message of lifespan is one of {', '.join(kinds)}, not {message['type']!r}")
        if self._answer is None or self._answer.done():
            raise RuntimeError(f"{message['type']!r} was not asked for")
        self._answer.set_result(message)
