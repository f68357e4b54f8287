"""Servers that serve in C and such that do not."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from typing import Any

import hubbub
import pytest
from hubbub.io import Socket
from hubbub_server import WSGIServer

_NAMED = (b'REMOTE_PORT": "', b'SERVER_PORT": "', b'request_id": "', b'X_REQUEST_ID": "', b"X-Request-ID: ")
VARYING = re.compile(rb"Date: [^\r]+\r\n|" + b"|".join(rb"(?<=%b)\w+" % name for name in _NAMED))


@pytest.fixture
def errors() -> io.StringIO:
    """The error log of the test's servers."""
    return io.StringIO()


@pytest.fixture
def serve(hub: Any, errors: io.StringIO) -> Iterator[Callable[..., WSGIServer]]:
    """Start a WSGI server on a free port; stopped at the end of the test. Without ``native`` it serves in Python."""
    servers: list[WSGIServer] = []

    def make(application: Any, *, native: bool = True, **options: Any) -> WSGIServer:
        server = WSGIServer(("127.0.0.1", 0), application, **{"log": None, "error_log": errors, **options})
        servers.append(server)
        hubbub.configure(accelerators=native)
        try:
            server.start()
        finally:
            hubbub.configure(accelerators=None)
        return server

    yield make
    for server in servers:
        server.stop(0.2)
    hubbub.sleep(0)


def _converse(server: WSGIServer, pieces: list[bytes]) -> bytes:
    """Send all, piece by piece, end, and take all that comes."""
    data = b""
    with Socket() as client:
        client.settimeout(10.0)
        client.connect(server.address)
        try:
            for piece in pieces:
                client.sendall(piece)
            client.shutdown(1)
        except OSError:
            pass  # refused before the end
        try:
            while received := client.recv(65536):
                data += received
        except ConnectionResetError:
            data += b"(reset)"
    return VARYING.sub(b"", data)


@pytest.fixture
def converse() -> Callable[[WSGIServer, list[bytes]], bytes]:
    """What a client gets that sends some pieces and ends; what differs from run to run is left out."""
    return _converse
