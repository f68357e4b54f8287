"""Peers of WebSockets: one is the websockets library's, without I/O; one sends whatever bytes a test says."""

from __future__ import annotations

import contextlib
import struct
from typing import Any

from websockets.client import ClientProtocol
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.frames import Frame
from websockets.uri import parse_uri

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
"""The example of RFC 6455, 1.3."""
REQUEST = {
    "Host": "x",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Version": "13",
}


def request(target: str = "/", method: str = "GET", **fields: str | None) -> bytes:
    """A request that opens a WebSocket, with some fields changed (``_`` for ``-``), or left out if None."""
    said = {**REQUEST, **{name.replace("_", "-"): value for name, value in fields.items()}}
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in said.items() if value is not None)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def frame(opcode: int, payload: bytes = b"", fin: bool = True, rsv: int = 0, mask: bytes | None = b"\x01\x02\x03\x04",
          length: int | None = None, width: int | None = None) -> bytes:  # fmt: skip
    """A frame (RFC 6455, 5.2), right or wrong.

    :param length: what it says instead of its payload's length.
    :param width: bits of its length: 7, 16 or 64.
    """
    size = len(payload) if length is None else length
    if width is None:
        width = 7 if size < 126 else 16 if size < 65536 else 64
    masked = 0 if mask is None else 0x80
    first = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
    said = {7: bytes([masked | size & 0x7F]), 16: bytes([masked | 126]) + struct.pack("!H", size & 0xFFFF)}
    said[64] = bytes([masked | 127]) + struct.pack("!Q", size)
    if mask is not None:
        keys = (mask * (len(payload) // 4 + 1))[: len(payload)]
        payload = (int.from_bytes(payload, "big") ^ int.from_bytes(keys, "big")).to_bytes(len(payload), "big")
    return first + said[width] + (mask or b"") + payload


def close_frame(code: int | None, reason: bytes = b"") -> bytes:
    """A Close frame."""
    return frame(8, b"" if code is None else struct.pack("!H", code) + reason)


class Raw:
    """Sends any bytes, and reads the frames of the server.

    :param client: a connection of the test.
    :param opening: the request; None if the connection is one that has been opened already.
    """

    def __init__(self, client: Any, opening: bytes | None = None) -> None:
        self.client = client
        self.head = b""
        client.send(request() if opening is None else opening)
        self.head = client.until(b"\r\n\r\n")

    @property
    def status(self) -> int:
        return int(self.head.split()[1])

    def send(self, data: bytes) -> None:
        self.client.send(data)

    def _exactly(self, size: int) -> bytes:
        client = self.client
        while len(client.received) < size:
            piece = client.sock.recv(65536)
            if not piece:
                raise EOFError(client.received)
            client.received += piece
        data, client.received = client.received[:size], client.received[size:]
        return bytes(data)

    def frame(self) -> tuple[int, bytes]:
        """The next frame: the first byte as it is, and the payload.

        :raises EOFError: the server has closed.
        """
        first, second = self._exactly(2)
        assert second < 0x80, "a server must not mask"
        size = second
        if second == 126:
            (size,) = struct.unpack("!H", self._exactly(2))
        elif second == 127:
            (size,) = struct.unpack("!Q", self._exactly(8))
        return first, self._exactly(size)

    def closing(self) -> int | None:
        """Read until the Close frame, respond to it, read until the end; its code.

        None if it has none; 1006 if there is no such frame.
        """
        code: int | None = 1006
        try:
            while code == 1006:
                first, payload = self.frame()
                if first & 15 == 8:
                    code = struct.unpack("!H", payload[:2])[0] if payload else None
                    self.send(frame(8, payload))
            self.frame()
        except (EOFError, ConnectionError):
            return code
        raise AssertionError("the server sent more than its Close frame")


class Tunnel:
    """A stream of HTTP/2 (RFC 8441), used as a test uses a connection.

    :param http2: the client's connection.
    """

    STREAM = 1
    DATA, HEADERS, RST_STREAM, WINDOW_UPDATE = 0, 1, 3, 8
    MOST = 16384

    def __init__(self, http2: Any) -> None:
        self.http2 = http2
        self.received = b""
        """What who reads has taken, and not used."""
        self.arrived = b""
        self.sock = self
        self.left = 65535
        """How much the server takes."""
        self.opened = self.ended = False

    def send(self, data: bytes) -> None:
        """The request, as HTTP/1.1 has it, at first; then what is sent behind it."""
        if self.opened:
            self._send(data)
            return
        self.opened = True
        line, *lines = data.split(b"\r\n\r\n")[0].decode().split("\r\n")
        fields = [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":authority", "x")]
        fields.append((":path", line.split()[1]))
        gone = ("host", "upgrade", "connection", "sec-websocket-key")
        named = [(name.lower(), value) for name, value in (text.split(": ", 1) for text in lines)]
        self.http2.head(self.STREAM, fields + [pair for pair in named if pair[0] not in gone], end=False)

    def _send(self, data: bytes) -> None:
        while data:
            while not self.left and not self.ended:
                self._next()
            if self.ended:
                raise ConnectionError("the stream has ended")
            piece = data[: min(self.MOST, self.left)]
            self.left -= len(piece)
            self.http2.data(self.STREAM, piece)
            data = data[len(piece) :]

    def _next(self) -> Any:
        found = self.http2.next()
        if found is None or (found.stream == self.STREAM and found.kind == self.RST_STREAM):
            self.ended = True
        elif found.stream == self.STREAM and found.kind == self.WINDOW_UPDATE:
            self.left += int.from_bytes(found.payload, "big")
        elif found.stream == self.STREAM and found.kind == self.DATA:
            self.arrived += found.payload
            self.ended = bool(found.flags & 1)
        return found

    def until(self, end: bytes) -> bytes:
        """The head of the response, as HTTP/1.1 has it."""
        while not self.http2.answers.get(self.STREAM) or not self.http2.answers[self.STREAM].headers:
            self._next()
        fields = dict(self.http2.answers[self.STREAM].headers)
        lines = [f"HTTP/2 {fields.pop(':status')} ", *(f"{name}: {value}" for name, value in fields.items())]
        return "\r\n".join([*lines, "", ""]).encode()

    def recv(self, size: int) -> bytes:
        """What the server sends; nothing once it has ended the stream."""
        while not self.arrived and not self.ended:
            self._next()
        data, self.arrived = self.arrived[:size], self.arrived[size:]
        if data and not self.ended:
            with contextlib.suppress(ConnectionError):  # it has closed meanwhile, and what came before that is here
                self.http2.open_windows(self.STREAM, len(data))
        return data

    def shutdown(self, how: int) -> None:
        """Send no more."""
        self.http2.data(self.STREAM, b"", end=True)

    def close(self) -> None:
        """Go, with all of the connection."""
        self.http2.sock.close()


class Peer:
    """A client of the websockets library.

    :param client: a connection of the test.
    """

    def __init__(self, client: Any, target: str = "/", compress: bool = False, **options: Any) -> None:
        self.client = client
        extensions = [ClientPerMessageDeflateFactory()] if compress else []
        self.protocol = ClientProtocol(parse_uri(f"ws://x{target}"), extensions=extensions, max_size=None, **options)
        self.protocol.send_request(self.protocol.connect())
        self.response: Any = self._event()

    def flush(self) -> None:
        """Send what the protocol wants to send."""
        for data in self.protocol.data_to_send():
            if data:
                self.client.send(data)

    def _event(self) -> Any:
        self.flush()
        while True:
            for event in self._events():
                return event
            data = self.client.sock.recv(65536)
            if data:
                self.protocol.receive_data(data)
            else:
                self.protocol.receive_eof()
                return None
            self.flush()

    def _events(self) -> list[Any]:
        self.pending = [*getattr(self, "pending", []), *self.protocol.events_received()]
        return [self.pending.pop(0)] if self.pending else []

    def send(self, message: str | bytes) -> None:
        """Send a message."""
        if isinstance(message, str):
            self.protocol.send_text(message.encode())
        else:
            self.protocol.send_binary(message)
        self.flush()

    def receive(self) -> Any:
        """The next message, ``("close", code)``, or None at the end."""
        data = b""
        kind = None
        while True:
            event: Frame | None = self._event()
            if event is None:
                return None
            if event.opcode == 8:
                return ("close", self.protocol.close_rcvd.code if self.protocol.close_rcvd else None)
            if event.opcode in (9, 10):
                continue
            kind = event.opcode if event.opcode else kind
            data += event.data
            if event.fin:
                return data.decode() if kind == 1 else data

    def close(self, code: int = 1000, reason: str = "") -> int | None:
        """Close, and wait for the end; the code that the server has sent."""
        self.protocol.send_close(code, reason)
        while self.receive() is not None:
            pass
        return self.protocol.close_rcvd.code if self.protocol.close_rcvd else None
