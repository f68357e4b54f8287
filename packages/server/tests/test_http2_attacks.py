"""What clients of HTTP/2 do to servers, by the advisories: each is bounded in work and memory, and ends the connection.

Each attack is sent as fast as it can be, and must be stopped after a number of frames that does not depend on how many
are sent. Meanwhile others are served.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable, Iterator
from typing import Any

import hubbub
import pytest
from hpack import Encoder
from hubbub_server import Limits

CALM, PROTOCOL, FLOW, COMPRESSION, FRAME_SIZE = 11, 1, 3, 9, 6
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
MANY = 20000
FIELDS = [(":method", "GET"), (":scheme", "http"), (":authority", "x"), (":path", "/")]


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def number(value: int) -> bytes:
    return value.to_bytes(4, "big")


def rapid_reset(encode: Callable[..., bytes]) -> Iterator[bytes]:
    """CVE-2023-44487: requests that are taken back at once."""
    for stream in range(1, 2 * MANY, 2):
        yield frame(HEADERS, 5, stream, encode(FIELDS)) + frame(RST_STREAM, 0, stream, number(8))


def made_you_reset_by_window(encode: Callable[..., bytes]) -> Iterator[bytes]:
    """CVE-2025-8671: the server is made to reset them, by a window that grows beyond all bounds."""
    for stream in range(1, 2 * MANY, 2):
        yield frame(HEADERS, 5, stream, encode(FIELDS)) + frame(WINDOW_UPDATE, 0, stream, number(2**31 - 1))


def made_you_reset_by_data(encode: Callable[..., bytes]) -> Iterator[bytes]:
    """The same, by a body that is longer than it was to be."""
    fields = [*FIELDS, ("content-length", "1")]
    for stream in range(1, 2 * MANY, 2):
        yield frame(HEADERS, 4, stream, encode(fields)) + frame(DATA, 0, stream, b"xx")


def malformed(encode: Callable[..., bytes]) -> Iterator[bytes]:
    """The same, by requests that are none."""
    for stream in range(1, 2 * MANY, 2):
        yield frame(HEADERS, 5, stream, encode(FIELDS[:-1]))


def too_many_streams(encode: Callable[..., bytes]) -> Iterator[bytes]:
    """More requests at a time than there may be, again and again."""
    for stream in range(1, 2 * MANY, 2):
        yield frame(HEADERS, 4, stream, encode(FIELDS))


def settings(encode: Callable[..., bytes]) -> Iterator[bytes]:
    """CVE-2019-9515: SETTINGS, each of which is to be acknowledged."""
    for _ in range(MANY):
        yield frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 65535))


def settings_acks(encode: Callable[..., bytes]) -> Iterator[bytes]:
    for _ in range(MANY):
        yield frame(SETTINGS, 1, 0)


def pings(encode: Callable[..., bytes]) -> Iterator[bytes]:
    """CVE-2019-9512: PING, each of which is to be answered."""
    for _ in range(MANY):
        yield frame(PING, 0, 0, b"12345678")


def ping_acks(encode: Callable[..., bytes]) -> Iterator[bytes]:
    for _ in range(MANY):
        yield frame(PING, 1, 0, b"12345678")


def empty_data(encode: Callable[..., bytes]) -> Iterator[bytes]:
    """CVE-2019-9518: frames of a body without any of it."""
    yield frame(HEADERS, 4, 1, encode(FIELDS))
    for _ in range(MANY):
        yield frame(DATA, 0, 1)


def padding_only(encode: Callable[..., bytes]) -> Iterator[bytes]:
    """The same, with padding."""
    yield frame(HEADERS, 4, 1, encode(FIELDS))
    for _ in range(MANY):
        yield frame(DATA, 8, 1, b"\x05" + b"\0" * 5)


def priorities(encode: Callable[..., bytes]) -> Iterator[bytes]:
    """CVE-2019-9513: priorities that are shuffled again and again."""
    for count in range(MANY):
        yield frame(PRIORITY, 0, 2 * count + 1, number(0) + b"\x10")


def window_updates(encode: Callable[..., bytes]) -> Iterator[bytes]:
    for _ in range(MANY):
        yield frame(WINDOW_UPDATE, 0, 0, number(1))


def resets_of_what_is_over(encode: Callable[..., bytes]) -> Iterator[bytes]:
    """Frames about a stream that has ended."""
    yield frame(HEADERS, 5, 1, encode(FIELDS))
    for _ in range(MANY):
        yield frame(RST_STREAM, 0, 1, number(8))


def unknown_frames(encode: Callable[..., bytes]) -> Iterator[bytes]:
    for _ in range(MANY):
        yield frame(0xEE, 0, 0)


def goaways(encode: Callable[..., bytes]) -> Iterator[bytes]:
    yield frame(HEADERS, 4, 1, encode(FIELDS))
    for _ in range(MANY):
        yield frame(GOAWAY, 0, 0, number(0) + number(0))


def continuations(encode: Callable[..., bytes]) -> Iterator[bytes]:
    """CVE-2024-27316 and others: a field block that never ends."""
    yield frame(HEADERS, 1, 1, encode(FIELDS))
    for _ in range(MANY):
        yield frame(CONTINUATION, 0, 1, b"\x00\x01x\x01y" * 100)


def empty_continuations(encode: Callable[..., bytes]) -> Iterator[bytes]:
    """The same, with frames that have nothing in them."""
    yield frame(HEADERS, 1, 1, encode(FIELDS))
    for _ in range(MANY):
        yield frame(CONTINUATION, 0, 1)


def empty_headers(encode: Callable[..., bytes]) -> Iterator[bytes]:
    """CVE-2019-9516: fields of no length, which are counted by what they cost to keep."""
    for stream in range(1, 2 * MANY, 2):
        yield frame(HEADERS, 5, stream, encode(FIELDS) + b"\x00\x00\x00" * 5000)


def bomb(encode: Callable[..., bytes]) -> Iterator[bytes]:
    """CVE-2016-6581: a large field in the table, that each byte stands for once more."""
    large = b"\x40\x01x" + b"\x7f" + b"\x81\x1e" + b"y" * 4000  # (a literal of 4,000 bytes, indexed as 62)
    for stream in range(1, 2 * MANY, 2):
        yield frame(HEADERS, 5, stream, encode(FIELDS) + (large if stream == 1 else b"") + b"\xbe" * 10000)


def long_integers(encode: Callable[..., bytes]) -> Iterator[bytes]:
    """A number that does not end."""
    for stream in range(1, 2 * MANY, 2):
        yield frame(HEADERS, 5, stream, b"\xff" * 16000)


def resized_table(encode: Callable[..., bytes]) -> Iterator[bytes]:
    """A table that grows and shrinks in each block."""
    for stream in range(1, 2 * MANY, 2):
        yield frame(HEADERS, 5, stream, b"\x20\x3f\xe1\x1f" * 4000 + encode(FIELDS))


ATTACKS: dict[Callable[..., Iterator[bytes]], tuple[int, int]] = {
    rapid_reset: (CALM, 500),
    made_you_reset_by_window: (CALM, 500),
    made_you_reset_by_data: (CALM, 500),
    malformed: (CALM, 500),
    too_many_streams: (CALM, 500),
    settings: (CALM, 2500),
    settings_acks: (CALM, 2500),
    pings: (CALM, 2500),
    ping_acks: (CALM, 2500),
    empty_data: (CALM, 2500),
    padding_only: (CALM, 2500),
    priorities: (CALM, 2500),
    window_updates: (CALM, 2500),
    resets_of_what_is_over: (CALM, 2500),
    unknown_frames: (CALM, 2500),
    goaways: (CALM, 2500),
    continuations: (CALM, 200),
    empty_continuations: (CALM, 200),
    empty_headers: (CALM, 200),
    bomb: (CALM, 20),
    long_integers: (COMPRESSION, 20),
    resized_table: (COMPRESSION, 20),
}
"""By attack, the error that ends the connection, and the frames after which it has at the latest."""


def never(environ: Any, start_response: Any) -> list[bytes]:
    """An application that does not look at bodies, and takes its time."""
    if environ["PATH_INFO"] == "/other":
        start_response("200 OK", [])
        return [b"other"]
    environ["wsgi.input"].read()
    hubbub.sleep(0.5)
    return []


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_attack(serve: Any, http2: Any, attack: Any) -> None:
    """The connection is ended with the right error before much was done, and others are served meanwhile."""
    code, most = ATTACKS[attack]
    server = serve(never, http2=True, limits=Limits(linger_seconds=0.2))
    other = http2(server)
    peer = http2(server)
    counted = 0

    def flood() -> None:
        nonlocal counted
        try:
            for piece in attack(Encoder().encode):
                peer.send(piece)
                counted += 1
        except OSError:
            return

    flooding = hubbub.spawn(flood)
    began = time.process_time()
    other.request(1, path="/other")
    assert other.answer(1).body == b"other"
    peer.acknowledges = False
    seen: list[tuple[int, int]] = []
    with hubbub.Timeout(15):
        while (found := peer.next()) is not None:
            if found.kind == GOAWAY:
                seen.append((found.code, int.from_bytes(found.payload[:4], "big")))
    flooding.kill()
    assert time.process_time() - began < 6
    assert [found[0] for found in seen] == [code]
    assert seen[0][1] <= 2 * most
    other.request(3, path="/other")
    assert other.answer(3).body == b"other"
    with hubbub.Timeout(5):
        while len(server.connections) > 1:
            hubbub.sleep(0.01)


def test_abandoned_requests_count(serve: Any, http2: Any) -> None:
    """Requests that were taken back and go on running count: no more run at a time than there may be."""
    running = most = 0

    def application(environ: Any, start_response: Any) -> list[bytes]:
        nonlocal running, most
        running += 1
        most = max(most, running)
        hubbub.sleep(0.2)
        running -= 1
        start_response("200 OK", [])
        return [b"done"]

    peer = http2(serve(application, http2=True, limits=Limits(concurrent_streams=5)))
    for stream in range(1, 81, 2):
        peer.request(stream)
        hubbub.sleep(0.004)
        peer.send(frame(RST_STREAM, 0, stream, number(8)))
    peer.request(81)
    assert peer.answer(81).body == b"done"
    assert most == 5


def test_concurrent_streams(serve: Any, http2: Any) -> None:
    """One request more than there may be is refused, in such a way that it may be sent again; others go on."""
    go = hubbub.event.Event()

    def application(environ: Any, start_response: Any) -> list[bytes]:
        go.wait()
        start_response("200 OK", [])
        return [b"done"]

    peer = http2(serve(application, http2=True, limits=Limits(concurrent_streams=2)))
    for stream in (1, 3, 5):
        peer.request(stream)
    assert peer.answer(5).reset == 7  # REFUSED_STREAM
    go.set()
    assert [peer.answer(stream).body for stream in (1, 3)] == [b"done"] * 2
    peer.request(7)
    assert peer.answer(7).body == b"done"


def test_stream_resets(serve: Any, http2: Any) -> None:
    """A client may take back as many requests as the limit says, and one more for each that is answered."""

    def application(environ: Any, start_response: Any) -> list[bytes]:
        if environ["PATH_INFO"] == "/wait":
            environ["wsgi.input"].read()
        start_response("200 OK", [])
        return [b"ok"]

    peer = http2(serve(application, http2=True, limits=Limits(stream_resets=3, linger_seconds=0.1)))
    stream = 1
    for _ in range(10):
        peer.request(stream, "POST", path="/wait", end=False)
        peer.send(frame(RST_STREAM, 0, stream, number(8)))
        peer.request(stream + 2)
        assert peer.answer(stream + 2).body == b"ok"
        stream += 4
    for _ in range(5):
        peer.request(stream, "POST", path="/wait", end=False)
        peer.send(frame(RST_STREAM, 0, stream, number(8)))
        stream += 2
    peer.rest()
    assert peer.goaways[-1][1] == CALM


def test_control_frames(serve: Any, http2: Any) -> None:
    """So many frames may bring nothing, and no more; requests and time allow some more."""
    peer = http2(serve(http2=True, limits=Limits(control_frames=10, linger_seconds=0.1)))
    for stream in range(1, 41, 2):
        for _ in range(3):
            peer.send(frame(PING, 0, 0, b"12345678"))
        peer.request(stream)
        assert peer.answer(stream).body == b"hello"
    for _ in range(30):
        peer.send(frame(PING, 0, 0, b"12345678"))
    peer.rest()
    assert peer.goaways[-1][1] == CALM


def test_stream_window(serve: Any, http2: Any) -> None:
    """A client may send ahead what the limit says, and one that sends more has its connection ended."""

    def application(environ: Any, start_response: Any) -> list[bytes]:
        hubbub.sleep(0.5)
        return never(environ, start_response)

    peer = http2(serve(application, http2=True, limits=Limits(stream_window=100000, linger_seconds=0.1)))
    first = peer.until(SETTINGS)
    offered = {struct.unpack(">HI", first.payload[at : at + 6]) for at in range(0, len(first.payload), 6)}
    assert (4, 100000) in offered
    peer.request(1, "POST", end=False)
    for _ in range(10):
        peer.data(1, b"x" * 10000)
    peer.still_there()
    peer.data(1, b"x")
    peer.rest()
    assert peer.goaways[-1][1] == FLOW


def test_answers_that_are_not_read(serve: Any, http2: Any) -> None:
    """A client that asks and does not read is not listened to any more, and dropped in time."""
    server = serve(http2=True, limits=Limits(write_seconds=0.5, control_frames=10**9))
    server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)  # the least; connections have it from there
    peer = http2(server)
    peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)  # so that few answers are too many
    flood = frame(PING, 0, 0, b"12345678") * 1000
    with hubbub.Timeout(20), pytest.raises(OSError):
        while True:
            peer.send(flood)
    with hubbub.Timeout(5):
        while server.connections:
            hubbub.sleep(0.01)


@pytest.mark.parametrize("of", ["stream", "connection"])
def test_window_that_stays_shut(serve: Any, http2: Any, of: str) -> None:
    """A window that is never opened holds its application for as long as a client may take that does not read."""
    ended: list[str] = []

    def application(environ: Any, start_response: Any) -> Any:
        write = start_response("200 OK", [])
        try:
            for _ in range(100):
                write(b"x" * 10000)
        except ConnectionError as error:
            ended.append(str(error))
            raise
        return []

    server = serve(application, http2=True, limits=Limits(write_seconds=0.3))
    peer = http2(server, settings={4: 0 if of == "stream" else 1 << 20})
    for stream in range(1, 21, 2):
        peer.request(stream)
    with hubbub.Timeout(5):
        while len(ended) < 10:
            hubbub.sleep(0.01)
    assert set(ended) == {"the client does not read"}
    if of == "stream":
        assert [peer.answer(stream).reset for stream in range(1, 21, 2)] == [8] * 10
        peer.still_there()
    else:
        peer.acknowledges = False
        peer.rest()
        with hubbub.Timeout(5):
            while server.connections:
                hubbub.sleep(0.01)


def test_window_that_opens_by_drops(serve: Any, http2: Any) -> None:
    """Nor do windows that open byte by byte hold it for longer."""
    ended: list[str] = []

    def application(environ: Any, start_response: Any) -> Any:
        write = start_response("200 OK", [])
        try:
            write(b"x" * 100000)
        except ConnectionError as error:
            ended.append(str(error))
            raise
        return []

    peer = http2(serve(application, http2=True, limits=Limits(write_seconds=0.4)), settings={4: 0})
    peer.request(1)

    def drip() -> None:
        while True:
            peer.send(frame(WINDOW_UPDATE, 0, 1, number(1)))
            hubbub.sleep(0.05)

    dripping = hubbub.spawn(drip)
    try:
        with hubbub.Timeout(5):
            assert peer.answer(1).reset == 8
    finally:
        dripping.kill()
    assert ended == ["the client does not read"]


def test_slow_body(serve: Any, http2: Any) -> None:
    """A body that stalls is a 408 for its request, and nothing for others."""

    def application(environ: Any, start_response: Any) -> list[bytes]:
        environ["wsgi.input"].read()
        start_response("200 OK", [])
        return [b"ok"]

    peer = http2(serve(application, http2=True, limits=Limits(body_seconds=0.3)))
    peer.request(1, "POST", end=False)
    peer.request(3)
    assert peer.answer(3).body == b"ok"
    assert peer.answer(1).status == 408
    peer.still_there()


@pytest.mark.parametrize("begin", [b"\0\0\4\1", frame(HEADERS, 1, 1, b"\x82")], ids=["frame", "block"])
def test_slow_head(serve: Any, http2: Any, begin: bytes) -> None:
    """A frame, or a field block, that does not end in time ends the connection."""
    peer = http2(serve(http2=True, limits=Limits(header_seconds=0.3)))
    peer.until(SETTINGS)
    peer.send(begin)

    def drip() -> None:
        while True:
            hubbub.sleep(0.05)
            peer.send(b"" if begin[:4] == b"\0\0\4\1" else frame(CONTINUATION, 0, 1, b"\x84"))

    dripping = hubbub.spawn(drip)
    try:
        with hubbub.Timeout(5):
            peer.rest()
    finally:
        dripping.kill()
    assert peer.goaways[-1][1] == CALM


def test_frames_that_are_always_cut(serve: Any, http2: Any) -> None:
    """The time for a frame is for each by itself: a client may send for long with a part of one always on its way."""
    peer = http2(serve(http2=True, limits=Limits(header_seconds=0.3)))
    rest = b""
    for stream in range(1, 61, 2):
        data = rest + frame(HEADERS, 5, stream, peer.block_of(FIELDS))
        peer.send(data[:-3])
        rest = data[-3:]
        hubbub.sleep(0.03)
    peer.send(rest)
    assert [peer.answer(stream).body for stream in range(1, 61, 2)] == [b"hello"] * 30


def test_ended_streams_are_forgotten(serve: Any, http2: Any) -> None:
    """What a connection remembers of streams that have ended does not grow with their number."""
    server = serve(http2=True)
    peer = http2(server)
    for stream in range(1, 6001, 2):
        peer.request(stream)
        if stream % 100 == 1:
            peer.answer(stream)
    assert peer.answer(5999).body == b"hello"
    protocol = server.connections[0].protocol
    assert len(protocol.streams) < 200
    assert len(protocol._closed_streams) <= 1024
    peer.data(1, b"late")  # of a stream that is forgotten: as of one that has ended
    peer.still_there()


def test_silence(serve: Any, http2: Any) -> None:
    """A connection without requests is closed in time, before the first and after one, whatever PINGs come."""
    server = serve(http2=True, limits=Limits(header_seconds=0.3, idle_seconds=0.3))
    first, second = http2(server), http2(server)
    second.request(1)
    assert second.answer(1).body == b"hello"

    def pinging() -> None:
        while True:
            first.send(frame(PING, 0, 0, b"12345678"))
            second.send(frame(PING, 0, 0, b"12345678"))
            hubbub.sleep(0.05)

    pinger = hubbub.spawn(pinging)
    try:
        with hubbub.Timeout(5):
            for peer in (first, second):
                peer.rest()
                assert peer.goaways[-1][1] == 0
    finally:
        pinger.kill(block=False)


def test_table_that_a_client_offers(serve: Any, http2: Any) -> None:
    """A client that offers to keep gigabytes of fields does not have them kept here."""

    def application(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("X-Long", environ["PATH_INFO"] + "x" * 1000)])
        return [b"ok"]

    server = serve(application, http2=True)
    peer = http2(server, settings={1: 2**31 - 1})
    for stream in range(1, 41, 2):
        peer.request(stream, path=f"/{stream}")
        assert peer.answer(stream).status == 200
    assert server.connections[0].protocol.encoder.header_table._current_size <= 4096


# The corpus of HTTP/1.1 ----------------------------------------------------------------------------------------------


def translated(data: bytes) -> tuple[list[tuple[Any, Any]], bytes] | None:
    """The first request of a conversation of HTTP/1.1, as fields and a body of HTTP/2; None if it has no such form."""
    head, _, body = data.partition(b"\r\n\r\n")
    line, *lines = head.split(b"\r\n")
    parts = line.split(b" ")
    named = [(name.lower(), value.strip(b" \t")) for name, _, value in (each.partition(b":") for each in lines)]
    if len(parts) != 3 or parts[2] != b"HTTP/1.1" or not all(b":" in each for each in lines):
        return None
    authority = [(b":authority", value) for name, value in named if name == b"host"]
    rest = [pair for pair in named if pair[0] != b"host"]
    return [(b":method", parts[0]), (b":scheme", b"http"), (b":path", parts[1]), *authority, *rest], body


def read_all(environ: Any, start_response: Any) -> list[bytes]:
    environ["wsgi.input"].read()
    start_response("200 OK", [])
    return [b"ok"]


def test_corpus(serve: Any, http2: Any, attacks: Any) -> None:
    """Of what is refused over HTTP/1.1 nothing is served over HTTP/2, and nothing that has fields of a connection."""
    limits = Limits(body_bytes=1000000, stream_resets=10000)
    server = serve(read_all, http2=True, limits=limits)
    peer, stream = http2(server), 1
    served = 0
    for attack in attacks:
        request = translated(attack.data)
        if request is None or len(attack.data) > 15000:
            continue
        fields, body = request
        peer.head(stream, fields, end=not body)
        if body:
            peer.data(stream, body, end=True)
        answer = peer.answer(stream)
        stream += 2
        if answer.status == 200:
            served += 1
            assert attack.statuses[:1] == (200,), attack
            assert not {b"connection", b"transfer-encoding", b"upgrade"} & {name for name, _ in fields}, attack
        elif answer.reset is None:
            assert 400 <= answer.status <= 505, attack
        if peer.goaways:
            peer, stream = http2(server), 1
    assert served > 50
