"""Certificates, servers and peers for the tests."""

from __future__ import annotations

import ssl as _ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import hubbub
import pytest
import trustme
from hubbub.lowlevel import Hub
from hubbub_net import ssl
from hubbub_net.socket import create_server, socket


class Certificates(NamedTuple):
    """An authority, a server certificate for ``localhost``, and contexts that use them."""

    authority: trustme.CA
    server: ssl.SSLContext
    client: ssl.SSLContext
    file: str
    chain: str


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def leaf(authority: trustme.CA) -> trustme.LeafCert:
    return authority.issue_cert("localhost", "127.0.0.1", "::1")


@pytest.fixture
def certificates(authority: trustme.CA, leaf: trustme.LeafCert, tmp_path: Path) -> Certificates:
    server = ssl.SSLContext(_ssl.PROTOCOL_TLS_SERVER)
    leaf.configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    file, chain = tmp_path / "authority.pem", tmp_path / "server.pem"
    authority.cert_pem.write_to_path(file)
    leaf.private_key_and_cert_chain_pem.write_to_path(chain)
    return Certificates(authority, server, client, str(file), str(chain))


Serve = Callable[..., tuple[Any, ...]]


@pytest.fixture
def serve(hub: Hub) -> Iterator[Serve]:
    """``serve(handler)`` listens on a free port, runs ``handler(sock)`` for each connection, returns the address."""
    with ExitStack() as stack:

        def start(handler: Callable[[socket], Any], host: str = "127.0.0.1", family: int = 2) -> tuple[Any, ...]:
            listener = stack.enter_context(create_server((host, 0), family=family))
            handlers: list[hubbub.Greenlet[Any]] = []
            accepting = hubbub.spawn(_accept, listener, handler, handlers)
            stack.callback(hubbub.killall, handlers)
            stack.callback(accepting.kill)
            return tuple(listener.getsockname())

        yield start


def _accept(listener: socket, handler: Callable[[socket], Any], handlers: list[hubbub.Greenlet[Any]]) -> None:
    while True:
        sock, _ = listener.accept()
        handlers.append(hubbub.spawn(_handle, sock, handler))


def _handle(sock: socket, handler: Callable[[socket], Any]) -> None:
    with sock:
        handler(sock)


@pytest.fixture
def ticks(hub: Hub) -> Iterator[list[int]]:
    """Grows while other greenlets get to run."""
    count = [0]

    def tick() -> None:
        while True:
            count[0] += 1
            hubbub.sleep(0.001)

    ticking = hubbub.spawn(tick)
    yield count
    ticking.kill()
