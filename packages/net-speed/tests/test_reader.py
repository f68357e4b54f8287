"""Reader in C and in Python, with a stand-in for OpenSSL: the same records lead to the same reads."""

from __future__ import annotations

import os
import random
import ssl
from collections.abc import Callable
from typing import Any

import pytest
from hubbub_net import _ahead, socket
from hubbub_net._tlsreader import Reader
from hubbub_net._tlswire import Wire

SEEDS = int(os.environ.get("HUBBUB_STRESS_SEEDS", "10"))
STREAMS = 60
TAG = 17
"""Bytes that a record of data is longer than its data."""


class Engine:
    """Opens records that are not encrypted: as OpenSSL, it reads no more than it needs, and goes on after those without
    data."""

    server_side = True

    def __init__(self, incoming: Any, outgoing: Any) -> None:
        self.incoming = incoming
        self.raw = b""
        self.clear = b""
        self.last: ssl.SSLError | None = None

    def pending(self) -> int:
        return len(self.clear)

    def read(self, size: int, buffer: Any = None) -> Any:
        while not self.clear:
            if self.last is not None:
                raise type(self.last)(*self.last.args)
            if self.open():
                return b"" if buffer is None else 0
        room = size if buffer is None else min(size, len(buffer))
        data, self.clear = self.clear[:room], self.clear[room:]
        if buffer is None:
            return data
        buffer[: len(data)] = data
        return len(data)

    def want(self, count: int) -> None:
        self.raw += self.incoming.read(count - len(self.raw))
        if len(self.raw) < count:
            if self.incoming.eof:
                self.fail(ssl.SSLEOFError(ssl.SSL_ERROR_EOF, "EOF occurred in violation of protocol"))
            raise ssl.SSLWantReadError(ssl.SSL_ERROR_WANT_READ, "The operation did not complete (read)")

    def fail(self, error: ssl.SSLError) -> None:
        self.last = error
        raise error

    def open(self) -> bool:
        """Open the next record; whether it ends the stream."""
        self.want(5)
        length = int.from_bytes(self.raw[3:5], "big")
        if self.raw[0] not in range(20, 25) or self.raw[1] != 3 or length > 18432:
            self.fail(ssl.SSLError(ssl.SSL_ERROR_SSL, "wrong version number"))
        self.want(5 + length)
        kind, body, self.raw = self.raw[0], self.raw[5:], b""
        if kind == 21:
            self.last = ssl.SSLZeroReturnError(ssl.SSL_ERROR_ZERO_RETURN, "TLS/SSL connection has been closed (EOF)")
            return True
        if kind == 23 and length < TAG:
            self.fail(ssl.SSLError(ssl.SSL_ERROR_SSL, "decryption failed or bad record mac"))
        if kind == 23:
            self.clear = body[:-TAG]
        return False


class Line:
    """A socket that does not wait, and what comes on it, in pieces."""

    suppress_ragged_eofs = True

    def __init__(self, pieces: list[bytes], number: int) -> None:
        self.pieces = pieces
        self.number = number
        self.asked: list[int] = []

    def gettimeout(self) -> float:
        return 0.0

    def fileno(self) -> int:
        return self.number

    def recv(self, count: int, flags: int = 0) -> bytes:
        """As :meth:`socket.socket.recv`; a piece that is None stands for nothing that has come yet."""
        self.asked.append(count)
        if not self.pieces:
            return b""
        piece = self.pieces.pop(0)
        if piece is None:
            raise BlockingIOError(11, "nothing")
        if len(piece) > count:
            self.pieces.insert(0, piece[count:])
        return piece[:count]


def stream(chance: random.Random) -> bytes:
    """Records that bring data, some that bring none, and perhaps one that is bad or the last."""
    parts = []
    for _ in range(chance.randrange(1, 8)):
        length = chance.choice([TAG, 18, 24, 300, 4095, 5000, 16384, 16384 + TAG, 16384 + TAG])
        kind = 23 if chance.random() < 0.85 else chance.choice([20, 22, 24])
        one = bytes([kind, 3, 3]) + length.to_bytes(2, "big") + chance.randbytes(length)
        parts.append(one * chance.choice([1, 1, 1, 2, 3, 6]))
    ending = chance.choice(
        [b"", b"", b"\x15\x03\x03\0\x02\x01\0", b"\x17\x03\x03\0\x03bad", b"GET / HTTP/1.1", b"\x17"]
    )
    return b"".join(parts) + ending


def cut(chance: random.Random, text: bytes) -> list[Any]:
    pieces: list[Any] = []
    while text:
        size = chance.choice([1, 5, 300, 16_406, 20_000, 65_624, 200_000])
        pieces.append(text[:size])
        text = text[size:]
        if chance.random() < 0.2:
            pieces.append(None)
    return pieces


def read_all(seed: int) -> list[Any]:
    """What the calls of a random reader come to."""
    chance = random.Random(seed)
    text = stream(chance)
    line = Line(cut(chance, text), 1_000_000 + seed)
    wire = Wire(Engine, b"")
    reader = Reader(wire)
    found: list[Any] = []
    reader.settle(line)
    for _ in range(300):
        size = chance.choice([1, 100, 4096, 16_384, 16_385, 40_000, 65_536, 1 << 20])
        kind = chance.random()
        try:
            if kind < 0.5:
                found.append(reader.read(line, size))
            elif kind < 0.9:
                buffer = bytearray(size)
                count = reader.read_into(line, memoryview(buffer))
                assert not any(buffer[count:])
                found.append(bytes(buffer[:count]))
            else:
                found.append(reader.pending(line))
                continue
        except ssl.SSLError as error:
            found.append((type(error), error.args))
        else:
            assert not wire.readers.held
            if not found[-1]:
                break
        found.append(reader.has_ahead())
        found.append(line.number in _ahead.noted)
    found += [line.asked, wire.incoming.ended, reader._failure]
    _ahead.forget(line.number)
    return found


@pytest.mark.parametrize("seed", range(SEEDS))
def test_any_stream(seed: int, choose: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each read returns or raises the same, asks for as much, and leaves as much for the next."""
    monkeypatch.setattr(socket.socket, "recv", lambda sock, count, flags=0: sock.recv(count, flags))
    for number in range(seed * STREAMS, (seed + 1) * STREAMS):
        choose("python")
        wanted = read_all(number)
        choose("c")
        assert read_all(number) == wanted, number
