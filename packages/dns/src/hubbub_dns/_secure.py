"""Name servers behind TLS: DNS over TLS (RFC 7858) and over HTTPS (RFC 8484). Connections are kept for a while."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Callable
from typing import Any

from hubbub.io import Socket
from hubbub.lowlevel import monotonic

from hubbub_dns._servers import Server, sockaddr
from hubbub_dns._wire import Malformed, Query, Reply, read_reply

__all__ = ["SecureServers"]

_MAX_IDLE, _IDLE_SECONDS = 8, 10.0
_MAX_HEAD, _MAX_MESSAGE = 16_384, 65_535
_LENGTH = re.compile(rb"^content-length:[ \t]*(\d{1,9})[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)
_CHUNKED = re.compile(rb"^transfer-encoding:[ \t]*chunked[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)
_CLOSE = re.compile(rb"^connection:[ \t]*close[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)


class SecureServers:
    """Asks name servers behind TLS, and holds idle connections to them. Belongs to one hub.

    :param context: None for one that trusts the system's authorities, by :func:`ssl.create_default_context`.
    """

    def __init__(self, context: ssl.SSLContext | None) -> None:
        self._context = context
        self._idle: dict[Server, list[_Connection]] = {}
        self._busy: set[_Connection] = set()

    def ask(self, server: Server, query: Query, timeout: float) -> Reply:
        """Put a question to one server.

        :param timeout: seconds in total.
        :raises TimeoutError: no reply came.
        :raises OSError: the server cannot be reached, or cannot prove its name (:exc:`ssl.SSLError`).
        :raises Malformed: the server sent something else than a reply.
        """
        deadline = monotonic() + timeout
        converse = _over_https if server.scheme == "https" else _over_tls
        connection = self._take(server)
        if connection is not None:
            try:
                return self._converse(connection, converse, query, deadline)
            except TimeoutError:
                raise
            except OSError:
                pass  # the server has closed the idle connection meanwhile
        return self._converse(self._connection(server), converse, query, deadline)

    def _converse(
        self, connection: _Connection, converse: Callable[[_Connection, Query], bytes], query: Query, deadline: float
    ) -> Reply:
        connection.deadline = deadline
        self._busy.add(connection)
        try:
            if not connection.secured:
                connection.handshake()
            wire = converse(connection, query)
            if not query.matches(wire):
                raise Malformed("the reply is to another query")
            reply = read_reply(wire)
        except BaseException:
            connection.close()
            raise
        finally:
            self._busy.discard(connection)
        self._put_back(connection)
        return reply

    def _connection(self, server: Server) -> _Connection:
        if self._context is None:
            self._context = ssl.create_default_context()
        return _Connection(server, self._context)

    def _take(self, server: Server) -> _Connection | None:
        idle = self._idle.get(server, [])
        while idle:
            connection = idle.pop()
            if monotonic() - connection.used < _IDLE_SECONDS:
                return connection
            connection.close()
        return None

    def _put_back(self, connection: _Connection) -> None:
        idle = self._idle.setdefault(connection.server, [])
        if connection.ended or len(idle) >= _MAX_IDLE:
            connection.close()
        else:
            connection.used = monotonic()
            idle.append(connection)

    def close(self) -> None:
        """Close all connections; greenlets that wait get EBADF."""
        while self._busy:
            self._busy.pop().close()
        for idle in self._idle.values():
            while idle:
                idle.pop().close()


class _Connection:
    """A TLS connection: OpenSSL works in memory, a cooperative socket carries the ciphertext."""

    def __init__(self, server: Server, context: ssl.SSLContext) -> None:
        self.server = server
        self.deadline = 0.0
        self.used = 0.0
        self.secured = False
        self.ended = False
        self._buffer = b""
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server.name or server.address)
        self._sock = Socket(sockaddr(server)[0], socket.SOCK_STREAM)

    def handshake(self) -> None:
        """Connect, and check the server's certificate."""
        self._sock.settimeout(self._left())
        self._sock.connect(sockaddr(self.server)[1])
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._do(self._tls.do_handshake)
        self.secured = True

    def close(self) -> None:
        """Close without close_notify, which is not needed: each message tells its length."""
        self._sock.close()

    def _left(self) -> float:
        left = self.deadline - monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        return left

    def _do(self, operation: Callable[..., Any], *args: Any) -> Any:
        while True:
            try:
                result = operation(*args)
            except ssl.SSLWantReadError:
                self._flush()
                self._sock.settimeout(self._left())
                data = self._sock.recv(16_384)
                if not data:
                    raise ConnectionResetError("the name server hung up") from None
                self._incoming.write(data)
            else:
                self._flush()
                return result

    def _flush(self) -> None:
        if self._outgoing.pending:
            self._sock.settimeout(self._left())
            self._sock.sendall(self._outgoing.read())

    def send(self, data: bytes) -> None:
        """Send all of ``data``."""
        self._do(self._tls.write, data)

    def _more(self) -> None:
        data = self._do(self._tls.read, 16_384)
        if not data:
            raise ConnectionResetError("the name server hung up")
        self._buffer += data

    def receive(self, count: int) -> bytes:
        """Receive exactly ``count`` bytes."""
        while len(self._buffer) < count:
            self._more()
        data, self._buffer = self._buffer[:count], self._buffer[count:]
        return data

    def receive_until(self, end: bytes, limit: int) -> bytes:
        """Receive up to ``end``; returns what comes before it."""
        while (at := self._buffer.find(end)) < 0:
            if len(self._buffer) > limit:
                raise Malformed("the reply of the HTTP server is too long")
            self._more()
        return self.receive(at + len(end))[:at]


def _over_tls(connection: _Connection, query: Query) -> bytes:
    wire = query.to_wire()
    connection.send(len(wire).to_bytes(2) + wire)
    return connection.receive(int.from_bytes(connection.receive(2)))


def _over_https(connection: _Connection, query: Query) -> bytes:
    server, wire = connection.server, query.to_wire()
    head = (
        f"POST {server.path} HTTP/1.1\r\nHost: {_authority(server)}\r\nAccept: application/dns-message\r\n"
        f"Content-Type: application/dns-message\r\nContent-Length: {len(wire)}\r\n\r\n"
    )
    connection.send(head.encode("ascii") + wire)
    answer = connection.receive_until(b"\r\n\r\n", _MAX_HEAD)
    if not re.match(rb"HTTP/1\.[01] 200\b", answer):
        raise Malformed("the HTTP server refuses")
    if answer.startswith(b"HTTP/1.0") or _CLOSE.search(answer):
        connection.ended = True
    length = _LENGTH.search(answer)
    if _CHUNKED.search(answer):
        return _chunks(connection)
    if length is None or int(length[1]) > _MAX_MESSAGE:
        raise Malformed("the HTTP server tells no length, or one that no DNS message has")
    return connection.receive(int(length[1]))


def _chunks(connection: _Connection) -> bytes:
    body = b""
    while True:
        line = connection.receive_until(b"\r\n", 1000).partition(b";")[0].strip()
        if not re.fullmatch(rb"[0-9A-Fa-f]{1,8}", line) or len(body) + int(line, 16) > _MAX_MESSAGE:
            raise Malformed("a chunk without a proper length")
        if not (size := int(line, 16)):
            break
        body += connection.receive(size + 2)[:size]
    while connection.receive_until(b"\r\n", _MAX_HEAD):
        pass  # trailers
    return body


def _authority(server: Server) -> str:
    host = server.name or (f"[{server.address}]" if ":" in server.address else server.address)
    return host if server.port == 443 else f"{host}:{server.port}"
