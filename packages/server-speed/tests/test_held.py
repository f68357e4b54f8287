"""Pieces of responses on many connections at a time, which the kernel may hold for a moment."""

from __future__ import annotations

from typing import Any

import hubbub
import pytest
from hubbub.event import Event
from hubbub.io import Socket

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
CLIENTS = 5
PIECES = 20


@pytest.mark.parametrize("native", [True, False])
def test_many_at_a_time(serve: Any, native: bool) -> None:
    """What was given before a wait arrives while the application waits, on each connection; then nobody is watched."""
    go_on = Event()

    def application(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [])
        for number in range(PIECES):
            yield b"%d," % number
        go_on.wait(10.0)
        yield b"end"

    server = serve(application, native=native)
    expected = b"".join(b"%d," % number for number in range(PIECES))
    for _ in range(3):
        go_on.clear()
        clients = []
        for _ in range(CLIENTS):
            client = Socket()
            client.settimeout(10.0)
            client.connect(server.address)
            clients.append((client, bytearray()))
        for client, _ in clients:
            client.sendall(REQUEST)
        for client, received in clients:
            while body_of(received) != expected:
                received += client.recv(65536)
        assert not left(server)
        go_on.set()
        for client, received in clients:
            while not received.endswith(b"0\r\n\r\n"):
                received += client.recv(65536)
            assert body_of(received) == expected + b"end"
            client.close()
        assert not left(server)


def left(server: Any) -> list[Any]:
    """Those that are watched still, once callbacks had their turn."""
    for _ in range(100):
        if not server.clock.watched:
            break
        hubbub.sleep(0)
    watched: list[Any] = server.clock.watched
    return watched


def body_of(received: bytearray) -> bytes:
    """The chunks that are there, whole."""
    lines = bytes(received).partition(b"\r\n\r\n")[2].split(b"\r\n")
    return b"".join(lines[1:-1:2])
