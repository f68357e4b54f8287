"""WebSockets of ASGI applications, behind hubbub-server."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Iterator
from typing import Any

import hubbub
import pytest
from hubbub.event import Event
from hubbub.io import Socket
from hubbub_asyncio.asgi import ASGI

server = pytest.importorskip("hubbub_server")
pytest.importorskip("wsproto")
client_module = pytest.importorskip("websockets.client")
SECONDS = 10.0


class Peer:
    """A client of the websockets library, on a connection of ours."""

    def __init__(self, address: Any, **options: Any) -> None:
        from websockets.uri import parse_uri

        self.sock = Socket()
        self.sock.settimeout(SECONDS)
        self.sock.connect(address)
        self.protocol = client_module.ClientProtocol(parse_uri("ws://x/a%20b?q=1"), max_size=None, **options)
        self.protocol.send_request(self.protocol.connect())
        self.events: list[Any] = []
        self.response = self.event()

    def event(self) -> Any:
        """The next event; None at the end."""
        while True:
            for data in self.protocol.data_to_send():
                if data:
                    self.sock.sendall(data)
            self.events += self.protocol.events_received()
            if self.events:
                return self.events.pop(0)
            data = self.sock.recv(65536)
            if not data:
                self.protocol.receive_eof()
                return None
            self.protocol.receive_data(data)

    def send(self, text: str) -> None:
        self.protocol.send_text(text.encode())
        for data in self.protocol.data_to_send():
            self.sock.sendall(data)

    def closing(self) -> tuple[int, str] | None:
        """Read to the end; what the server's Close frame says."""
        while self.event() is not None:
            pass
        said = self.protocol.close_rcvd
        return None if said is None else (said.code, said.reason)


@pytest.fixture
def serve(hub: Any) -> Iterator[Callable[..., Any]]:
    """Serve an application until the end of the test."""
    servers: list[Any] = []

    def make(application: Any, **options: Any) -> Any:
        log = io.StringIO()
        made = server.WSGIServer(("127.0.0.1", 0), ASGI(application), log=None, error_log=log, **options)
        made.start()
        made.text = log
        servers.append(made)
        return made

    yield make
    for each in servers:
        each.stop(0.5)


@pytest.fixture
def connect(hub: Any) -> Iterator[Callable[..., Peer]]:
    """Open a WebSocket; its connection is closed at the end of the test."""
    peers: list[Peer] = []

    def make(made: Any, **options: Any) -> Peer:
        peers.append(Peer(made.address, **options))
        return peers[-1]

    yield make
    for peer in peers:
        peer.sock.close()


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Sends back each message."""
    assert await receive() == {"type": "websocket.connect"}
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message.get("text"), "bytes": message.get("bytes")})


def test_scope(serve: Any, connect: Any) -> None:
    """The scope says what the request says."""
    seen: list[Any] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope)
        await receive()
        await send({"type": "websocket.accept", "subprotocol": "b", "headers": [(b"x-own", b"yes")]})

    peer = connect(serve(application), subprotocols=["a", "b"])
    assert peer.response.headers["X-Own"] == "yes"
    assert peer.protocol.subprotocol == "b"
    assert peer.closing() == (1000, "")
    scope = seen[0]
    assert {key: scope[key] for key in ("type", "scheme", "path", "raw_path", "query_string", "subprotocols")} == {
        "type": "websocket",
        "scheme": "ws",
        "path": "/a b",
        "raw_path": b"/a%20b",
        "query_string": b"q=1",
        "subprotocols": ["a", "b"],
    }
    assert "method" not in scope
    assert (b"host", b"x") in scope["headers"]


def test_messages(serve: Any, connect: Any) -> None:
    """Texts and bytes go both ways; the client's end is a disconnect with its code and reason."""
    seen: list[Any] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await echo(scope, lambda: noted(receive), send)

    async def noted(receive: Any) -> Any:
        seen.append(await receive())
        return seen[-1]

    made = serve(application)
    peer = connect(made)
    for number in range(5):
        peer.send(f"text {number}")
        assert peer.event().data == f"text {number}".encode()
    peer.protocol.send_binary(b"bytes")
    assert peer.event().data == b"bytes"
    peer.protocol.send_close(4000, "enough")
    assert peer.closing() == (4000, "")
    hubbub.sleep(0.01)
    assert seen[-1] == {"type": "websocket.disconnect", "code": 4000, "reason": "enough"}
    assert made.text.getvalue() == ""


def test_lost_client(serve: Any, connect: Any) -> None:
    """A client that is gone is 1006; sending raises an OSError then, which is no failure."""
    ended = Event()

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        assert (await receive())["code"] == 1006
        assert (await receive())["code"] == 1006
        ended.set()
        await send({"type": "websocket.send", "text": "too late"})

    made = serve(application)
    connect(made).sock.close()
    assert ended.wait(SECONDS)
    hubbub.sleep(0.01)
    assert made.text.getvalue() == ""


def test_closed_by_application(serve: Any, connect: Any) -> None:
    """Code and reason reach the client."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": "last"})
        await send({"type": "websocket.close", "code": 4001, "reason": "done"})
        with pytest.raises(OSError):
            await send({"type": "websocket.send", "text": "too late"})

    peer = connect(serve(application))
    assert peer.event().data == b"last"
    assert peer.closing() == (4001, "done")


def test_ends_while_it_receives(serve: Any, connect: Any) -> None:
    """An application whose task ends while a receive of it is pending closes the WebSocket."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(receive(), 0.02)

    assert connect(serve(application)).closing() == (1000, "")


def test_cancelled_receive(serve: Any, connect: Any) -> None:
    """A receive that is cancelled loses no message."""
    waiting = Event()

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(receive(), 0.01)
        waiting.set()
        await asyncio.sleep(0.02)
        await send({"type": "websocket.send", "text": (await receive())["text"]})

    peer = connect(serve(application))
    assert waiting.wait(SECONDS)
    peer.send("kept")
    assert peer.event().data == b"kept"


@pytest.mark.parametrize("code", [403, 401])
def test_denied(serve: Any, connect: Any, code: int) -> None:
    """An application may refuse: 403, or a response of its own."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        if code == 403:
            await send({"type": "websocket.close"})
            return
        await send({"type": "websocket.http.response.start", "status": code, "headers": [(b"x-own", b"yes")]})
        await send({"type": "websocket.http.response.body", "body": b"not ", "more_body": True})
        await send({"type": "websocket.http.response.body", "body": b"you"})

    response = connect(serve(application)).response
    assert response.status_code == code
    if code == 401:
        assert (response.headers["X-Own"], response.body) == ("yes", b"not you")


def test_failures(serve: Any, connect: Any) -> None:
    """An application that fails, or ends without an answer, is 500 before it has accepted, and 1011 afterwards."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        if how == "accepts":
            await send({"type": "websocket.accept"})
        if how != "ends":
            raise LookupError(how)

    made = serve(application)
    for how in ("fails", "ends", "accepts"):
        peer = connect(made)
        if how == "accepts":
            assert peer.closing() == (1011, "")
        else:
            assert peer.response.status_code == 500
    hubbub.sleep(0.01)
    log = made.text.getvalue()
    assert "LookupError: fails" in log
    assert "LookupError: accepts" in log
    assert "neither accepted nor closed" in log


WRONG = [
    [{"type": "websocket.send", "text": "x"}],
    [{"type": "http.response.start", "status": 200}],
    [{"type": "websocket.http.response.body", "body": b""}],
    [{"type": "websocket.accept"}, {"type": "websocket.accept"}],
    [{"type": "websocket.accept"}, {"type": "websocket.http.response.start", "status": 200}],
    [{"type": "websocket.http.response.start", "status": 200}, {"type": "websocket.accept"}],
    [{"type": "websocket.close"}, {"type": "websocket.accept"}],
]


@pytest.mark.parametrize("messages", WRONG)
def test_wrong_messages(serve: Any, connect: Any, messages: list[Any]) -> None:
    """A message that is not allowed raises RuntimeError."""
    raised = Event()

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        for message in messages[:-1]:
            await send(message)
        with pytest.raises(RuntimeError):
            await send(messages[-1])
        raised.set()

    peer = connect(serve(application))
    assert raised.wait(SECONDS)
    peer.sock.close()


def test_back_pressure(serve: Any, connect: Any) -> None:
    """An application that sends faster than its client reads waits, and all arrives in order."""
    sent: list[int] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        for number in range(200):
            await send({"type": "websocket.send", "bytes": b"%04d" % number + bytes(100000)})
            sent.append(number)

    made = serve(application)
    peer = connect(made)
    for number in range(200):
        assert bytes(peer.event().data[:4]) == b"%04d" % number
        assert len(sent) < number + 150


def test_cancelled_send(serve: Any, connect: Any) -> None:
    """A send that is cancelled while it waits for room is sent whole; those after it wait, and can be cancelled."""
    given_up: list[int] = []
    go_on = Event()

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        for number in range(100):
            try:
                message = {"type": "websocket.send", "bytes": b"%04d" % number + bytes(100000)}
                await asyncio.wait_for(send(message), 0.005)
            except TimeoutError:
                given_up.append(number)
        go_on.set()
        await send({"type": "websocket.send", "text": "the last"})

    peer = connect(serve(application))
    assert go_on.wait(SECONDS)
    numbers = []
    while isinstance(data := peer.event().data, bytes | bytearray) and len(data) > 1000:
        numbers.append(int(bytes(data[:4])))
    assert bytes(data) == b"the last"
    assert numbers == list(range(len(numbers)))  # each that was sent, in order and whole
    assert given_up
    assert len(set(numbers) & set(given_up)) <= 1  # the one that waited for room when it was cancelled


def test_stop(serve: Any, connect: Any) -> None:
    """A server that stops closes with 1001, which the application receives; one that goes on is cancelled."""
    ends: list[Any] = []
    ready = Event()

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        ready.set()
        try:
            ends.append((await receive())["code"])
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            ends.append("cancelled")
            raise

    made = serve(application)
    peer = connect(made)
    assert ready.wait(SECONDS)
    stopping = hubbub.spawn(made.stop, 0.2)
    assert peer.closing() == (1001, "the server is stopping")
    stopping.get(timeout=SECONDS)
    assert ends == [1001, "cancelled"]


def test_many(serve: Any, connect: Any) -> None:
    """Many WebSockets of one application are served at once."""
    made = serve(echo)
    peers = [connect(made) for _ in range(50)]
    for round_ in range(3):
        for number, peer in enumerate(peers):
            peer.send(f"{round_} {number}")
        assert [peer.event().data.decode() for peer in peers] == [f"{round_} {number}" for number in range(50)]
