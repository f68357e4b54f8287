"""One HTTP request to an ASGI application: its messages, between the application's task and the server's greenlet.

The greenlet of the connection makes the task and has its first step run at once. From then on it writes what the task
sends. One more greenlet waits for what comes from the client: a body, or its end.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, MutableMapping
from types import CoroutineType
from typing import Any

from hubbub import shield
from hubbub.lowlevel import Waiter

from hubbub_asyncio._head import ResponseHead, response_head
from hubbub_asyncio.bridge import Worker, as_future
from hubbub_asyncio.loop import HubEventLoop

__all__ = ["Call", "ClientGone"]

Message = MutableMapping[str, Any]

_MOST_HELD = 65536
"""Bytes that may be sent before the task waits for the client to read."""
_HEAD_SECONDS = 0.05
"""Seconds after which the head of a response is sent though no body has come."""
_PIECE = 65536


class ClientGone(ConnectionResetError):
    """Raised by ``send`` when the client is gone."""


class Call:
    """One request.

    :param loop: runs already, in another greenlet of this thread.
    :param request: ``environ["hubbub.request"]``, or None with a server that has no such thing.
    """

    __slots__ = (
        "_attends",
        "_begun",
        "_body_read",
        "_first",
        "_head",
        "_held",
        "_last",
        "_loop",
        "_method",
        "_over",
        "_pending",
        "_pieces",
        "_request",
        "_room",
        "_start_response",
        "_waiter",
        "_worker",
        "_write",
    )

    def __init__(
        self, loop: HubEventLoop, environ: dict[str, Any], request: Any, start_response: Callable[..., Any]
    ) -> None:
        self._loop = loop
        self._method = environ["REQUEST_METHOD"]
        self._request = _PlainRequest(environ["wsgi.input"]) if request is None else request
        self._start_response = start_response
        self._first = False
        """Whether the task is in its first step, and the greenlet of the connection waits for the end of that."""
        self._attends = False
        """Whether the end of the task wakes the greenlet of the connection."""
        self._waiter: Waiter | None = None
        self._head: ResponseHead | None = None
        """What the application sent in http.response.start."""
        self._begun = False
        """Whether the server has accepted the head."""
        self._write: Callable[[bytes], Any] | None = None
        """Set once something was written, of the head or of the body."""
        self._pieces: list[bytes] = []
        self._held = 0
        self._room: list[asyncio.Future[None]] = []
        """Sends that wait until the held pieces are written."""
        self._last = False
        """Whether the end of the body was sent."""
        self._over = False
        """Whether nothing can be sent any more: all was written, or the client is gone."""
        self._body_read = False
        self._pending: asyncio.Future[Any] | None = None
        """What a caller of ``receive`` waits for."""
        self._worker: Worker | None = None

    def serve(
        self, application: Callable[..., Any], scope: dict[str, Any], keep: Callable[[asyncio.Task[None]], None]
    ) -> None:
        """Let the application respond. Returns when the response was written.

        :param keep: called with the task if that goes on after the response.
        :raises RuntimeError: the application has ended without a response.
        :raises ConnectionError: the client is gone.

        An error of the application is raised too.
        """
        coroutine = application(scope, self.receive, self.send)
        if type(coroutine) is not CoroutineType:
            coroutine = _awaited(coroutine)
        self._first = True
        try:
            task = self._loop.begin_task(coroutine, context=contextvars.copy_context())
        finally:
            self._first = False
        try:
            if self._pieces or not task.done():
                self._attend(task)
        finally:
            self._over = True
            if self._pending is not None:
                self._end_receiving()
            if not task.done():
                keep(task)
        if task.done():
            self._check(task)

    def _check(self, task: asyncio.Task[None]) -> None:
        error = task.exception()
        if error is not None:
            if self._last and self._begun and self._write is None and isinstance(error, Exception):
                # The response is empty. The server sends its head only if the call returns without an error.
                self._loop.call_exception_handler(
                    {"message": "an ASGI application failed after its response", "exception": error, "task": task}
                )
                return
            raise error
        if not self._last:
            state = "in the midst of its response" if self._head is not None else "without a response"
            raise RuntimeError(f"the ASGI application ended {state}")

    # Sending ---------------------------------------------------------------------------------------------------------

    async def send(self, message: Message) -> None:
        """The ``send`` of ASGI.

        :raises OSError: the client is gone.
        :raises RuntimeError: the message is not allowed at this point of the response.
        """
        kind = message["type"]
        if kind == "http.response.body":
            body = message.get("body", b"")
            begins = self._accept(body if type(body) is bytes else bytes(memoryview(body)), message)
            if begins or self._held > _MOST_HELD:
                room = self._loop.create_future()
                self._room.append(room)
                await room
        elif kind == "http.response.start":
            if self._head is not None:
                raise RuntimeError("http.response.start was sent twice")
            self._head = response_head(message)
            if self._waiter is not None:
                self._wake()  # so that the head does not wait for ever
        else:
            raise RuntimeError(f"http.response.start and http.response.body can be sent, not {kind!r}")

    def _accept(self, body: bytes, message: Message) -> bool:
        """Take a piece of the body. True: the task must now let the greenlet of the connection run."""
        if self._head is None:
            raise RuntimeError("http.response.body was sent before http.response.start")
        if self._last:
            raise RuntimeError("http.response.body was sent after the end of the body")
        if self._over:
            raise ClientGone("the client is gone")
        self._last = last = not message.get("more_body", False)
        self._pieces.append(body)
        self._held += len(body)
        if self._waiter is not None:
            self._wake()
        return self._first and not last

    def _write_out(self, data: bytes) -> None:
        """Write a part of the body. Called in the greenlet of the connection."""
        write = self._write or self._begin(len(data) if self._last else None)
        if data:
            self._write = write
            write(data)

    def _begin(self, length: int | None) -> Callable[[bytes], Any]:
        """Tell the server the head; with the length of the body in bytes, if ``length`` is all of it."""
        head = self._head
        assert head is not None  # the body comes after the head
        fields = head.fields
        if length is not None and not head.has_length and self._method != "HEAD":
            fields = [*fields, ("Content-Length", str(length))]
        write: Callable[[bytes], Any] = self._start_response(head.status, fields)
        self._begun = True
        return write

    def _attend(self, task: asyncio.Task[None]) -> None:
        """Write what the task sends, until all was sent or it has ended. Called in the greenlet of the connection."""
        try:
            while True:
                while pieces := self._pieces:
                    self._pieces = []
                    self._held = 0
                    self._write_out(pieces[0] if len(pieces) == 1 else b"".join(pieces))
                    if self._room:
                        self._give_room()
                if self._last or task.done():
                    return
                self._await_something(task)
        except OSError:  # the client is gone: the task learns it when it sends or receives
            self._over = True
            self._give_room()
            raise
        except BaseException:
            # What the task sent is not a response, or this greenlet is interrupted: end the task too.
            self._over = True
            self._give_room()
            task.cancel()
            with shield():
                while not task.done():
                    self._await_something(task)
            raise
        finally:
            if self._attends:
                task.remove_done_callback(self._wake)

    def _await_something(self, task: asyncio.Task[None]) -> None:
        """Wait until something was sent, or the task has ended."""
        if not self._attends:  # not before: one that has ended already would cost a round of the event loop
            self._attends = True
            task.add_done_callback(self._wake)
        headless = self._head is not None and self._write is None and not self._over
        self._waiter = waiter = Waiter()
        try:
            woken = waiter.wait(_HEAD_SECONDS if headless else None)
        finally:
            self._waiter = None
        if not woken:
            self._write = self._begin(None)
            self._request.send_head()

    def _wake(self, _: object = None) -> None:
        if self._waiter is not None and not self._waiter.done:
            self._waiter.wake()

    def _give_room(self) -> None:
        """Wake the sends that wait for room; they fail if the client is gone."""
        waiting, self._room = self._room, []
        for room in waiting:
            if room.done():
                continue
            if self._over and not self._last:
                room.set_exception(ClientGone("the client is gone"))
            else:
                room.set_result(None)

    # Receiving -------------------------------------------------------------------------------------------------------

    async def receive(self) -> Message:
        """The ``receive`` of ASGI. A body that is invalid, or ends early, counts as a client that is gone."""
        while not self._over and not self._last:
            if self._pending is None:
                if not self._body_read and (message := self._body_at_hand()) is not None:
                    return message
                self._pending = self._begin_receiving()
            pending = self._pending
            if not pending.done():
                await asyncio.wait([pending])  # if the caller is cancelled, it stays for the next one
            if self._pending is pending and not self._over:
                self._pending = None
                if (message := self._outcome(pending)) is not None:
                    return message
        return {"type": "http.disconnect"}

    def _body_at_hand(self) -> Message | None:
        """The part of the body that has arrived; None if that is empty."""
        request = self._request
        try:
            piece = b"" if request.body_done else request.read_nowait()
        except (OSError, ValueError):
            return {"type": "http.disconnect"}
        self._body_read = done = request.body_done
        if piece or done:
            return {"type": "http.request", "body": piece, "more_body": not done}
        return None

    def _begin_receiving(self) -> asyncio.Future[Any]:
        """Start a greenlet that waits for the client."""
        function = self._request.wait_end if self._body_read else self._request.read
        self._worker = worker = Worker(function)
        worker.start()
        return as_future(worker)

    def _outcome(self, pending: asyncio.Future[Any]) -> Message | None:
        """The result of the greenlet that waited, as a message; None if the caller must wait for something else."""
        error = pending.exception()
        if self._body_read:
            if error is None and not pending.result():
                self._pending = self._loop.create_future()  # the client's end cannot be seen: wait for the response's
                return None
            return {"type": "http.disconnect"}
        if error is not None:
            if not isinstance(error, (OSError, ValueError)):
                raise error
            return {"type": "http.disconnect"}
        self._body_read = done = self._request.body_done
        return {"type": "http.request", "body": pending.result(), "more_body": not done}

    def _end_receiving(self) -> None:
        """The connection goes on to the next request: end all waits for this one."""
        pending, self._pending = self._pending, None
        if self._worker is not None:
            with shield():
                self._worker.kill()
        if pending is not None and not pending.done():
            pending.cancel()


async def _awaited(awaitable: Awaitable[None]) -> None:
    await awaitable


class _PlainRequest:
    """Takes the place of ``hubbub.request`` with a WSGI server that gives the environ alone."""

    def __init__(self, source: Any) -> None:
        self._source = source
        self.body_done = False

    def read_nowait(self) -> bytes:
        """Nothing: whether a read would wait is not known."""
        return b""

    def read(self) -> bytes:
        """The next piece."""
        data: bytes = self._source.read(_PIECE)
        self.body_done = len(data) < _PIECE
        return data

    def wait_end(self) -> bool:
        """False: the client's end cannot be seen."""
        return False

    def send_head(self) -> None:
        """Nothing: the head cannot be sent by itself."""
