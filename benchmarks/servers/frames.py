"""The client's side of WebSocket for measurements: many connections, frames as they are, an epoll loop."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["MESSAGE", "broadcasts", "opened", "sent"]

REQUEST = (
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
BODY = b"x" * 64
SENT = b"\x81\xc0\x00\x00\x00\x00" + BODY
"""A text in a frame of a client, masked with zeros, which leave it as it is."""
MESSAGE = b"\x81\x40" + BODY
"""The same in a frame of a server."""


def sent(_: int) -> bytes:
    """What a client sends."""
    return SENT


@contextmanager
def opened(port: int, count: int) -> Iterator[list[socket.socket]]:
    """So many WebSockets, until the block ends."""
    socks = []
    for _ in range(count):
        sock = socket.create_connection(("127.0.0.1", port), timeout=30)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall(REQUEST)
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            piece = sock.recv(4096)
            if not piece:
                raise RuntimeError(f"not opened: {head!r}")
            head += piece
        if not head.startswith(b"HTTP/1.1 101 "):
            raise RuntimeError(f"not opened: {head!r}")
        socks.append(sock)
    try:
        yield socks
    finally:
        for sock in socks:
            sock.close()


def broadcasts(socks: list[socket.socket], rounds: int) -> list[float]:
    """The first client says something ``rounds`` times; the seconds until the last one has heard it."""
    poller = select.epoll()
    by_number = {sock.fileno(): sock for sock in socks}
    for number in by_number:
        poller.register(number, select.EPOLLIN)
    times = []
    for _ in range(rounds):
        left = dict.fromkeys(by_number, len(MESSAGE))
        began = time.perf_counter()
        socks[0].sendall(SENT)
        while left:
            for number, _ in poller.poll(30):
                left[number] -= len(by_number[number].recv(4096))
                if not left[number]:
                    del left[number]
        times.append(time.perf_counter() - began)
    poller.close()
    return times
