"""A client of HTTP/2 that says exactly what a test wants, frame by frame."""

from __future__ import annotations

import socket
import struct
from typing import Any, NamedTuple

from hpack import Decoder, Encoder
from hubbub.io import Socket

__all__ = ["Answer", "Frame", "Peer"]

SECONDS = 10.0
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITIZED = 0x1, 0x1, 0x4, 0x8, 0x20


class Frame(NamedTuple):
    """One frame of the server's."""

    kind: int
    flags: int
    stream: int
    payload: bytes

    @property
    def code(self) -> int:
        """The error code of a RST_STREAM or GOAWAY frame."""
        return int.from_bytes(self.payload[:4] if self.kind == RST_STREAM else self.payload[4:8], "big")


class Answer:
    """What came on one stream."""

    def __init__(self) -> None:
        self.interim: list[dict[str, str]] = []
        self.headers: dict[str, str] = {}
        self.body = b""
        self.trailers: dict[str, str] = {}
        self.reset: int | None = None
        self.ended = False

    @property
    def status(self) -> int:
        return int(self.headers.get(":status", 0))


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """A frame as bytes."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


class Peer:
    """A connection. Nothing in it waits for ever.

    :param settings: of the first SETTINGS frame; None for no preface at all.
    """

    def __init__(
        self, address: Any, settings: dict[int, int] | None = None, sock: Any = None, begins: bool = True
    ) -> None:
        if sock is None:
            sock = Socket()
            sock.settimeout(SECONDS)
            sock.connect(address)
            if sock.family != socket.AF_UNIX:
                sock.setsockopt(
                    socket.IPPROTO_TCP, socket.TCP_NODELAY, 1
                )  # it sends small frames, and waits for answers
        self.sock = sock
        self.encoder = Encoder()
        self.decoder = Decoder()
        self.received = b""
        self.answers: dict[int, Answer] = {}
        self.pings: list[bytes] = []
        self.goaways: list[tuple[int, int]] = []
        self.block = b""
        self.acknowledges = True
        if begins:
            self.send(PREFACE + self.settings(settings or {}))

    # Saying ---------------------------------------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    @staticmethod
    def settings(values: dict[int, int]) -> bytes:
        return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", key, value) for key, value in values.items()))

    def block_of(self, fields: list[tuple[str, str]]) -> bytes:
        return self.encoder.encode(fields)

    def head(self, stream: int, fields: list[tuple[str, str]], end: bool = True, flags: int = END_HEADERS) -> None:
        self.send(frame(HEADERS, flags | (END_STREAM if end else 0), stream, self.block_of(fields)))

    def request(self, stream: int, method: str = "GET", path: str = "/", end: bool = True, **more: str) -> None:
        fields = [(":method", method), (":scheme", "http"), (":authority", "x"), (":path", path)]
        self.head(stream, fields + [(name.replace("_", "-"), value) for name, value in more.items()], end)

    def data(self, stream: int, data: bytes, end: bool = False) -> None:
        self.send(frame(DATA, END_STREAM if end else 0, stream, data))

    def open_windows(self, stream: int, size: int) -> None:
        self.send(frame(WINDOW_UPDATE, 0, 0, size.to_bytes(4, "big")))
        self.send(frame(WINDOW_UPDATE, 0, stream, size.to_bytes(4, "big")))

    # Listening ------------------------------------------------------------------------------------------------------

    def next(self) -> Frame | None:
        """The next frame, or None at the end."""
        while len(self.received) < 9 or len(self.received) < 9 + int.from_bytes(self.received[:3], "big"):
            try:
                piece = self.sock.recv(65536)
            except ConnectionResetError:
                return None
            if not piece:
                return None
            self.received += piece
        size = int.from_bytes(self.received[:3], "big")
        data, self.received = self.received[: 9 + size], self.received[9 + size :]
        found = Frame(data[3], data[4], int.from_bytes(data[5:9], "big"), data[9:])
        self._note(found)
        return found

    def _note(self, found: Frame) -> None:
        kind, flags, stream, payload = found
        answer = self.answers.setdefault(stream, Answer())
        if kind == SETTINGS and not flags & ACK and self.acknowledges:
            self.send(frame(SETTINGS, ACK, 0))
        elif kind == PING:
            self.pings.append(payload)
        elif kind == GOAWAY:
            self.goaways.append((int.from_bytes(payload[:4], "big"), found.code))
        elif kind == RST_STREAM:
            answer.reset = found.code
        elif kind == DATA:
            answer.body += payload
        elif kind in (HEADERS, CONTINUATION):
            self.block += payload
            if flags & END_HEADERS:
                self._note_head(answer)
        if kind in (DATA, HEADERS) and flags & END_STREAM:
            answer.ended = True

    def _note_head(self, answer: Answer) -> None:
        fields = dict(self.decoder.decode(self.block))
        self.block = b""
        if ":status" not in fields:
            answer.trailers = fields
        elif fields[":status"].startswith("1"):
            answer.interim.append(fields)
        else:
            answer.headers = fields

    def until(self, kind: int, stream: int | None = None) -> Frame:
        """The next frame of a kind; those before it are noted."""
        while True:
            found = self.next()
            assert found is not None, f"the connection ended before a frame {kind}: {self.goaways}"
            if found.kind == kind and (stream is None or found.stream == stream):
                return found

    def answer(self, stream: int) -> Answer:
        """All that comes on a stream, until its end."""
        answer = self.answers.setdefault(stream, Answer())
        while not answer.ended and answer.reset is None:
            if self.next() is None:
                break
        return answer

    def rest(self) -> list[Frame]:
        """All frames until the server closes."""
        found = []
        while (one := self.next()) is not None:
            found.append(one)
        return found

    def still_there(self) -> None:
        """The connection works: a PING is answered."""
        self.send(frame(PING, 0, 0, b"are you?"))
        while self.until(PING).payload != b"are you?":
            pass
