"""One WebSocket of an ASGI application (specification of ASGI, "WebSocket").

The server opens WebSockets for WSGI applications: ``environ["hubbub.websocket"]``. The greenlet of the connection makes
the task, has its first step run, and from then on receives a message whenever the task asks for one. The task sends by
itself.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Iterable, MutableMapping
from functools import partial
from types import CoroutineType
from typing import Any

from hubbub.lowlevel import Waiter

from hubbub_asyncio._head import response_head
from hubbub_asyncio._waiting import cancel_and_wait
from hubbub_asyncio.bridge import Worker, as_future
from hubbub_asyncio.loop import HubEventLoop

__all__ = ["WebSocketCall", "websocket_scope"]

Message = MutableMapping[str, Any]
_SCHEMES = {"http": "ws", "https": "wss"}
_FAILED = 1011
_YIELD_AFTER = 64
"""After so many messages that were sent without a wait the task yields."""


def websocket_scope(scope: dict[str, Any], subprotocols: Iterable[str]) -> dict[str, Any]:
    """The connection scope of a WebSocket, from that of its HTTP request."""
    del scope["method"]
    return {
        **scope,
        "type": "websocket",
        "scheme": _SCHEMES.get(scope["scheme"], scope["scheme"]),
        "subprotocols": list(subprotocols),
        "extensions": {"websocket.http.response": {}},
    }


class WebSocketCall:
    """One request for a WebSocket.

    :param loop: runs already, in another greenlet of this thread.
    :param accept: ``environ["hubbub.websocket"]``.
    """

    __slots__ = ("_accept", "_body", "_connected", "_denial", "_loop", "_over", "_pending", "_sending", "_sent",
                 "_start_response", "_waiter", "_websocket")  # fmt: skip

    def __init__(self, loop: HubEventLoop, accept: Callable[..., Any], start_response: Callable[..., Any]) -> None:
        self._loop = loop
        self._accept = accept
        self._start_response = start_response
        self._websocket: Any = None
        self._connected = False
        """Whether the application knows that there is a request."""
        self._pending: asyncio.Future[Message] | None = None
        """What a caller of ``receive`` waits for."""
        self._waiter: Waiter | None = None
        self._sent = 0
        self._sending: asyncio.Future[Any] | None = None
        """A message that waits for room. It is sent whole, also if the ``send`` that waits for it is cancelled."""
        self._denial: Any = None
        """The head of a response that the application sends instead of opening the WebSocket."""
        self._body: list[bytes] = []
        self._over = False
        """Whether that response is complete."""

    def serve(
        self, application: Callable[..., Any], scope: dict[str, Any], keep: Callable[[asyncio.Task[None]], None]
    ) -> Iterable[bytes]:
        """Let the application run until it has ended, or has sent a response instead.

        :param keep: called with the task if that goes on after a response.
        :returns: the body of the response; empty if there was a WebSocket.
        :raises RuntimeError: the application has ended without accepting or closing.

        An error of the application is raised too.
        """
        coroutine = application(scope, self.receive, self.send)
        if type(coroutine) is not CoroutineType:
            coroutine = _awaited(coroutine)
        task = self._loop.begin_task(coroutine, context=contextvars.copy_context())
        task.add_done_callback(self._ended)
        try:
            self._attend(task)
        except BaseException as interruption:
            cancel_and_wait(task, interruption)
            raise
        if not task.done():
            keep(task)
        elif not self._over or not isinstance(task.exception(), Exception):
            task.result()
        if self._websocket is not None:
            return ()
        if not self._over:
            raise RuntimeError("the ASGI application has neither accepted nor closed the WebSocket")
        self._start_response(self._denial.status, self._denial.fields)
        return self._body

    def _attend(self, task: asyncio.Task[None]) -> None:
        """Receive what the task asks for, until it has ended. Called in the greenlet of the connection."""
        while not task.done() and not self._over:
            pending = self._pending
            if self._websocket is None or pending is None or pending.done():
                self._waiter = Waiter()
                try:
                    self._waiter.wait()
                finally:
                    self._waiter = None
                continue
            message = self._next()
            if not pending.done():
                pending.set_result(message)

    def _next(self) -> Message:
        """Wait for the client's next message, or its end."""
        try:
            data = self._websocket.receive()
        except OSError as error:
            code, reason = getattr(error, "code", 1006), getattr(error, "reason", "")
            return {"type": "websocket.disconnect", "code": code, "reason": reason}
        return {"type": "websocket.receive", "text" if isinstance(data, str) else "bytes": data}

    def _ended(self, task: asyncio.Task[None]) -> None:
        """The task has ended: so does the WebSocket, and with it what the greenlet of the connection waits for."""
        if self._pending is not None:
            self._pending.cancel()
        if self._websocket is not None:
            failed = task.cancelled() or task.exception() is not None
            self._websocket.close(_FAILED if failed else 1000, wait=False)
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done:
            self._waiter.wake()

    async def receive(self) -> Message:
        """The ``receive`` of ASGI. If its caller is cancelled, the next one gets what it has waited for."""
        if not self._connected:
            self._connected = True
            return {"type": "websocket.connect"}
        while True:
            if self._pending is None:
                self._pending = self._loop.create_future()
                self._wake()
            pending = self._pending
            if not pending.done():
                await asyncio.wait([pending])
            if self._pending is pending:
                self._pending = None
                return pending.result()

    async def send(self, message: Message) -> None:
        """The ``send`` of ASGI.

        :raises OSError: the WebSocket is closed.
        :raises RuntimeError: the message is not allowed at this point.
        """
        kind = message["type"]
        if kind == "websocket.send":
            await self._send(message)
        elif kind == "websocket.close" and self._websocket is not None:
            self._websocket.close(message.get("code", 1000), message.get("reason") or "", wait=False)
        elif self._websocket is not None or self._over:
            raise RuntimeError(f"{kind!r} cannot be sent any more")
        else:
            self._respond(kind, message)
            self._wake()

    async def _send(self, message: Message) -> None:
        if self._websocket is None:
            raise RuntimeError("websocket.send was sent before websocket.accept")
        data = message.get("bytes")
        if data is None:
            data = message["text"]
        while self._sending is not None and not self._sending.done():  # so that no more than one waits
            await asyncio.wait([self._sending])
        self._sent += 1
        if not self._sent % _YIELD_AFTER:
            await asyncio.sleep(0)
        try:
            self._websocket.send_nowait(data)
        except BlockingIOError:  # the client reads more slowly than the application writes
            worker = Worker(partial(self._websocket.send, data))
            worker.start()
            self._sending = as_future(worker)
            await asyncio.shield(self._sending)

    def _respond(self, kind: str, message: Message) -> None:
        """Answer the request: open the WebSocket, or send a response instead."""
        if kind == "websocket.accept" and self._denial is None:
            subprotocol = message.get("subprotocol")
            fields = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in message.get("headers", ())]
            self._websocket = self._accept([] if subprotocol is None else [subprotocol], fields)
        elif kind == "websocket.close" and self._denial is None:
            self._denial = response_head({"status": 403, "headers": [(b"content-length", b"0")]})
            self._over = True
        elif kind == "websocket.http.response.start" and self._denial is None:
            self._denial = response_head(message)
        elif kind == "websocket.http.response.body" and self._denial is not None:
            self._body.append(bytes(message.get("body", b"")))
            self._over = not message.get("more_body", False)
        else:
            raise RuntimeError(f"{kind!r} cannot be sent now")


async def _awaited(awaitable: Any) -> None:
    await awaitable
