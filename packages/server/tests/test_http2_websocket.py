"""WebSocket over HTTP/2 (RFC 8441)."""

from __future__ import annotations

import struct
from typing import Any

import hubbub
import pytest
from hubbub_server import Limits

pytest.importorskip("wsproto")

FIELDS = [
    *((":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":path", "/"), (":authority", "x")),
    *(("sec-websocket-version", "13"), ("origin", "http://x")),
]
DATA, HEADERS, RST_STREAM, SETTINGS = 0, 1, 3, 4


def echo(environ: Any, start_response: Any) -> list[bytes]:
    """Sends back what it receives."""
    if "hubbub.websocket" not in environ:
        start_response("200 OK", [])
        return [b"plain"]
    websocket = environ["hubbub.websocket"](["chat"])
    for message in websocket:
        websocket.send(message)
    return []


class Tunnel:
    """One WebSocket of a client."""

    def __init__(self, peer: Any, stream: int = 1, fields: list[tuple[str, str]] = FIELDS) -> None:
        self.peer = peer
        self.stream = stream
        peer.head(stream, fields, end=False)

    @property
    def answer(self) -> Any:
        return self.peer.answers[self.stream]

    def opened(self) -> Any:
        self.peer.until(HEADERS, self.stream)
        return self.answer

    def exactly(self, size: int) -> bytes:
        while len(self.answer.body) < size:
            assert self.peer.next() is not None
        data, self.answer.body = self.answer.body[:size], self.answer.body[size:]
        return bytes(data)

    def frame(self) -> tuple[int, bytes]:
        """The next frame of the server's: opcode and payload."""
        first, size = self.exactly(2)
        if size == 126:
            size = struct.unpack("!H", self.exactly(2))[0]
        elif size == 127:
            size = struct.unpack("!Q", self.exactly(8))[0]
        return first & 0x0F, self.exactly(size)

    def send(self, frame: bytes, end: bool = False) -> None:
        self.peer.data(self.stream, frame, end)


def test_offered(serve: Any, http2: Any) -> None:
    """SETTINGS say that an extended CONNECT is understood (3)."""
    peer = http2(serve(echo, http2=True))
    payload = peer.until(SETTINGS).payload
    assert (8, 1) in {struct.unpack(">HI", payload[at : at + 6]) for at in range(0, len(payload), 6)}


def test_echo(serve: Any, http2: Any, peers: Any) -> None:
    """A WebSocket is opened by 200, carries messages both ways, and is closed with the stream's end (5.1)."""
    peer = http2(serve(echo, http2=True))
    tunnel = Tunnel(peer, fields=[*FIELDS, ("sec-websocket-protocol", "other, chat")])
    answer = tunnel.opened()
    assert answer.status == 200
    assert answer.headers["sec-websocket-protocol"] == "chat"
    assert not {"upgrade", "connection", "sec-websocket-accept", "content-length"} & set(answer.headers)
    tunnel.send(peers.frame(1, b"hello")[:4])
    tunnel.send(peers.frame(1, b"hello")[4:] + peers.frame(2, b"x" * 300))
    assert tunnel.frame() == (1, b"hello")
    assert tunnel.frame() == (2, b"x" * 300)
    tunnel.send(peers.close_frame(1000))
    assert tunnel.frame() == (8, b"\x03\xe8")
    assert peer.answer(1).ended
    peer.request(3)
    assert peer.answer(3).body == b"plain"


def test_beside_requests(serve: Any, http2: Any, peers: Any) -> None:
    """Several WebSockets and requests share a connection, and one that is not read holds up no other."""

    def application(environ: Any, start_response: Any) -> list[bytes]:
        if environ["PATH_INFO"] == "/flood":
            websocket = environ["hubbub.websocket"]()
            while True:
                websocket.send(b"x" * 1000)
        return echo(environ, start_response)

    peer = http2(serve(application, http2=True), settings={4: 5000})
    flood = Tunnel(peer, 1, [pair if pair[0] != ":path" else (":path", "/flood") for pair in FIELDS])
    flood.opened()
    chat = Tunnel(peer, 3)
    chat.opened()
    chat.send(peers.frame(1, b"hello"))
    assert chat.frame() == (1, b"hello")
    peer.request(5)
    assert peer.answer(5).body == b"plain"
    assert len(flood.answer.body) <= 5000
    peer.send(b"\0\0\4\x03\0\0\0\0\1\0\0\0\x08")
    chat.send(peers.frame(1, b"again"))
    assert chat.frame() == (1, b"again")


def test_refusals(serve: Any, http2: Any) -> None:
    """Other versions of WebSocket, other protocols, and what is no tunnel are refused."""
    peer = http2(serve(echo, http2=True))
    other = [pair for pair in FIELDS if pair[0] != "sec-websocket-version"]
    peer.head(1, [*other, ("sec-websocket-version", "8")], end=False)
    peer.head(3, [pair if pair[0] != ":protocol" else (":protocol", "connect-udp") for pair in FIELDS], end=False)
    peer.head(5, FIELDS, end=True)
    peer.head(7, [pair for pair in FIELDS if pair[0] != ":path"], end=False)
    peer.head(9, [pair if pair[0] != ":method" else (":method", "GET") for pair in FIELDS], end=False)
    answers = [peer.answer(stream) for stream in (1, 3, 5, 7, 9)]
    assert [answer.status for answer in answers] == [426, 501, 400, 400, 400]
    assert answers[0].headers["sec-websocket-version"] == "13"
    assert "upgrade" not in answers[0].headers


def test_client_takes_back(serve: Any, http2: Any, peers: Any) -> None:
    """A stream that is reset ends the WebSocket."""
    seen: list[Any] = []

    def application(environ: Any, start_response: Any) -> list[bytes]:
        websocket = environ["hubbub.websocket"]()
        try:
            for message in websocket:
                seen.append(message)
        finally:
            seen.append("over")
        return []

    server = serve(application, http2=True)
    peer = http2(server)
    tunnel = Tunnel(peer)
    tunnel.opened()
    tunnel.send(peers.frame(1, b"hello"))
    peer.still_there()
    peer.send(b"\0\0\4\x03\0\0\0\0\1\0\0\0\x08")
    with hubbub.Timeout(5):
        while seen != ["hello", "over"]:
            hubbub.sleep(0.01)
        while len(server.handlers) > 1:
            hubbub.sleep(0.01)


def test_stop(serve: Any, http2: Any, peers: Any) -> None:
    """A server that stops closes its WebSockets with 1001."""
    server = serve(echo, http2=True)
    peer = http2(server)
    tunnel = Tunnel(peer)
    tunnel.opened()
    stopping = hubbub.spawn(server.stop, 5.0)
    assert tunnel.frame()[1][:2] == b"\x03\xe9"
    tunnel.send(peers.close_frame(1001), end=True)
    stopping.get(timeout=5)


def test_times(serve: Any, http2: Any, peers: Any) -> None:
    """The times for bodies and requests are not for a conversation; those of WebSockets are."""
    limits = Limits(body_seconds=0.2, request_seconds=0.2, websocket_ping_seconds=0.5, websocket_pong_seconds=0.2)
    peer = http2(serve(echo, http2=True, limits=limits))
    tunnel = Tunnel(peer)
    tunnel.opened()
    hubbub.sleep(0.4)
    tunnel.send(peers.frame(1, b"hello"))
    assert tunnel.frame() == (1, b"hello")
    assert tunnel.frame()[0] == 9
    answer = peer.answer(1)
    assert answer.ended or answer.reset is not None
