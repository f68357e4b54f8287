"""TLS with the methods in C, and with those in Python."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import hubbub
import pytest
import trustme
from hubbub.lowlevel import Hub
from hubbub_net import acceleration, ssl
from hubbub_net.socket import socketpair


def set_methods(kind: str) -> None:
    """Has TLS run in C (``c``) or in Python from now on."""
    acceleration.slow_down()
    hubbub.configure(accelerators=kind == "c")
    assert acceleration.accelerate() is (kind == "c")
    hubbub.configure(accelerators=None)


@pytest.fixture(params=["c", "python"])
def methods(request: pytest.FixtureRequest) -> Iterator[str]:
    """Runs a test twice: what it says holds for both."""
    set_methods(request.param)
    yield request.param
    acceleration.slow_down()


@pytest.fixture
def choose() -> Iterator[Callable[[str], None]]:
    """``choose("c")`` and ``choose("python")``."""
    yield set_methods
    acceleration.slow_down()


@pytest.fixture
def in_c() -> Iterator[None]:
    """Runs a test in C."""
    set_methods("c")
    yield
    acceleration.slow_down()


@pytest.fixture(scope="session")
def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's and a client's."""
    authority = trustme.CA()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.issue_cert("localhost").configure_cert(server)
    authority.configure_trust(client)
    return server, client


@pytest.fixture
def pair(hub: Hub, contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> Iterator[Callable[[], tuple[Any, Any]]]:
    """``pair()`` makes a TLS connection: a server's socket and a client's."""
    with ExitStack() as stack:

        def make() -> tuple[Any, Any]:
            one, other = socketpair()
            shaking = hubbub.spawn(contexts[0].wrap_socket, one, server_side=True)
            client = stack.enter_context(contexts[1].wrap_socket(other, server_hostname="localhost"))
            server = stack.enter_context(shaking.get(timeout=10))
            for sock in (server, client):
                sock.settimeout(10)
            return server, client

        yield make
