"""One stream of an HTTP/2 connection: to the exchange on it, what a connection is over HTTP/1.

The server looks at the deadlines of streams as it does at those of connections. A stream waits for its own window, for
its turn among the others, and for the connection; for each of these somebody else is to blame.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import hubbub
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError
from hubbub.lowlevel import Waiter, WaitQueue

from hubbub_server._http2.body import Body
from hubbub_server._http2.fields import Malformed, trailer_fields
from hubbub_server._http2.frames import MAX_FRAME
from hubbub_server._http2.protocol import Field
from hubbub_server.http.accesslog import Entry
from hubbub_server.http.clock import NEVER, Clock
from hubbub_server.http.connection import Service
from hubbub_server.http.errors import ClientDisconnected, RequestError
from hubbub_server.http.limits import Limits
from hubbub_server.http.request import HeadParser

if TYPE_CHECKING:
    from hubbub_server._http2.connection import Http2Connection

__all__ = ["Stream"]

_YIELD_AFTER: Final = 1048576
"""After so many bytes without a wait the greenlet yields."""
_CONTINUE: Final = [(b":status", b"100")]


class Stream:
    """One request of a client, and the response to it.

    :param connection: the client's.
    :param number: the stream's.
    :param fields: those of the request, as they were decoded.
    :param ended: whether there is no body.
    """

    is_stream = True
    """Whether it is a part of a connection."""
    idle = False
    """Whether it waits for a request."""
    state = "stream"
    """What it counts as among connections."""

    __slots__ = (
        "_body_patience",
        "_late",
        "_moved",
        "_readers",
        "_work",
        "_write_patience",
        "_writers",
        "adjust",
        "blocks_all",
        "body",
        "clock",
        "closed",
        "connection",
        "deadline",
        "fields",
        "gone",
        "host",
        "limits",
        "number",
        "parser",
        "patient",
        "port",
        "request",
        "service",
        "spoiled",
        "trailers",
        "write_deadline",
    )

    def __init__(self, connection: Http2Connection, number: int, fields: list[Field], ended: bool) -> None:
        self.connection: Http2Connection = connection
        self.number: int = number
        self.fields: list[Field] = fields
        self.service: Service = connection.service
        self.clock: Clock = connection.clock
        self.limits: Limits = connection.limits
        self.parser: HeadParser = connection.parser
        self.adjust: Callable[[dict[str, Any]], object] | None = connection.adjust
        self.host: str = connection.host
        self.port: str | None = connection.port
        self.request: Any = None
        """The exchange, while it is being answered."""
        self.body: Body | None = None if ended else Body(self, -1, False)
        self.trailers: list[tuple[str, str]] = []
        """Those of the request."""
        self.deadline: float = NEVER
        """When the present wait for the body has lasted too long, in ticks of the clock."""
        self.write_deadline: float = NEVER
        """The same for the wait to send."""
        self.gone: str = ""
        """Why nothing can be sent any more, and nothing comes; empty while that is not so."""
        self.closed: bool = False
        """Whether the end of the response was sent."""
        self.spoiled: bool = False
        """Whether the request is not valid."""
        self.patient: bool = False
        """Whether the body may take any time."""
        self.blocks_all: bool = False
        """Whether it has its turn, and waits for the window of the connection."""
        self._readers = WaitQueue()
        self._writers = WaitQueue()
        self._late = False
        self._moved = 0
        self._work = 0
        self._body_patience = self.clock.body.ticks
        self._write_patience = self.clock.write.ticks

    # What the connection tells --------------------------------------------------------------------------------------

    def data_arrived(self, data: bytes, size: int) -> None:
        """A DATA frame, which takes ``size`` bytes of the window."""
        body = self.body
        self._moved += size
        if body is None or body.error is not None or self.gone:
            self.connection.release(self.number, size)
            return
        try:
            body.feed(data, size)
        except RequestError as error:
            self.connection.release(self.number, size)
            self._fail_body(error)
        self._readers.wake_all()

    def ended(self) -> None:
        """The request has ended."""
        body = self.body
        if body is not None and not body.ended:
            try:
                body.end()
            except RequestError as error:
                self._fail_body(error)
            self._readers.wake_all()

    def trailers_arrived(self, fields: list[Field]) -> None:
        """The request ends with trailers."""
        try:
            self.trailers = trailer_fields(fields, self.limits.trailer_bytes)
        except RequestError as error:
            self._fail_body(error)

    def _fail_body(self, error: RequestError) -> None:
        body = self.body
        assert body is not None  # or nothing of it could have come
        body.error = body.error or error
        if isinstance(error, Malformed):
            self.spoil()
        exchange = self.request
        if isinstance(error, Malformed) and exchange is not None and exchange.started:
            self.reset(ErrorCodes.PROTOCOL_ERROR)
            self.lose("the body of the request is not valid")

    def spoil(self) -> None:
        """The request is not a valid one."""
        if not self.spoiled:
            self.spoiled = True
            self.connection.note_fault()

    def credit(self, size: int) -> None:
        """A part of a frame has arrived: the client is slow, but not too slow."""
        if self.deadline != NEVER:
            self.deadline += size * self.clock.body.gain

    def window_opened(self) -> None:
        """The client takes more."""
        self._writers.wake_all()

    def lose(self, reason: str) -> None:
        """Nothing more can be sent, and nothing more comes. Wakes everybody who waits."""
        if self.gone:
            return
        self.gone = reason
        body = self.body
        if body is not None:
            if body.error is None and not body.ended:
                body.error = ClientDisconnected(reason)
            body.drop()
        self._readers.wake_all()
        self._writers.wake_all()
        self.connection.wake_room()

    # What the server tells ------------------------------------------------------------------------------------------

    def expire(self) -> None:
        """The time for the body is over. Called on the hub."""
        self._late = True
        self.deadline = NEVER
        self._readers.wake_all()

    def expire_writing(self) -> None:
        """The client does not read. Called on the hub."""
        self.write_deadline = NEVER
        if self.blocks_all:
            self.connection.expire_writing()
            self.connection.lose("the client does not read")
        else:
            self.reset(ErrorCodes.CANCEL)
            self.lose("the client does not read")

    def hurry(self, deadline: float) -> None:
        """The server stops. Requests that have arrived are answered."""

    def retire(self) -> bool:
        """False: it is not idle."""
        return False

    # What a body asks for -------------------------------------------------------------------------------------------

    def wait_body(self) -> None:
        """Wait until the body has grown, ended, or failed.

        :raises RequestError: 408.
        :raises ClientDisconnected: there will be no more.
        """
        self._check()
        clock = self.clock
        began = clock.now
        self._moved = 0
        self.deadline = NEVER if self.patient else began + self._body_patience
        try:
            self._readers.wait(Waiter())
        finally:
            self.deadline = NEVER
        self._body_patience = clock.body.after(self._body_patience, clock.now - began, self._moved)
        if self._late:
            self._late = False
            raise RequestError("408 Request Timeout", "The body of the request took too long.")

    def release(self, size: int) -> None:
        """So many bytes of what had arrived were read."""
        self.connection.release(self.number, size)

    def send_continue(self) -> None:
        """Send "100 Continue"."""
        self.send_head(_CONTINUE, False)

    def wait_end(self) -> bool:
        """Wait until the client is gone, or wants no response any more. True."""
        while not self.gone:
            self._readers.wait(Waiter())
        return True

    # Sending --------------------------------------------------------------------------------------------------------

    def _check(self) -> None:
        if self.gone:
            raise ClientDisconnected(self.gone)

    def send_head(self, fields: list[Field], end: bool) -> None:
        """Send the fields of a response, interim or final, or trailers. Does not wait.

        :param end: whether that is the end.
        :raises ClientDisconnected: the client is gone, or wants no response.
        """
        self._check()
        connection = self.connection
        try:
            connection.protocol.send_headers(self.number, fields, end_stream=end)
        except ProtocolError as error:
            raise ClientDisconnected("the stream is closed") from error
        self.closed = end
        connection.flush()

    def send(self, data: bytes, end: bool) -> None:
        """Send all of ``data``, a part of the body, as fast as the client takes it, by turns with other streams.

        :param end: whether that is the end.
        :raises ClientDisconnected: the client is gone, does not read, or wants no response.
        """
        if not data:
            self._send_frame(b"", end)
            return
        connection = self.connection
        size = len(data)
        start = 0
        while start < size:
            self._await_window(size - start)
            with connection.turn:
                connection.await_room(self)
                self._check()
                count = min(self._window(), connection.protocol.outbound_flow_control_window, MAX_FRAME, size - start)
                if count <= 0:
                    continue
                last = start + count == size
                self._send_frame(data if count == size else data[start : start + count], end and last)
                connection.allowance.sent(count, not last and count < MAX_FRAME)
                start += count
            self.note_work(count)

    def send_nowait(self, data: bytes) -> int:
        """Send what can be sent without waiting; how many bytes that is.

        :raises ClientDisconnected: as :meth:`send`.
        """
        self._check()
        connection = self.connection
        if not connection.turn.acquire(blocking=False):
            return 0
        try:
            count = min(self._window(), connection.room(), MAX_FRAME, len(data))
            if count > 0:
                self._send_frame(data[:count], False)
        finally:
            connection.turn.release()
        return max(count, 0)

    def end(self) -> None:
        """The response has ended. Does not wait or raise."""
        if not (self.closed or self.gone):
            try:
                self._send_frame(b"", True)
            except ClientDisconnected:
                return

    def _send_frame(self, data: bytes, end: bool) -> None:
        self._check()
        connection = self.connection
        try:
            connection.protocol.send_data(self.number, data, end_stream=end)
        except ProtocolError as error:
            raise ClientDisconnected("the stream is closed") from error
        self.closed = end
        connection.flush()

    def _window(self) -> int:
        """How much the client takes on this stream."""
        state = self.connection.protocol.streams.get(self.number)
        if state is None:
            raise ClientDisconnected("the stream is closed")
        return state.outbound_flow_control_window

    def _await_window(self, wanted: int) -> None:
        clock = self.clock
        while self._window() <= 0:
            self._check()
            began = clock.now
            self.write_deadline = began + self._write_patience
            try:
                self._writers.wait(Waiter())
            finally:
                self.write_deadline = NEVER
            self._check()
            moved = min(max(self._window(), 0), wanted)
            self._write_patience = clock.write.after(self._write_patience, clock.now - began, moved)

    def reset(self, code: ErrorCodes) -> None:
        """End the stream with an error, or because the rest of the request is not wanted. Does not wait or raise."""
        self.closed = True
        self.connection.reset_stream(self.number, code)

    def note_work(self, size: int) -> None:
        """Yield when the stream has moved many bytes, or done what takes as long, without a wait."""
        self._work += size
        if self._work >= _YIELD_AFTER:
            self._work = 0
            hubbub.sleep(0)

    def log_refused(self, line: str, error: RequestError) -> None:
        """A line of the access log for a request that never reached the application."""
        log = self.service.access_log
        if log is not None:
            log.write(Entry(self.host, line, int(error.status[:3]), 0, 0.0, {"hubbub.stream": self.number}))
