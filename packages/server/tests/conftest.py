"""Servers on free ports, and clients that say exactly what a test wants."""

from __future__ import annotations

import io
import runpy
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h11
import hubbub
import pytest
from hubbub.io import Socket
from hubbub_server import WSGIServer

SUPPORT = str(Path(__file__).with_name("support"))
if SUPPORT not in sys.path:
    sys.path.append(SUPPORT)

from served_process import APPLICATION, Process  # noqa: E402  # found where the line above says

SECONDS = 10.0


class Client:
    """A plain client connection. Nothing in it waits for ever."""

    def __init__(self, address: Any) -> None:
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self.sock: Any = Socket(family, socket.SOCK_STREAM)
        self.sock.settimeout(SECONDS)
        self.sock.connect(address)
        self.received = b""

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def rest(self) -> bytes:
        """Everything until the server closes."""
        data = b""
        while piece := self.sock.recv(65536):
            data += piece
        return data

    def until(self, end: bytes) -> bytes:
        """Everything up to and with ``end``."""
        while end not in self.received:
            piece = self.sock.recv(65536)
            assert piece, f"closed before {end!r}: {self.received!r}"
            self.received += piece
        stop = self.received.index(end) + len(end)
        data, self.received = self.received[:stop], self.received[stop:]
        return data

    def response(self, method: str = "GET") -> Response:
        """The next response, as h11 reads it."""
        parser = h11.Connection(h11.CLIENT)
        parser.send(h11.Request(method=method, target="/", headers=[("Host", "x")]))
        parser.send(h11.EndOfMessage())
        if self.received:
            parser.receive_data(self.received)
        self.received = b""
        body = b""
        head: Any = None
        while True:
            event = parser.next_event()
            if event is h11.NEED_DATA:
                parser.receive_data(self.sock.recv(65536))
            elif isinstance(event, h11.Response):
                head = event
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, (h11.EndOfMessage, h11.ConnectionClosed)):
                self.received = parser.trailing_data[0]
                return Response(head, body)


class Response:
    """Status, headers (names in lower case) and body."""

    def __init__(self, head: h11.Response, body: bytes) -> None:
        self.status = head.status_code
        self.headers = {name.decode(): value.decode("latin-1") for name, value in head.headers}
        self.body = body


def hello(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """The application that says hello."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]


@pytest.fixture
def connect(hub: Any) -> Iterator[Callable[[Any], Client]]:
    """Connect to a server or an address; closed at the end of the test."""
    clients: list[Client] = []

    def make(target: Any) -> Client:
        client = Client(getattr(target, "address", target))
        clients.append(client)
        return client

    yield make
    for client in clients:
        client.sock.close()


@pytest.fixture
def failures(hub: Any, monkeypatch: pytest.MonkeyPatch) -> list[BaseException]:
    """The errors that are reported to the hub, instead of being printed."""
    seen: list[BaseException] = []
    monkeypatch.setattr(hub, "handle_error", lambda context, kind, error, traceback: seen.append(error))
    return seen


@pytest.fixture
def errors() -> io.StringIO:
    """The error log of the test's servers."""
    return io.StringIO()


@pytest.fixture
def any_hub() -> Iterator[Any]:
    """A fresh hub on the default loop, for what does not depend on the loop."""
    hubbub.get_hub().destroy()
    yield hubbub.get_hub()
    hubbub.get_hub().destroy()


@pytest.fixture(params=["python", "native"])
def both_paths(request: pytest.FixtureRequest) -> Iterator[None]:
    """Runs a test twice: with usual requests served in Python, and by hubbub-server-speed if that is installed."""
    if request.param == "native":
        pytest.importorskip("hubbub_server_speed")
    hubbub.configure(accelerators=request.param == "native")
    yield
    hubbub.configure(accelerators=None)


@pytest.fixture
def serve(hub: Any, errors: io.StringIO) -> Iterator[Callable[..., WSGIServer]]:
    """Start a WSGI server on a free port; stopped at the end of the test."""
    servers: list[WSGIServer] = []

    def make(application: Any = hello, **options: Any) -> WSGIServer:
        options.setdefault("log", None)
        options.setdefault("error_log", errors)
        server = WSGIServer(options.pop("listener", ("127.0.0.1", 0)), application, **options)
        servers.append(server)
        server.start()
        return server

    yield make
    for server in servers:
        server.stop(0.2)
    hubbub.sleep(0)


@pytest.fixture
def talk(connect: Any) -> Callable[[Any, bytes], bytes]:
    """Send bytes on a connection of their own, return all that comes until the server closes."""

    def make(server: Any, data: bytes) -> bytes:
        client = connect(server)
        client.send(data)
        answer: bytes = client.rest()
        return answer

    return make


@pytest.fixture
def http2(hub: Any) -> Iterator[Callable[..., Any]]:
    """Connect to a server as a client of HTTP/2; closed at the end of the test. Options are those of its class."""
    peers: list[Any] = []
    kind: Any = runpy.run_path(str(Path(__file__).with_name("http2peer.py")))["Peer"]

    def make(target: Any, **options: Any) -> Any:
        peers.append(kind(getattr(target, "address", target), **options))
        return peers[-1]

    yield make
    for peer in peers:
        peer.sock.close()


@pytest.fixture
def certificate() -> Any:
    """A fresh certificate for localhost, with its authority."""
    trustme = pytest.importorskip("trustme")
    authority = trustme.CA()
    return authority, authority.issue_cert("localhost", "127.0.0.1")


@pytest.fixture(scope="session")
def attacks() -> list[Any]:
    """The corpus of hostile requests."""
    corpus: list[Any] = runpy.run_path(str(Path(__file__).with_name("attacks.py")))["ATTACKS"]
    return corpus


@pytest.fixture(scope="session")
def peers() -> Any:
    """The module of peers of WebSockets."""
    pytest.importorskip("wsproto")
    return SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("peer.py"))))


@pytest.fixture
def raw(request: pytest.FixtureRequest, peers: Any, connect: Any, http2: Any) -> Callable[..., Any]:
    """Open a WebSocket whose client sends what a test says; over HTTP/2 if the test asks for that by this fixture's
    parameter."""
    if getattr(request, "param", "HTTP/1.1") == "HTTP/1.1":
        return lambda server, *options: peers.Raw(connect(server), *options)
    connection = pytest.importorskip("hubbub_server._http2.connection")

    def over_http2(server: Any, *options: Any) -> Any:
        server.http2, server._http2 = True, connection.Http2Connection
        return peers.Raw(peers.Tunnel(http2(server)), *options)

    return over_http2


@pytest.fixture
def peer(peers: Any, connect: Any) -> Callable[..., Any]:
    """Open a WebSocket of the websockets library."""
    return lambda server, *values, **options: peers.Peer(connect(server), *values, **options)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "site_app.py").write_text(APPLICATION)
    (tmp_path / "broken_app.py").write_text("import there_is_no_such_module\n")
    return tmp_path


@pytest.fixture(scope="session", autouse=True)
def signals_heard() -> None:
    """The processes that tests start hear the signals that this one was told to ignore, as one in the background is."""
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)  # a handler is not inherited


@pytest.fixture
def start(folder: Path) -> Iterator[Callable[..., Process]]:
    running: list[Process] = []

    def make(*arguments: str, **options: Any) -> Process:
        process = Process(folder, *arguments, **options)
        running.append(process)
        return process

    yield make
    for process in running:
        process.close()
        sys.stderr.write(process.said)  # shown if the test has failed
