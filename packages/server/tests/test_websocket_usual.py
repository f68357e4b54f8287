"""Usual frames, which are read and made beside wsproto, and all others, which are wsproto's: nobody can tell."""

from __future__ import annotations

import gc
import os
import random
import weakref
from typing import Any

import hubbub
import pytest

pytest.importorskip("wsproto")
from hubbub_server.websocket._frames import Frames
from hubbub_server.websocket._inbox import Close, Inbox
from hubbub_server.websocket._messages import Deflate
from hubbub_server.websocket._usual import frame_of, header_size, message_at
from wsproto.frame_protocol import FrameProtocol, Opcode

SEEDS = int(os.environ.get("HUBBUB_STRESS_SEEDS", "30"))
LENGTHS = [0, 1, 2, 3, 4, 5, 7, 63, 64, 124, 125, 126, 127, 128, 1000, 65534, 65535, 65536, 70000]


def client_frame(data: str | bytes) -> bytes:
    """As wsproto's client makes it."""
    return bytes(FrameProtocol(True, []).send_data(data))


@pytest.mark.parametrize("length", LENGTHS)
def test_lengths(length: int) -> None:
    """A message of any length is read, by itself and behind another frame; the size of its header is known."""
    for message in (os.urandom(length), "é" * (length // 2) + "x" * (length % 2)):
        frame = client_frame(message)
        assert len(frame) == header_size(length) + length
        found = (message, len(frame) + 3) if length < 65536 else None  # longer ones are wsproto's
        assert message_at(b"abc" + frame + b"def", 3, None) == found
        limited = message_at(frame, 0, length - 1) if length else None
        assert limited is None  # wsproto says so
        received = FrameProtocol(True, [])
        received.receive_bytes(frame_of(message))
        parts = [frame.payload for frame in received.received_frames()]
        assert (b"" if isinstance(message, bytes) else "").join(parts) == message


@pytest.mark.parametrize(
    "data",
    [
        *(client_frame(b"hello")[:size] for size in range(11)),
        *(client_frame(b"x" * 200)[:size] for size in (2, 3, 4, 7, 8, 207)),
        b"\x01" + client_frame("hello")[1:],  # a fragment
        b"\x80" + client_frame("hello")[1:],  # the last one
        b"\xc1" + client_frame("hello")[1:],  # compressed
        b"\x91" + client_frame("hello")[1:],
        b"\x83" + client_frame("hello")[1:],
        b"\x89" + client_frame("hello")[1:],
        b"\x81\x05hello",  # no mask
        b"\x81\xfe\x00\x05" + client_frame("hello")[2:],  # a length in more bytes than it needs
        b"\x81\xff" + bytes(7) + b"\x05" + client_frame("hello")[2:],
        b"\x81" + client_frame(b"\xff\xfe")[1:],  # no UTF-8
        b"\x81" + client_frame("\ud800".encode("utf-8", "surrogatepass"))[1:],
    ],
    ids=lambda data: data[:8].hex(),
)
def test_not_usual(data: bytes) -> None:
    """What is not all there, not a whole message, or not right is left to wsproto."""
    assert message_at(data, 0, None) is None


def everything(inbox: Inbox) -> list[Any]:
    """What an inbox has."""
    return [list(inbox.messages), inbox.ping, inbox.pongs, inbox.close, inbox.failure, inbox.count, inbox.partial]


def conversation(chance: random.Random, deflate: bool) -> bytes:
    """Frames of all kinds, mostly right."""
    client = FrameProtocol(True, [Deflate(None, 12, 12, False, False)] if deflate else [])
    data = bytearray()
    for _ in range(chance.randrange(1, 12)):
        kind = chance.randrange(10)
        payload = chance.randbytes(chance.choice((0, 3, 63, 64, 125, 126, 300)))
        if kind < 5:
            data += client_frame(payload if kind < 3 else payload.hex())
        elif kind == 5:
            data += client.send_data(payload)  # compressed, if that is agreed on
        elif kind == 6:
            data += client.send_data(payload[:50], fin=False) if not deflate else b""
            data += client.ping(b"between")
            data += client.send_data(payload[50:])
        elif kind == 7:
            data += client.ping(payload[:100])
        elif kind == 8:
            data += client.pong(payload[:100])
        elif chance.random() < 0.3:
            data += client.close(1000, "enough") if chance.random() < 0.5 else chance.randbytes(9)
    return bytes(data)


class Plain(Inbox):
    """All is wsproto's."""

    __slots__ = ()

    def feed(self, data: bytes) -> None:
        """As if no frame were usual."""
        self._feed_protocol(data)


@pytest.mark.parametrize("deflate", [False, True])
@pytest.mark.parametrize("seed", range(SEEDS))
def test_mixed(seed: int, deflate: bool) -> None:
    """Usual frames among others, cut anywhere: the outcome is that of wsproto alone."""
    chance = random.Random(f"{seed}-{deflate}")
    data = conversation(chance, deflate)
    outcomes = []
    for kind in (Plain, Inbox, Inbox, Inbox):
        cuts = sorted(chance.sample(range(len(data)), min(len(data), chance.randrange(6)))) if kind is Inbox else []
        frames = Frames(1000, Deflate(1000, 12, 12, False, False) if deflate else None)
        inbox = kind(frames.protocol, frames.limit)
        for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
            inbox.feed(data[begin:end])
            while inbox.parse(3, 10_000):
                assert inbox.count < 1000
            if inbox.close is not None or inbox.failure is not None:
                break
        outcomes.append(everything(inbox))
    assert outcomes == [outcomes[0]] * len(outcomes)


def test_one_by_one() -> None:
    """So many frames are parsed at a time as are wanted, and messages wait for room."""
    frames = Frames(None)
    inbox = Inbox(frames.protocol, frames.limit)
    inbox.feed(
        client_frame(b"1") + client_frame(b"2") + client_frame(b"3") + bytes(FrameProtocol(True, []).close(1000))
    )
    assert inbox.parse(1, 1000)
    assert [inbox.pop()] == [b"1"]
    assert inbox.parse(10, 1)
    assert [inbox.pop()] == [b"2"]
    assert not inbox.parse(10, 1000)
    assert (list(inbox.messages), inbox.close) == ([b"3"], Close(1000, ""))


def test_opcodes() -> None:
    """What is sent has the opcode of its type."""
    received = FrameProtocol(True, [])
    received.receive_bytes(frame_of("text") + frame_of(b"bytes"))
    assert [frame.opcode for frame in received.received_frames()] == [Opcode.TEXT, Opcode.BINARY]


@pytest.mark.parametrize("end", ["client closes", "client leaves", "application closes", "application fails"])
def test_nothing_is_garbage(serve: Any, peer: Any, hub: Any, end: str, failures: Any, errors: Any) -> None:
    """A WebSocket that has ended goes without the garbage collector, and so do its request and its parser."""
    kept: list[Any] = []

    def application(environ: Any, start_response: Any) -> list[bytes]:
        socket = environ["hubbub.websocket"]()
        kept.extend(map(weakref.ref, (socket, socket.frames.limit, socket.frames.protocol)))
        for message in socket:
            socket.send(message)
            if end == "application closes":
                socket.close()
            if end == "application fails":
                raise ValueError("on purpose")
        return []

    server = serve(application)
    client = peer(server)
    gc.collect()
    gc.disable()
    try:
        client.send("x")
        client.receive()
        if end == "client closes":
            client.close()
        elif end == "client leaves":
            client.client.sock.close()
        else:
            client.receive()
        with hubbub.Timeout(5):
            while server.handlers:
                hubbub.sleep(0.001)
        hubbub.sleep(0)
        assert [one() for one in kept] == [None] * 3
    finally:
        gc.enable()
