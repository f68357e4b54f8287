"""Name servers, and asking one over TCP, for replies that do not fit into a datagram."""

from __future__ import annotations

import _socket
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from hubbub.io import Socket
from hubbub.lowlevel import monotonic

from hubbub_dns._wire import Malformed, Query, Reply, read_reply

__all__ = ["OpenSockets", "Server", "over_tcp", "sockaddr"]

_PORTS = {"tls": 853, "https": 443}


class Server(NamedTuple):
    """A name server."""

    address: str
    """Numeric."""
    port: int
    scheme: str = ""
    """Empty, ``tls`` or ``https``."""
    name: str = ""
    """With TLS: the name that the server's certificate must have; empty for its address."""
    path: str = ""
    """With HTTPS: the path of the URL that questions go to."""

    @classmethod
    def make(cls, server: str | tuple[str, int], port: int) -> Server:
        """A server from its description, checked.

        :param server: an address, an (address, port) pair, or ``tls://address:port#name`` or
            ``https://address:port/path#name``.
        :param port: the port of plain servers that are given without one.
        :raises ValueError: the address is not numeric.
        """
        try:
            made = _parse(cls, server, port)
            sockaddr(made)
        except (OSError, ValueError, OverflowError, TypeError):
            raise ValueError(f"a name server is a numeric address and a port, not {server!r}") from None
        return made


def _parse(cls: type[Server], server: str | tuple[str, int], port: int) -> Server:
    if not isinstance(server, str):
        return cls(*server)
    if "://" not in server:
        return cls(server, port)
    url = urlsplit(server)
    if url.scheme not in _PORTS or not f"{url.path}{url.query}{url.fragment}".isascii():
        raise ValueError(server)
    path = (url.path or "/dns-query") + (f"?{url.query}" if url.query else "")
    return cls(url.hostname or "", url.port or _PORTS[url.scheme], url.scheme, url.fragment, path)


@lru_cache(maxsize=100)
def sockaddr(server: Server) -> tuple[int, Any]:
    """Family and address for ``connect``; that of a link-local address holds the number of its scope."""
    entries = _socket.getaddrinfo(server.address, server.port, 0, socket.SOCK_DGRAM, 0, socket.AI_NUMERICHOST)
    return entries[0][0], entries[0][4]


class OpenSockets:
    """The sockets that questions use, so that they can be closed from outside of the greenlets that use them."""

    def __init__(self) -> None:
        self._sockets: set[Socket] = set()

    @contextmanager
    def open(self, family: int, kind: int) -> Iterator[Socket]:
        """A new socket, closed when the block ends."""
        sock = Socket(family, kind)
        self._sockets.add(sock)
        try:
            yield sock
        finally:
            self._sockets.discard(sock)
            sock.close()

    def close(self) -> None:
        """Close all sockets; greenlets that wait get EBADF."""
        while self._sockets:
            self._sockets.pop().close()


def over_tcp(sockets: OpenSockets, server: Server, query: Query, timeout: float) -> Reply:
    """Ask over TCP (RFC 7766).

    :param timeout: seconds in total.
    :raises TimeoutError: no reply came.
    :raises OSError: the server cannot be reached, or hung up.
    :raises Malformed: the server answered something else.
    """
    deadline = monotonic() + timeout
    family, address = sockaddr(server)
    with sockets.open(family, socket.SOCK_STREAM) as sock:
        sock.settimeout(timeout)
        sock.connect(address)
        wire = query.to_wire()
        sock.settimeout(_left(deadline))
        sock.sendall(len(wire).to_bytes(2) + wire)
        length = int.from_bytes(_receive(sock, 2, deadline))
        wire = _receive(sock, length, deadline)
    if not query.matches(wire):
        raise Malformed("the reply is to another query")
    return read_reply(wire)


def _receive(sock: Socket, count: int, deadline: float) -> bytes:
    data = b""
    while len(data) < count:
        sock.settimeout(_left(deadline))
        part = sock.recv(count - len(data))
        if not part:
            raise ConnectionResetError("the name server hung up")
        data += part
    return data


def _left(deadline: float) -> float:
    left = deadline - monotonic()
    if left <= 0:
        raise TimeoutError("timed out")
    return left
