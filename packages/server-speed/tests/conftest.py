"""Servers that serve in C and such that do not."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any

import hubbub
import pytest
from hubbub_server import WSGIServer


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
