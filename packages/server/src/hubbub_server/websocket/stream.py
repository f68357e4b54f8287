"""What a WebSocket needs of the connection under it: the interface between WebSockets and versions of HTTP.

Over HTTP/1.1 the connection is a socket after ``101 Switching Protocols`` (RFC 6455), over HTTP/2 a stream after a
response to an extended CONNECT (RFC 8441). Each has an :class:`Opening` for the request and a :class:`Stream` for the
bytes that follow. :func:`hubbub_server.websocket.handshake.serve` does the rest for both: it checks the request, makes
``environ["hubbub.websocket"]``, and closes the WebSocket when the application has returned.

A version of HTTP that wants WebSockets does three things. It makes an Opening for a request that asks for one. It calls
``serve(opening, server, respond)`` in the greenlet of the request, where ``respond()`` calls the application. It
implements Stream.
"""

from __future__ import annotations

from typing import Any, Protocol

from hubbub_server.http.clock import Clock
from hubbub_server.http.limits import Limits

__all__ = ["Opening", "Server", "Stream"]


class Stream(Protocol):
    """Bytes in order, both ways, to one client.

    One greenlet receives at a time, and one sends. They may be different ones.
    """

    def receive(self, size: int) -> bytes:
        """Wait for bytes of the client's.

        A wait that is interrupted has taken nothing: the next call returns what has arrived.

        :param size: how many at most.
        :returns: nothing once the client has ended its side, or the connection is lost.
        """

    def send_nowait(self, data: bytes) -> int:
        """Send what can be sent without waiting.

        :returns: how many bytes were taken, from the front. What is left is the next that is sent.
        :raises ConnectionError: the client is gone.
        """

    def send(self, data: bytes) -> None:
        """Wait until all of ``data`` is sent. The caller is a greenlet that nobody interrupts.

        A client that takes nothing for longer than ``Limits.write_seconds`` is gone.

        :raises ConnectionError: the client is gone.
        """

    def end(self) -> None:
        """Send no more: the client sees the end after what was sent. Does not wait, and does not raise."""

    def abort(self) -> None:
        """End both ways at once. Greenlets that receive or send are woken. Does not wait, and does not raise."""


class Opening(Protocol):
    """A request that asks for a WebSocket."""

    environ: dict[str, Any]
    """That of the request. The fields that both versions of HTTP have are read from it."""

    def check(self) -> None:
        """Whether the request is valid, as far as its version of HTTP goes.

        :raises HandshakeError: it is not.
        """

    def accept(self, fields: list[tuple[str, str]]) -> Stream:
        """Send the head of the response that opens the WebSocket.

        :param fields: header fields, besides those that belong to the version of HTTP.
        :raises ConnectionError: the client is gone.
        """

    def refuse(self, status: str, fields: list[tuple[str, str]], body: bytes) -> None:
        """Send a response that opens nothing, and is all of the response.

        :raises ConnectionError: the client is gone.
        """

    def count_sent(self, size: int) -> None:
        """The access log's number of bytes of body grows by ``size``."""


class Server(Protocol):
    """What WebSockets need of the server."""

    clock: Clock
    limits: Limits
    stopping: bool
    """Whether new WebSockets are refused."""
    websockets: set[Any]
    """Those that are open. The server calls ``expire`` of each whose ``deadline``, in ticks of the clock, has passed;
    and ``go_away`` of all when it stops."""

    def tell_websocket(self, event: str, environ: dict[str, Any], fields: dict[str, Any]) -> None:
        """A WebSocket was opened or has ended: write an event."""
