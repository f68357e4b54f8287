"""Certificates, servers and peers for the tests."""

from __future__ import annotations

import socket as stdlib
import ssl as _ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import hubbub
import pytest
import trustme
from hubbub.lowlevel import Hub
from hubbub_net import acceleration, ssl
from hubbub_net.socket import create_server, socket


class Certificates(NamedTuple):
    """An authority, a server certificate for ``localhost``, and contexts that use them."""

    authority: trustme.CA
    server: ssl.SSLContext
    client: ssl.SSLContext
    file: str
    chain: str
    bundle: str


@pytest.fixture(params=["python", "c"])
def tls_methods(request: pytest.FixtureRequest) -> Iterator[str]:
    """Runs a test twice: with the methods of TLS in Python, and with those of hubbub-net-speed if that is installed."""
    if request.param == "c":
        pytest.importorskip("hubbub_net_speed")
    acceleration.slow_down()
    hubbub.configure(accelerators=None if request.param == "c" else False)
    acceleration.accelerate()
    hubbub.configure(accelerators=None)
    yield request.param
    acceleration.slow_down()


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
    bundle = tmp_path / "bundle.pem"  # the server's own, and what verifies it
    bundle.write_bytes(chain.read_bytes() + file.read_bytes())
    return Certificates(authority, server, client, str(file), str(chain), str(bundle))


class FakeResolver:
    """Knows a few names, and keeps what it was asked."""

    def __init__(self, names: dict[str, list[str]]) -> None:
        self.names = names
        self.asked: list[str] = []

    def getaddrinfo(
        self, host: str, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
    ) -> list[Any]:
        self.asked.append(host)
        found: list[Any] = []
        for address in self.names.get(host, ()):
            own = stdlib.AF_INET6 if ":" in address else stdlib.AF_INET
            if family in (0, own):
                found += stdlib.getaddrinfo(address, port, own, type, proto, flags)
        if not found:
            raise stdlib.gaierror(stdlib.EAI_NONAME, "Name or service not known")
        return found

    def close(self) -> None:
        """The hub does this when it ends."""


@pytest.fixture
def know(hub: Hub) -> Callable[[dict[str, list[str]]], FakeResolver]:
    """``know(names)`` makes the hub resolve those names and no others."""

    def install(names: dict[str, list[str]]) -> FakeResolver:
        fake = FakeResolver(names)
        hub.resolver = fake  # type: ignore[assignment]  # nothing else is asked of it
        return fake

    return install


Serve = Callable[..., tuple[Any, ...]]


@pytest.fixture
def serve(hub: Hub) -> Iterator[Serve]:
    """``serve(handler)`` listens on a free port, runs ``handler(sock)`` for each connection, returns the address."""
    with ExitStack() as stack:

        def start(handler: Callable[[socket], Any], host: str = "127.0.0.1", family: int = 2) -> tuple[Any, ...]:
            listener = stack.enter_context(create_server((host, 0), family=family))
            handlers: list[hubbub.Greenlet] = []
            accepting = hubbub.spawn(_accept, listener, handler, handlers)
            stack.callback(hubbub.killall, handlers)
            stack.callback(accepting.kill)
            return tuple(listener.getsockname())

        yield start


def _accept(listener: socket, handler: Callable[[socket], Any], handlers: list[hubbub.Greenlet]) -> None:
    while True:
        sock, _ = listener.accept()
        handlers.append(hubbub.spawn(_handle, sock, handler))


def _handle(sock: socket, handler: Callable[[socket], Any]) -> None:
    with sock:
        handler(sock)


@pytest.fixture
def meanwhile(hub: Hub) -> Callable[..., None]:
    """Calls a function in another greenlet, after some turns: what waits for its effect and lets nobody run hangs."""

    def later(function: Callable[..., object], *args: object) -> None:
        def body() -> None:
            for _ in range(3):
                hubbub.sleep(0.001)
            function(*args)

        hubbub.spawn(body)

    return later


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
