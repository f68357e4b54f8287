"""WebSocket over HTTP/1.1: the upgrade of a connection (RFC 6455, 4)."""

from __future__ import annotations

import binascii
import socket
import ssl
from base64 import b64decode
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from hubbub.io import Socket
from wsproto.utilities import generate_accept_token

from hubbub_server._tls import send_close_notify
from hubbub_server.http.clock import NEVER
from hubbub_server.http.response import response_head
from hubbub_server.websocket._messages import comma_separated
from hubbub_server.websocket.errors import HandshakeError
from hubbub_server.websocket.handshake import serve

if TYPE_CHECKING:
    from hubbub_server.http.connection import Connection
    from hubbub_server.http.exchange import Exchange
    from hubbub_server.websocket.stream import Server

__all__ = ["ConnectionStream", "Upgrade", "serve_upgrade"]

_DONTWAIT: Final = getattr(socket, "MSG_DONTWAIT", 0)
_shutdown = Socket.__bases__[0].shutdown  # type: ignore[attr-defined]  # not TLS's, which would forget the session
_WANTS = (ssl.SSLWantReadError, ssl.SSLWantWriteError)
_BAD = "400 Bad Request"


class Upgrade:
    """A request with ``Upgrade: websocket``.

    :param exchange: the request and its response.
    """

    def __init__(self, exchange: Exchange) -> None:
        self.environ: dict[str, Any] = exchange.environ
        self._exchange = exchange

    def check(self) -> None:
        """Method, protocol and key (RFC 6455, 4.2.1).

        :raises HandshakeError: one is wrong.
        """
        if self.environ["REQUEST_METHOD"] != "GET":
            raise HandshakeError("405 Method Not Allowed", "A WebSocket is opened by GET.", [("Allow", "GET")])
        if "websocket" not in comma_separated(self.environ["HTTP_UPGRADE"].lower()):
            raise HandshakeError(_BAD, "The Upgrade is not to websocket.")
        try:
            nonce = b64decode(self.environ.get("HTTP_SEC_WEBSOCKET_KEY", ""), validate=True)
        except (binascii.Error, ValueError):
            nonce = b""
        if len(nonce) != 16:
            raise HandshakeError(_BAD, "The Sec-WebSocket-Key is not 16 bytes in base64.")

    def accept(self, fields: list[tuple[str, str]]) -> ConnectionStream:
        """Send ``101 Switching Protocols``.

        :raises ConnectionError: the client is gone.
        :raises AssertionError: a response has begun.
        """
        key = self.environ["HTTP_SEC_WEBSOCKET_KEY"].encode("latin-1")
        exchange = self._exchange
        received = exchange.switch_protocols(
            [
                ("Upgrade", "websocket"),
                ("Connection", "Upgrade"),
                ("Sec-WebSocket-Accept", generate_accept_token(key).decode("ascii")),
                *fields,
            ]
        )
        exchange.deadline = NEVER  # the time for a request is not for a conversation
        return ConnectionStream(exchange.connection, received)

    def refuse(self, status: str, fields: list[tuple[str, str]], body: bytes) -> None:
        """Respond.

        :raises ConnectionError: the client is gone.
        :raises AssertionError: a response has begun.
        """
        exchange = self._exchange
        if exchange.started:
            raise AssertionError(f"{status}, but another response has begun")
        exchange.head = response_head(status, fields)
        exchange.send_whole(body)

    def count_sent(self, size: int) -> None:
        """For the access log."""
        self._exchange.count_sent(size)


class ConnectionStream:
    """The connection after the upgrade.

    :param received: what came behind the request.
    """

    __slots__ = ("_connection", "_ended", "_plain", "_received", "_sock")

    def __init__(self, connection: Connection, received: bytes) -> None:
        self._connection = connection
        self._sock = connection.sock
        self._plain = type(self._sock) is Socket
        self._received = received
        self._ended = False

    def receive(self, size: int) -> bytes:
        """See :meth:`Stream.receive <hubbub_server.websocket.Stream.receive>`."""
        if self._received:
            data, self._received = self._received[:size], self._received[size:]
            return data
        try:
            received: bytes = self._sock.recv(size)
        except OSError:
            return b""
        return received

    def send_nowait(self, data: bytes) -> int:
        """See :meth:`Stream.send_nowait <hubbub_server.websocket.Stream.send_nowait>`."""
        sock = self._sock
        sent: int
        if self._plain:
            try:
                sent = sock.send(data, _DONTWAIT)
            except BlockingIOError:
                return 0
            return sent
        limit = sock.gettimeout()
        sock.settimeout(0.0)  # for this call: no other greenlet runs in its course
        try:
            sent = sock.send(data)
        except (BlockingIOError, *_WANTS):
            return 0
        finally:
            sock.settimeout(limit)
        return sent

    def send(self, data: bytes) -> None:
        """See :meth:`Stream.send <hubbub_server.websocket.Stream.send>`."""
        self._connection.send(data)

    def end(self) -> None:
        """See :meth:`Stream.end <hubbub_server.websocket.Stream.end>`."""
        if self._ended:
            return
        self._ended = True
        sock = self._sock
        if not self._plain:
            send_close_notify(sock)
        try:
            _shutdown(sock, socket.SHUT_WR)
        except OSError:
            return  # it is gone already

    def abort(self) -> None:
        """See :meth:`Stream.abort <hubbub_server.websocket.Stream.abort>`."""
        self._ended = True
        self._connection.abort()


def serve_upgrade(exchange: Exchange, server: Server, respond: Callable[[], None]) -> None:
    """Have an application respond to a request that asks for a WebSocket; see
    :func:`~hubbub_server.websocket.handshake.serve`."""
    serve(Upgrade(exchange), server, respond)
