"""What RFC 6455 and RFC 7692 say, case by case: each is sent as bytes, and the frames of the response are read."""

from __future__ import annotations

import itertools
import zlib
from typing import Any

import hubbub
import pytest
from hubbub_server import Limits


@pytest.fixture
def hub(any_hub: Any) -> Any:
    """What a protocol says is the same on all loops."""
    return any_hub


pytest.importorskip("hubbub_server.websocket")

DEFLATE = "permessage-deflate"
TAIL = b"\x00\x00\xff\xff"
SIZES = [0, 1, 125, 126, 127, 128, 65535, 65536, 70000]


def echo(environ: Any, start_response: Any) -> list[bytes]:
    """Sends back each message."""
    socket = environ["hubbub.websocket"]()
    for message in socket:
        socket.send(message)
    return []


def deflated(data: bytes, bits: int = 15, final: bool = False) -> bytes:
    """A message as RFC 7692, 7.2.1 compresses it. With ``final`` its block is the last of its stream (7.2.3.5)."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, -bits)
    if final:
        return compressor.compress(data) + compressor.flush(zlib.Z_FINISH) + b"\x00"
    return (compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


@pytest.fixture
def opened(serve: Any, raw: Any) -> Any:
    """A WebSocket to an application that sends everything back."""
    return raw(serve(echo, limits=Limits(websocket_message_bytes=200000)))


@pytest.fixture
def deflating(serve: Any, raw: Any, peers: Any) -> Any:
    """The same with compression agreed on."""
    client = raw(
        serve(echo, limits=Limits(websocket_message_bytes=200000)), peers.request(Sec_WebSocket_Extensions=DEFLATE)
    )
    assert b"\r\nSec-WebSocket-Extensions: permessage-deflate" in client.head
    return client


# 5.2: frames --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("opcode", [1, 2])
@pytest.mark.parametrize("size", SIZES)
def test_lengths(opened: Any, peers: Any, opcode: int, size: int) -> None:
    """A message of each length comes back in a frame that says it in the shortest way."""
    opened.send(peers.frame(opcode, b"*" * size))
    assert opened.frame() == (0x80 | opcode, b"*" * size)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 300])
def test_octet_by_octet(opened: Any, peers: Any, size: int) -> None:
    """It does not matter in what pieces bytes arrive."""
    data = peers.frame(1, b"x" * size) + peers.frame(9, b"ping") + peers.frame(2, b"y" * size)
    for octet in data:
        opened.send(bytes([octet]))
        hubbub.sleep(0)
    got = [opened.frame() for _ in range(3)]
    assert (0x8A, b"ping") in got
    assert [frame for frame in got if frame[0] != 0x8A] == [(0x81, b"x" * size), (0x82, b"y" * size)]


@pytest.mark.parametrize(("opcode", "payload"), [(1, b"x"), (2, b"x"), (0, b"x"), (8, b""), (9, b""), (10, b"")])
@pytest.mark.parametrize("rsv", range(1, 8))
def test_reserved_bits(opened: Any, peers: Any, opcode: int, payload: bytes, rsv: int) -> None:
    """A reserved bit that no extension has given a meaning fails the connection (5.2)."""
    opened.send(peers.frame(opcode, payload, rsv=rsv))
    assert opened.closing() == 1002


@pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 11, 12, 13, 14, 15])
@pytest.mark.parametrize("payload", [b"", b"x"])
def test_reserved_opcodes(opened: Any, peers: Any, opcode: int, payload: bytes) -> None:
    """An opcode without a meaning fails the connection (5.2); what came before is served."""
    opened.send(peers.frame(1, b"before") + peers.frame(opcode, payload) + peers.frame(1, b"after"))
    assert opened.frame() == (0x81, b"before")
    assert opened.closing() == 1002


@pytest.mark.parametrize("opcode", [0, 1, 2, 8, 9, 10])
def test_unmasked(opened: Any, peers: Any, opcode: int) -> None:
    """A client must mask (5.1)."""
    opened.send(peers.frame(opcode, b"", mask=None))
    assert opened.closing() == 1002


@pytest.mark.parametrize(("size", "width"), [(0, 16), (125, 16), (0, 64), (126, 64), (65535, 64)])
def test_length_that_is_too_long(opened: Any, peers: Any, size: int, width: int) -> None:
    """A length is said in the shortest way (5.2)."""
    opened.send(peers.frame(2, bytes(size), width=width))
    assert opened.closing() == 1002


def test_length_with_its_first_bit(opened: Any, peers: Any) -> None:
    """The first bit of a length of 64 bits is 0 (5.2)."""
    opened.send(peers.frame(2, b"", length=1 << 63, width=64))
    assert opened.closing() == 1002


@pytest.mark.parametrize("mask", [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x00\xff\x00\x80"])
def test_masks(opened: Any, peers: Any, mask: bytes) -> None:
    """Any mask will do, and its bytes are used in turn (5.3)."""
    payload = bytes(range(256)) * 3 + b"abc"
    opened.send(peers.frame(2, payload, mask=mask))
    assert opened.frame() == (0x82, payload)


# 5.4: fragmentation -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("opcode", [1, 2])
@pytest.mark.parametrize(
    "sizes", [(1, 1), (0, 0), (0, 5, 0), (5, 0, 5), (100,) * 200, (1,) * 1000, (0,) * 1000, (60000, 1)]
)
def test_fragments(opened: Any, peers: Any, opcode: int, sizes: tuple[int, ...]) -> None:
    """A message in fragments is one message."""
    for number, size in enumerate(sizes):
        opened.send(peers.frame(opcode if not number else 0, b"f" * size, fin=number == len(sizes) - 1))
    assert opened.frame() == (0x80 | opcode, b"f" * sum(sizes))


@pytest.mark.parametrize("opcode", [9, 10])
def test_control_frames_between_fragments(opened: Any, peers: Any, opcode: int) -> None:
    """Control frames may come between fragments, and a ping is responded to before the message is complete."""
    opened.send(peers.frame(1, b"one ", fin=False) + peers.frame(opcode, b"in between"))
    if opcode == 9:
        assert opened.frame() == (0x8A, b"in between")
    opened.send(peers.frame(0, b"two ", fin=False) + peers.frame(opcode, b"again") + peers.frame(0, b"three"))
    got = [opened.frame() for _ in range(2 if opcode == 9 else 1)]
    assert (0x81, b"one two three") in got


WRONG_ORDERS = {
    "nothing to continue": [(0, b"x", True)],
    "nothing to continue, and it goes on": [(0, b"x", False), (0, b"x", True)],
    "a text in a text": [(1, b"x", False), (1, b"x", True)],
    "binary in a text": [(1, b"x", False), (2, b"x", True)],
    "a text in binary": [(2, b"x", False), (0, b"x", False), (1, b"x", True)],
    "continued after its end": [(1, b"x", False), (0, b"x", True), (0, b"x", True)],
    "ping in fragments": [(9, b"x", False), (0, b"x", True)],
    "pong in fragments": [(10, b"x", False), (0, b"x", True)],
    "close in fragments": [(8, b"", False), (0, b"", True)],
}


@pytest.mark.parametrize("name", WRONG_ORDERS)
def test_wrong_order(opened: Any, peers: Any, name: str) -> None:
    """Fragments in an order that has no meaning, and fragmented control frames, fail the connection (5.4, 5.5)."""
    opened.send(b"".join(peers.frame(opcode, payload, fin) for opcode, payload, fin in WRONG_ORDERS[name]))
    assert opened.closing() == 1002


# 5.5: control frames ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("payload", [b"", b"hello", bytes(range(125)), b"\xfe\xff" * 62])
def test_ping(opened: Any, peers: Any, payload: bytes) -> None:
    """A pong has the payload of its ping, whatever bytes those are."""
    opened.send(peers.frame(9, payload))
    assert opened.frame() == (0x8A, payload)


@pytest.mark.parametrize("opcode", [8, 9, 10])
def test_long_control_frame(opened: Any, peers: Any, opcode: int) -> None:
    """A control frame of more than 125 bytes fails the connection, and is not waited for."""
    opened.send(peers.frame(opcode, b"\x03\xe8" + b"x" * 124)[:10])
    assert opened.closing() == 1002


def test_unasked_pong(opened: Any, peers: Any) -> None:
    """A pong that nobody has asked for is ignored."""
    opened.send(peers.frame(10, b"unasked") + peers.frame(9, b"ping"))
    assert opened.frame() == (0x8A, b"ping")


def test_ping_flood(opened: Any, peers: Any) -> None:
    """Of a flood of pings some are responded to, the last one for certain, and the server keeps nothing of it."""
    opened.send(b"".join(peers.frame(9, b"%d" % number) for number in range(20000)))
    count = 0
    while opened.frame() != (0x8A, b"19999"):
        count += 1
    assert count < 2000
    opened.send(peers.frame(1, b"still here"))
    assert opened.frame() == (0x81, b"still here")


# 7: closing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999])
def test_close_codes(opened: Any, peers: Any, code: int) -> None:
    """The codes that may be sent come back (7.4)."""
    opened.send(peers.close_frame(code, b"because"))
    assert opened.closing() == code


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535])
def test_wrong_close_codes(opened: Any, peers: Any, code: int) -> None:
    """Those that may not be sent fail the connection (7.4)."""
    opened.send(peers.close_frame(code))
    assert opened.closing() == 1002


def test_close_without_code(opened: Any, peers: Any) -> None:
    """A Close frame without a code is answered by one without (5.5.1)."""
    opened.send(peers.close_frame(None))
    assert opened.closing() is None


def test_close_of_one_byte(opened: Any, peers: Any) -> None:
    """A code has two bytes (5.5.1)."""
    opened.send(peers.frame(8, b"\x03"))
    assert opened.closing() == 1002


@pytest.mark.parametrize(
    ("reason", "code"), [(b"x" * 123, 1000), ("ä€𝄞".encode(), 1000), (b"\xce\xba\xed\xa0\x80", 1007)]
)
def test_reason(opened: Any, peers: Any, reason: bytes, code: int) -> None:
    """A reason is UTF-8 (5.5.1, 8.1)."""
    opened.send(peers.close_frame(1000, reason))
    assert opened.closing() == code


def test_message_before_close(opened: Any, peers: Any) -> None:
    """A message that came with the Close frame is responded to first."""
    opened.send(peers.frame(1, b"before") + peers.close_frame(1000))
    assert opened.frame() == (0x81, b"before")
    assert opened.closing() == 1000


@pytest.mark.parametrize("opcode", [1, 8, 9])
def test_nothing_after_close(opened: Any, peers: Any, opcode: int) -> None:
    """What comes after a Close frame is not looked at (5.5.1)."""
    opened.send(peers.close_frame(1000) + peers.frame(opcode, b"\x03\xe8") + b"\xff" * 100)
    assert opened.closing() == 1000


def test_end_in_the_midst(opened: Any, peers: Any) -> None:
    """A client that ends in the midst of a frame gets no Close frame: the connection is lost."""
    opened.send(peers.frame(1, b"begun")[:-2])
    opened.client.sock.shutdown(1)
    assert opened.closing() == 1006


# 8.1: UTF-8 ---------------------------------------------------------------------------------------------------------

VALID = ["κόσμε", "\x00", "\x7f", "\x80", "\u07ff", "\u0800", "\ud7ff", "\ue000", "\ufffd", "\ufffe", "\uffff",
         "\U00010000", "\U0010ffff", "Hello-µ@ßöäüàá-UTF-8!!"]  # fmt: skip
INVALID = [
    *(
        b"\x80",
        b"\xbf",
        b"\xc0\x80",
        b"\xc1\xbf",
        b"\xe0\x80\x80",
        b"\xe0\x9f\xbf",
        b"\xf0\x80\x80\x80",
        b"\xf5\x80\x80\x80",
    ),
    *(b"\xf8\x88\x80\x80\x80", b"\xfe", b"\xff", b"\xed\xa0\x80", b"\xed\xbf\xbf", b"\xed\xa0\x80\xed\xb0\x80"),
    *(
        b"\xf4\x90\x80\x80",
        b"\xc3\x28",
        b"\xe2\x28\xa1",
        b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",
    ),
]
CUT = [b"\xce", b"\xe1\xbd", b"\xf0\x9d\x84", b"good \xe2\x82"]


@pytest.mark.parametrize("text", VALID)
def test_valid_text(opened: Any, peers: Any, text: str) -> None:
    """Every code point comes back, also when a fragment ends within it."""
    data = text.encode()
    opened.send(peers.frame(1, data))
    assert opened.frame() == (0x81, data)
    parts = [data[index : index + 1] for index in range(len(data))]
    opened.send(
        b"".join(
            peers.frame(0 if number else 1, part, fin=number == len(parts) - 1) for number, part in enumerate(parts)
        )
    )
    assert opened.frame() == (0x81, data)


@pytest.mark.parametrize("data", INVALID)
def test_invalid_text(opened: Any, peers: Any, data: bytes) -> None:
    """A text that is not UTF-8 fails the connection with 1007, as soon as that can be seen."""
    opened.send(peers.frame(1, data + b"x" * 50000)[: 8 + len(data) + 8])
    assert opened.closing() == 1007


@pytest.mark.parametrize("data", INVALID)
def test_invalid_text_in_fragments(opened: Any, peers: Any, data: bytes) -> None:
    """So also if a fragment ends in the midst of it, before the last fragment has come."""
    opened.send(peers.frame(1, data[:1], fin=False) + peers.frame(0, data[1:] + b"x", fin=False))
    assert opened.closing() == 1007


@pytest.mark.parametrize("data", CUT)
def test_cut_text(opened: Any, peers: Any, data: bytes) -> None:
    """A text must not end in the midst of a character."""
    opened.send(peers.frame(1, data))
    assert opened.closing() == 1007


# Limits -------------------------------------------------------------------------------------------------------------


def test_message_limit(opened: Any, peers: Any) -> None:
    """A message just as long as it may be is served; one byte more, in whatever frames, is 1009."""
    opened.send(peers.frame(2, bytes(200000)))
    assert opened.frame() == (0x82, bytes(200000))
    opened.send(peers.frame(2, bytes(100000), fin=False) + peers.frame(0, bytes(100001)))
    assert opened.closing() == 1009


def test_message_limit_before_the_message(opened: Any, peers: Any) -> None:
    """One that is too long by its own words is refused before it comes."""
    opened.send(peers.frame(2, b"", length=1 << 40))
    assert opened.closing() == 1009


def test_limit_of_one_application(serve: Any, raw: Any, peers: Any) -> None:
    """An application may set another limit for its own."""

    def application(environ: Any, start_response: Any) -> list[bytes]:
        socket = environ["hubbub.websocket"](message_bytes=10)
        for message in socket:
            socket.send(message)
        return []

    client = raw(serve(application))
    client.send(peers.frame(2, bytes(10)) + peers.frame(2, bytes(11)))
    assert client.frame() == (0x82, bytes(10))
    assert client.closing() == 1009


def test_rude_client_hears_why(opened: Any, peers: Any) -> None:
    """A client that goes on to send megabytes after its fault gets the Close frame, not a reset."""
    opened.send(peers.frame(2, b"", length=1 << 40))
    sender = hubbub.spawn(lambda: [opened.client.send(bytes(65536)) for _ in range(50)])
    assert opened.frame()[1][:2] == (1009).to_bytes(2, "big")
    sender.get(timeout=10)


# RFC 7692 -----------------------------------------------------------------------------------------------------------

OFFERS: list[tuple[str, str | None]] = [
    (DEFLATE, f"{DEFLATE}; server_max_window_bits=12"),
    ("x-webkit-deflate-frame", None),
    (f"{DEFLATE}; client_max_window_bits", f"{DEFLATE}; server_max_window_bits=12; client_max_window_bits=12"),
    (f"{DEFLATE}; client_max_window_bits=10", f"{DEFLATE}; server_max_window_bits=12; client_max_window_bits=10"),
    (f"{DEFLATE}; client_max_window_bits=8", f"{DEFLATE}; server_max_window_bits=12"),
    (f"{DEFLATE}; server_max_window_bits=9", f"{DEFLATE}; server_max_window_bits=9"),
    (f'{DEFLATE}; server_max_window_bits="10"', f"{DEFLATE}; server_max_window_bits=10"),
    (f"{DEFLATE}; server_max_window_bits=8", None),
    (f"{DEFLATE}; server_max_window_bits", None),
    (f"{DEFLATE}; server_max_window_bits=16", None),
    (f"{DEFLATE}; server_max_window_bits=010", None),
    (f"{DEFLATE}; server_max_window_bits=10; server_max_window_bits=10", None),
    (f"{DEFLATE}; client_max_window_bits=7", None),
    (f"{DEFLATE}; server_no_context_takeover", f"{DEFLATE}; server_no_context_takeover; server_max_window_bits=12"),
    (f"{DEFLATE}; server_no_context_takeover=1", None),
    (f"{DEFLATE}; client_no_context_takeover", f"{DEFLATE}; client_no_context_takeover; server_max_window_bits=12"),
    (f"{DEFLATE}; unknown", None),
    (f"{DEFLATE}; unknown, {DEFLATE}", f"{DEFLATE}; server_max_window_bits=12"),
    (f"other, {DEFLATE}; server_max_window_bits=8, {DEFLATE}; server_max_window_bits=11",
     f"{DEFLATE}; server_max_window_bits=11"),
]  # fmt: skip


@pytest.mark.parametrize(("offer", "agreed"), OFFERS)
def test_offers(serve: Any, raw: Any, peers: Any, offer: str, agreed: str | None) -> None:
    """The first offer that is valid and can be met is accepted (7.1); else there is no compression."""
    client = raw(serve(echo), peers.request(Sec_WebSocket_Extensions=offer))
    said = [line[26:] for line in client.head.decode().split("\r\n") if line.startswith("Sec-WebSocket-Extensions: ")]
    assert said == ([] if agreed is None else [agreed])
    client.send(peers.frame(1, b"works"))
    assert client.frame() == (0x81, b"works")


def test_compression_that_is_not_wanted(serve: Any, raw: Any, peers: Any) -> None:
    """An application may do without."""

    def application(environ: Any, start_response: Any) -> list[bytes]:
        environ["hubbub.websocket"](compression=False).close()
        return []

    assert b"Extensions" not in raw(serve(application), peers.request(Sec_WebSocket_Extensions=DEFLATE)).head


TEXT = b"all work and no play makes a dull client, " * 40


@pytest.mark.parametrize("parameters", ["", "; server_no_context_takeover", "; server_max_window_bits=9"])
def test_compressed_messages(serve: Any, raw: Any, peers: Any, parameters: str) -> None:
    """Messages are compressed if that is worth it, by the window that was agreed on, with or without the last one."""
    client = raw(serve(echo), peers.request(Sec_WebSocket_Extensions=DEFLATE + parameters))
    bits = 9 if "bits" in parameters else 12
    inflater = zlib.decompressobj(-bits)
    lengths = []
    for _ in range(2):
        client.send(peers.frame(1, deflated(TEXT), rsv=4))
        first, payload = client.frame()
        assert first == 0xC1
        lengths.append(len(payload))
        if "no_context" in parameters:
            inflater = zlib.decompressobj(-bits)
        assert inflater.decompress(payload + TAIL) == TEXT
    assert (lengths[1] < lengths[0]) == ("no_context" not in parameters)
    client.send(peers.frame(1, b"short"))
    assert client.frame() == (0x81, b"short")


def test_example_of_the_rfc(deflating: Any, peers: Any) -> None:
    """The examples of RFC 7692, 7.2.3: one block, with the window of the last, without compression, two blocks."""
    examples = (
        *("f248cdc9c90700", "f200110000", "000500faff48656c6c6f00", "f348cdc9c9070000"),
        "f248050000 00ffff cac9c90700",
    )
    for example in examples:
        deflating.send(peers.frame(1, bytes.fromhex(example), rsv=4))
        assert deflating.frame() == (0x81, b"Hello"), example


@pytest.mark.parametrize("step", [1, 7, 100])
def test_compressed_fragments(deflating: Any, peers: Any, step: int) -> None:
    """A compressed message in fragments, with pings between them."""
    data = deflated(TEXT)
    parts = [data[index : index + step] for index in range(0, len(data), step)]
    frames = []
    for number, part in enumerate(parts):
        frames.append(peers.frame(0 if number else 1, part, number == len(parts) - 1, 0 if number else 4))
        frames.append(peers.frame(9, b"p"))
    deflating.send(b"".join(frames))
    while (got := deflating.frame())[0] == 0x8A:
        pass
    assert zlib.decompressobj(-12).decompress(got[1] + TAIL) == TEXT


def test_kinds_in_turn(deflating: Any, peers: Any) -> None:
    """Compressed messages and others, and last blocks, in any order."""
    inflater = zlib.decompressobj(-12)
    for compressed, final, size in itertools.product((True, False), (True, False), (0, 10, 5000, 60000)):
        data = bytes(range(250)) * (size // 250) + bytes(size % 250)
        payload = deflated(data, final=final) if compressed else data
        deflating.send(peers.frame(2, payload, rsv=4 if compressed else 0))
        first, got = deflating.frame()
        assert (inflater.decompress(got + TAIL) if first & 0x40 else got) == data


@pytest.mark.parametrize(
    "frames",
    [
        [(9, b"x", True, 4)],
        [(10, b"", True, 4)],
        [(8, b"", True, 4)],
        [(1, b"\xf2", False, 4), (0, b"\x48", True, 4)],
        [(1, b"x", False, 0), (0, b"x", True, 4)],
        [(1, b"x", True, 2)],
        [(1, b"x", True, 1)],
        [(1, b"x", True, 6)],
    ],
)
def test_wrong_compressed_bit(deflating: Any, peers: Any, frames: Any) -> None:
    """The bit is for the first frame of a message alone (6.1), and the other two bits have no meaning."""
    deflating.send(b"".join(peers.frame(opcode, payload, fin, rsv) for opcode, payload, fin, rsv in frames))
    assert deflating.closing() == 1002


@pytest.mark.parametrize("payload", [b"\xff\xff\xff", b"\x06", b"\xf2\x48\xcd" + b"\xff" * 50])
def test_damaged_data(deflating: Any, peers: Any, payload: bytes) -> None:
    """What cannot be inflated is 1007."""
    deflating.send(peers.frame(2, payload, rsv=4))
    assert deflating.closing() == 1007


def test_reference_to_a_window_that_is_gone(serve: Any, raw: Any, peers: Any) -> None:
    """A client that has promised to begin each message anew, and does not, is 1007."""
    client = raw(serve(echo), peers.request(Sec_WebSocket_Extensions=f"{DEFLATE}; client_no_context_takeover"))
    for example, wanted in (("f248cdc9c90700", 0x81), ("f200110000", 0x88)):
        client.send(peers.frame(1, bytes.fromhex(example), rsv=4))
        first, payload = client.frame()
        assert first == wanted
    assert payload[:2] == (1007).to_bytes(2, "big")


def test_invalid_text_in_compressed_data(deflating: Any, peers: Any) -> None:
    """A text is UTF-8 once it is inflated."""
    deflating.send(peers.frame(1, deflated(b"abc\xff"), rsv=4))
    assert deflating.closing() == 1007


@pytest.mark.parametrize("fragments", [1, 50])
@pytest.mark.parametrize("opcode", [1, 2])
def test_bombs(deflating: Any, peers: Any, opcode: int, fragments: int) -> None:
    """A message that inflates beyond its limit is 1009, and is not inflated further than that."""
    bomb = deflated(bytes(40_000_000))
    assert len(bomb) < 200000
    step = len(bomb) // fragments + 1
    parts = [bomb[index : index + step] for index in range(0, len(bomb), step)]
    for number, part in enumerate(parts):
        deflating.send(peers.frame(0 if number else opcode, part, number == len(parts) - 1, 0 if number else 4))
    assert deflating.closing() == 1009


def test_inflated_to_the_limit(deflating: Any, peers: Any) -> None:
    """A message that inflates to just its limit is served; one byte more is not."""
    deflating.send(peers.frame(2, deflated(bytes(200000)), rsv=4))
    first, payload = deflating.frame()
    assert first == 0xC2
    assert zlib.decompressobj(-12).decompress(payload + TAIL) == bytes(200000)
    deflating.send(peers.frame(2, deflated(bytes(200001)), rsv=4))
    assert deflating.closing() == 1009


def test_streams_that_end_again_and_again(deflating: Any, peers: Any) -> None:
    """Blocks that each end a stream, and hold nothing, cost the server more than they take: there may be few."""
    deflating.send(peers.frame(2, b"\x03\x00" * 5000, rsv=4))
    assert deflating.closing() == 1007
