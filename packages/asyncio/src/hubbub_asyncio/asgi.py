"""ASGI 3 applications behind a server of greenlets.

:class:`ASGI` makes an ASGI application a WSGI one, for ``hubbub-serve --asgi``, for hubbub-server's gunicorn
worker, or for :class:`hubbub_server.WSGIServer`. All requests are tasks of the event loop of their thread
(:func:`hubbub_asyncio.thread_loop`). The server's rules, limits and logs are those for WSGI.

The connection's greenlet has the first step of the task run at once, and writes the response. So an application that
never waits responds without a round of the event loop.

A WebSocket is served where the server offers one, as hubbub-server does with its extra ``websocket``.

See the specification of ASGI (https://asgi.readthedocs.io/en/latest/specs/), version 3.0, ``http`` and
``websocket`` 2.4 and ``lifespan`` 2.0.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from hubbub_asyncio._call import Call, ClientGone
from hubbub_asyncio._lifespan import Lifespan
from hubbub_asyncio._scope import http_scope
from hubbub_asyncio._websocket import WebSocketCall, websocket_scope
from hubbub_asyncio.bridge import await_, loop_that_runs, thread_loop

__all__ = ["ASGI", "Application"]

Application = Callable[
    [
        MutableMapping[str, Any],
        Callable[[], Awaitable[MutableMapping[str, Any]]],
        Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ],
    Awaitable[None],
]
"""An application of ASGI 3."""


class ASGI:
    """A WSGI application that serves an ASGI application.

    :param application: called as ``application(scope, receive, send)``, and awaited, for each request.
    :param root_path: where the application is mounted (``scope["root_path"]``). None: the environ's ``SCRIPT_NAME``.
    :raises TypeError: it cannot be called.
    """

    wants_request = True
    """Tells hubbub-server to set ``environ["hubbub.request"]``. With other servers the environ alone is used."""

    def __init__(self, application: Application, *, root_path: str | None = None) -> None:
        if not callable(application):
            raise TypeError(
                f"an ASGI application is called as application(scope, receive, send); {application!r} is not"
            )
        self.application = application
        self.root_path = root_path
        self.state: dict[str, Any] = {}
        """What the application has put into ``scope["state"]`` during its start; each request gets a shallow copy."""
        self._lifespan: Lifespan | None = None
        self._left: set[asyncio.Task[None]] = set()

    def startup(self) -> None:
        """Run the application's start (``lifespan.startup``) and wait until it is complete; nothing if it has none.

        :raises RuntimeError: the start has failed.
        """
        self._lifespan = Lifespan(self.application, self.state)
        await_(self._lifespan.startup(), loop=thread_loop())

    def shutdown(self, seconds: float | None = None) -> None:
        """Let requests that go on after their responses end, then run the application's end (``lifespan.shutdown``).

        :param seconds: how long each may take; then tasks are cancelled. None: no limit.
        """
        loop = thread_loop()
        await_(self._end_left(seconds), loop=loop)
        if self._lifespan is not None:
            await_(self._lifespan.shutdown(seconds), loop=loop)
            self._lifespan = None

    async def _end_left(self, seconds: float | None) -> None:
        if self._left:
            _, late = await asyncio.wait(set(self._left), timeout=seconds)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=seconds)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Serve one request (PEP 3333)."""
        request = environ.pop("hubbub.request", None)
        scope = http_scope(environ, request, self.root_path)
        if self._lifespan is not None:
            scope["state"] = self.state.copy()
        loop = loop_that_runs()
        accept = environ.get("hubbub.websocket")
        if accept is not None:
            scope = websocket_scope(scope, accept.subprotocols)
            return WebSocketCall(loop, accept, start_response).serve(self.application, scope, self._keep)
        Call(loop, environ, request, start_response).serve(self.application, scope, self._keep)
        return ()

    def _keep(self, task: asyncio.Task[None]) -> None:
        """Keep a task that goes on after its response, or after the client is gone."""
        self._left.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A task that went on after its response has ended."""
        self._left.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, ClientGone):
            task.get_loop().call_exception_handler(
                {"message": "an ASGI application failed after its response", "exception": error, "task": task}
            )
