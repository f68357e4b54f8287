"""The patches: the standard library's own clients and servers become cooperative."""

from __future__ import annotations

import importlib
import socket as stdlib_socket
import ssl as stdlib_ssl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import hubbub
import pytest
from hubbub import plugins
from hubbub.lowlevel import Hub
from hubbub_net import patches, socket, ssl

PATCHES = [patches.socket, patches.ssl, patches.select, patches.selectors]


@contextmanager
def applied() -> Iterator[None]:
    """Sets what the patches say, and sets it back."""
    plan = [patch.replacements() for patch in PATCHES]
    monkey = pytest.MonkeyPatch()
    try:
        for replacements in plan:
            for module, attributes in replacements.items():
                for path, value in attributes.items():
                    *owners, name = path.split(".")
                    owner: Any = importlib.import_module(module)
                    for step in owners:
                        owner = getattr(owner, step)
                    monkey.setattr(owner, name, value)
        yield
    finally:
        monkey.undo()


@pytest.fixture
def patched(hub: Hub) -> Iterator[None]:
    with applied():
        yield


def test_patches_are_found_by_entry_point() -> None:
    """The four patches are registered under the names of their modules."""
    for patch in PATCHES:
        assert plugins.load("hubbub.patches", patch.module) is patch


def test_names_that_are_replaced_exist() -> None:
    """A patch replaces only what the running interpreter has, and leaves the lookup of names alone."""
    for patch in PATCHES:
        for module, attributes in patch.replacements().items():
            for path in attributes:
                owner: Any = importlib.import_module(module)
                for step in path.split("."):
                    owner = getattr(owner, step)
    assert "getaddrinfo" not in patches.socket.replacements()["socket"]


def test_sockets_of_the_standard_library_are_cooperative(patched: None) -> None:
    """``socket.socket`` and the functions that make sockets give cooperative ones."""
    one, other = stdlib_socket.socketpair()
    with one, other, stdlib_socket.socket() as third:
        assert {type(sock) for sock in (one, other, third)} == {socket.socket}


def test_a_class_put_in_the_place_of_ours_is_used(patched: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who replaces ``socket.socket`` after patching, as libraries for proxies do, is asked by ``create_connection``."""
    made = []

    class Proxied(socket.socket):
        __slots__ = ()

        def connect(self, address: Any, /) -> None:
            made.append(address)

    monkeypatch.setattr(stdlib_socket, "socket", Proxied)
    with stdlib_socket.create_connection(("127.0.0.1", 9), timeout=3) as sock:
        assert (type(sock), sock.gettimeout(), made) == (Proxied, 3.0, [("127.0.0.1", 9)])


def test_contexts_made_before_patching_cooperate(hub: Hub, certificates: Any) -> None:
    """A context of the standard library that was made earlier wraps cooperatively, and its settings do not recurse."""
    earlier = stdlib_ssl.create_default_context()
    certificates.authority.configure_trust(earlier)
    with applied():
        assert earlier.options == earlier.options
        earlier.minimum_version = stdlib_ssl.TLSVersion.TLSv1_2
        one, other = stdlib_socket.socketpair()
        wrapping = hubbub.spawn(certificates.server.wrap_socket, one, server_side=True)
        with earlier.wrap_socket(other, server_hostname="localhost") as client, wrapping.get(timeout=5) as server:
            assert isinstance(client, ssl.SSLSocket)
            assert isinstance(client, stdlib_ssl.SSLSocket)
            reader = hubbub.spawn(client.recv, 10)
            hubbub.sleep(0)
            server.sendall(b"hello")
            assert reader.get(timeout=5) == b"hello"


@pytest.mark.parametrize("secure", [False, True])
def test_urllib_against_http_server(hub: Hub, certificates: Any, ticks: list[int], secure: bool) -> None:
    """Twenty greenlets fetch by ``urllib`` from the threadless ``http.server`` in the same thread, plain and by TLS."""
    import http.server
    import urllib.request

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            hubbub.sleep(0.01)
            body = self.path.encode() * 1000
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            self.close_connection = True

        def log_message(self, *_: Any) -> None:
            pass

    with applied(), ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=100))
        port = listener.getsockname()[1]

        def handle(sock: Any, address: Any) -> None:
            with sock:
                if secure:
                    sock = certificates.server.wrap_socket(sock, server_side=True)
                with sock:
                    Handler(sock, address, None)  # type: ignore[arg-type]  # no server object is needed

        def accept() -> None:
            while True:
                hubbub.spawn(handle, *listener.accept())

        stack.callback(hubbub.spawn(accept).kill)
        context = stdlib_ssl.create_default_context() if secure else None
        if context is not None:
            certificates.authority.configure_trust(context)

        def fetch(number: int) -> bool:
            scheme = "https" if secure else "http"
            url = f"{scheme}://localhost:{port}/{number}"
            with urllib.request.urlopen(url, timeout=10, context=context) as answer:
                return bool(answer.read() == f"/{number}".encode() * 1000)

        before = ticks[0]
        fetching = [hubbub.spawn(fetch, number) for number in range(20)]
        hubbub.joinall(fetching, timeout=20, raise_error=True)
        assert all(greenlet.get() for greenlet in fetching)
        assert ticks[0] > before


def test_socketserver_waits_cooperatively(patched: None) -> None:
    """``socketserver`` serves in a greenlet, although it chose its selector before the patch."""
    import socketserver

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(self.rfile.readline())

    with applied(), socketserver.TCPServer(("127.0.0.1", 0), Handler) as server:
        serving = hubbub.spawn(server.serve_forever)
        with stdlib_socket.create_connection(server.server_address) as sock:  # type: ignore[arg-type]  # it is IPv4
            sock.sendall(b"hello\n")
            assert sock.recv(10) == b"hello\n"
        stopping = hubbub.spawn(setattr, server, "_BaseServer__shutdown_request", True)
        stopping.join()
        serving.join(timeout=5)
        assert serving.dead


def test_a_new_hub_after_patching_uses_the_originals(patched: None) -> None:
    """A thread that makes its hub when everything is patched has a loop that works."""
    pool = hubbub.get_hub().threadpool

    def other_thread() -> str:
        one, other = stdlib_socket.socketpair()
        with one, other:
            reader = hubbub.spawn(one.recv, 10)
            hubbub.sleep(0.001)
            other.send(b"hello")
            data = reader.get(timeout=5)
        hubbub.get_hub().destroy()
        return str(data)

    assert pool.apply(other_thread) == "b'hello'"
