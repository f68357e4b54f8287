"""WebSocket over HTTP/2: extended CONNECT (RFC 8441). A stream is to a WebSocket what a connection is over HTTP/1.1."""

from __future__ import annotations

from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from h2.errors import ErrorCodes

from hubbub_server.http.clock import NEVER
from hubbub_server.http.errors import RequestError
from hubbub_server.http.response import ResponseHead

if TYPE_CHECKING:
    from hubbub_server._http2.exchange import Http2Exchange
    from hubbub_server._http2.stream import Stream

__all__ = ["PROTOCOL", "WebSockets", "offered"]

PROTOCOL: Final = b"websocket"
"""What ``:protocol`` says."""


def offered() -> bool:
    """Whether WebSockets can be served: the package for them is installed."""
    return find_spec("wsproto") is not None


class WebSockets:
    """Serves requests that ask for a WebSocket.

    :param server: answers requests, and knows what :class:`hubbub_server.websocket.stream.Server` says.
    """

    def __init__(self, server: Any) -> None:
        self._server = server

    def serve_request(self, exchange: Http2Exchange) -> None:
        """Have the application open the WebSocket, or answer in another way."""
        from hubbub_server.websocket.handshake import serve  # not loaded before it is needed

        server = self._server
        serve(_Opening(exchange), server, partial(server.serve_request, exchange))


class _Opening:
    """See :class:`hubbub_server.websocket.stream.Opening`."""

    def __init__(self, exchange: Http2Exchange) -> None:
        self.environ: dict[str, Any] = exchange.environ
        self._exchange = exchange

    def check(self) -> None:
        """What there is to check was checked when the request was read."""

    def accept(self, fields: list[tuple[str, str]]) -> _Bytes:
        """Send the head of a response 200."""
        exchange = self._exchange
        stream: Stream = exchange.connection
        exchange.open_tunnel(ResponseHead("200 OK", fields))
        exchange.deadline = NEVER  # the time for a request is not for a conversation
        return _Bytes(stream)

    def refuse(self, status: str, fields: list[tuple[str, str]], body: bytes) -> None:
        """Respond, if nothing was sent yet."""
        exchange = self._exchange
        if not exchange.started:
            exchange.head = ResponseHead(status, fields)
            exchange.send_whole(body)

    def count_sent(self, size: int) -> None:
        """For the access log."""
        self._exchange.count_sent(size)


class _Bytes:
    """See :class:`hubbub_server.websocket.stream.Stream`."""

    __slots__ = ("_received", "_stream")

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._received = b""
        stream.patient = True  # a WebSocket has times of its own

    def receive(self, size: int) -> bytes:
        """Wait for bytes of the client's; nothing once there will be none."""
        if not self._received:
            body = self._stream.body
            assert body is not None  # or the WebSocket would not have been opened
            try:
                self._received = body.next()
            except (OSError, RequestError):
                return b""
        data, self._received = self._received[:size], self._received[size:]
        return data

    def send_nowait(self, data: bytes) -> int:
        """Send what can be sent without waiting."""
        return self._stream.send_nowait(data)

    def send(self, data: bytes) -> None:
        """Wait until all is sent."""
        self._stream.send(data, False)

    def end(self) -> None:
        """Send no more."""
        self._stream.end()

    def abort(self) -> None:
        """End both ways at once."""
        stream = self._stream
        if not stream.gone:
            if not stream.closed:
                stream.reset(ErrorCodes.CANCEL)
            stream.lose("the WebSocket was aborted")
