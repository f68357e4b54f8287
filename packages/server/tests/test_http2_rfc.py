"""What RFC 9113 and RFC 7541 demand of a server, case by case, by the number of the section.

Written from the text of the two. An outcome is the error of the whole connection (GOAWAY), the error of a stream
(RST_STREAM) with what was answered before, or service as if nothing had been. Where the RFCs leave the choice between
the first two, the table says which it is here.
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

import hubbub
import pytest
from hpack import Encoder
from hubbub_server import Limits


@pytest.fixture
def hub(any_hub: Any) -> Any:
    """What a protocol says is the same on all loops."""
    return any_hub


NO_ERROR, PROTOCOL, INTERNAL, FLOW, TIMEOUT, CLOSED, FRAME_SIZE, REFUSED, CANCEL, COMPRESSION = range(10)
CALM = 11
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITIZED = 0x1, 0x1, 0x4, 0x8, 0x20
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
BEGIN = PREFACE + b"\0\0\0\4\0\0\0\0\0"


class Connection(NamedTuple):
    """The connection ends with an error, or with one of some."""

    code: int | None


class Stream(NamedTuple):
    """A stream ends with an error, after a response with a status if there is one; the connection goes on."""

    number: int
    code: int | None
    status: int = 0


class Case(NamedTuple):
    """What a client sends, and what becomes of it."""

    section: str
    name: str
    data: bytes
    outcome: Connection | Stream


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def n(value: int) -> bytes:
    return value.to_bytes(4, "big")


def fields(*more: tuple[str, str], without: str = "", **changed: str) -> bytes:
    """The block of a request, with its pseudo-header fields changed, and fields after them."""
    pseudo = {"method": "GET", "scheme": "http", "authority": "x", "path": "/", **changed}
    chosen = [(f":{name}", value) for name, value in pseudo.items() if name != without]
    return Encoder().encode([*chosen, *more])


def raw(*pairs: tuple[bytes, bytes]) -> bytes:
    """A block of literals that are not indexed, without Huffman coding: whatever is in them."""
    made = b""
    for name, value in pairs:
        made += b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value
    return made


REQUEST = ((b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"x"), (b":path", b"/"))
GET = fields()
POST = fields(method="POST")
GET_1 = frame(HEADERS, END_STREAM | END_HEADERS, 1, GET)
OPEN_1 = frame(HEADERS, END_HEADERS, 1, POST)
OK = Stream(1, None, 200)


def setting(*pairs: tuple[int, int]) -> bytes:
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", *pair) for pair in pairs))


def request(block: bytes) -> bytes:
    return frame(HEADERS, END_STREAM | END_HEADERS, 1, block)


BAD = Stream(1, PROTOCOL, 400)


def prefaces() -> list[Case]:
    return [
        Case("3.4", "SETTINGS may be empty", BEGIN + GET_1, OK),
        Case("3.4", "the preface is another", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\rX", Connection(PROTOCOL)),
        Case("3.4", "SETTINGS must follow", PREFACE + GET_1, Connection(PROTOCOL)),
        Case("3.4", "an acknowledgement is not that", PREFACE + frame(SETTINGS, ACK, 0), Connection(PROTOCOL)),
        Case("3.4", "nor is a PING", PREFACE + frame(PING, 0, 0, b"x" * 8), Connection(PROTOCOL)),
    ]


def framing() -> list[Case]:
    most = 16384
    return [
        Case("4.1", "unknown types are ignored", BEGIN + frame(0xBA, 0xFF, 0, b"x" * 9) + GET_1, OK),
        Case("4.1", "and on a stream", BEGIN + OPEN_1 + frame(0xBA, 0, 1, b"x") + frame(DATA, 1, 1), OK),
        Case("4.1", "undefined flags are ignored", BEGIN + frame(PING, 0xFE & ~ACK, 0, b"x" * 8) + GET_1, OK),
        Case("4.1", "the reserved bit is ignored", BEGIN + frame(PING, 0, 1 << 31, b"x" * 8) + GET_1, OK),
        Case("4.2", "a frame of the largest size", BEGIN + OPEN_1 + frame(DATA, 1, 1, b"x" * most), OK),
        Case("4.2", "a DATA frame is larger", BEGIN + OPEN_1 + frame(DATA, 1, 1, b"x" * (most + 1)),
             Connection(FRAME_SIZE)),
        Case("4.2", "HEADERS are larger", BEGIN + frame(HEADERS, 5, 1, GET + b"\0" * most), Connection(FRAME_SIZE)),
        Case("4.2", "only its head has come", BEGIN + b"\xff\xff\xff\0\0\0\0\0\1", Connection(FRAME_SIZE)),
        Case("4.2", "an unknown frame is larger", BEGIN + frame(0xBA, 0, 0, b"x" * (most + 1)), Connection(FRAME_SIZE)),
        Case("4.3", "a block that cannot be decoded", BEGIN + request(b"\x80"), Connection(COMPRESSION)),
        Case("4.3", "of trailers", BEGIN + OPEN_1 + request(b"\xbf\xff"), Connection(COMPRESSION)),
        Case("4.3", "a frame in the midst of a block",
             BEGIN + frame(HEADERS, 1, 1, GET[:3]) + frame(PING, 0, 0, b"x" * 8),
             Connection(PROTOCOL)),
        Case("4.3", "an unknown frame there", BEGIN + frame(HEADERS, 1, 1, GET[:3]) + frame(0xBA, 0, 1),
             Connection(PROTOCOL)),
        Case("4.3", "a block in pieces", BEGIN + frame(HEADERS, 1, 1, GET[:3]) + frame(CONTINUATION, 0, 1, GET[3:4])
             + frame(CONTINUATION, 4, 1, GET[4:]), OK),
    ]  # fmt: skip


def states() -> list[Case]:
    closed = GET_1 + frame(RST_STREAM, 0, 1, n(CANCEL))
    return [
        Case("5.1", "DATA on an idle stream", BEGIN + frame(DATA, 1, 1, b"x"), Connection(PROTOCOL)),
        Case("5.1", "RST_STREAM on an idle stream", BEGIN + frame(RST_STREAM, 0, 1, n(8)), Connection(PROTOCOL)),
        Case("5.1", "WINDOW_UPDATE on an idle stream", BEGIN + frame(WINDOW_UPDATE, 0, 1, n(1)), Connection(PROTOCOL)),
        Case("5.1", "CONTINUATION on an idle stream", BEGIN + frame(CONTINUATION, 4, 1, GET), Connection(PROTOCOL)),
        Case("5.1", "PRIORITY on an idle stream", BEGIN + frame(PRIORITY, 0, 3, n(0) + b"\1") + GET_1, OK),
        Case("5.1", "DATA after the end", BEGIN + frame(HEADERS, 5, 1, fields(path="/wait")) + frame(DATA, 1, 1, b"x"),
             Stream(1, CLOSED)),
        Case("5.1", "HEADERS after the end", BEGIN + frame(HEADERS, 5, 1, fields(path="/wait")) + GET_1,
             Stream(1, CLOSED)),
        Case("5.1", "CONTINUATION after the end", BEGIN + GET_1 + frame(CONTINUATION, 4, 1, GET), Connection(PROTOCOL)),
        Case("5.1", "WINDOW_UPDATE after the end", BEGIN + GET_1 + frame(WINDOW_UPDATE, 0, 1, n(1)), OK),
        Case("5.1", "PRIORITY after the end", BEGIN + GET_1 + frame(PRIORITY, 0, 1, n(0) + b"\1"), OK),
        Case("5.1", "HEADERS after a reset", BEGIN + closed + GET_1, Stream(1, CLOSED)),
        Case("5.1", "DATA after a reset", BEGIN + closed + frame(DATA, 1, 1, b"x"), Stream(1, CLOSED)),
        Case("5.1", "PRIORITY after a reset", BEGIN + closed + frame(PRIORITY, 0, 1, n(0) + b"\1")
             + frame(HEADERS, 5, 3, GET), Stream(3, None, 200)),
        Case("5.1.1", "the number is even", BEGIN + frame(HEADERS, 5, 2, GET), Connection(PROTOCOL)),
        Case("5.1.1", "the number is less than one before",
             BEGIN + frame(HEADERS, 5, 5, GET) + frame(HEADERS, 5, 3, GET),
             Connection(PROTOCOL)),
        Case("5.1.1", "the number is 0", BEGIN + frame(HEADERS, 5, 0, GET), Connection(PROTOCOL)),
        Case("5.1.2", "one stream too many", BEGIN + frame(HEADERS, 5, 1, fields(path="/wait"))
             + frame(HEADERS, 5, 3, fields(path="/wait")) + frame(HEADERS, 5, 5, GET), Stream(5, REFUSED)),
    ]  # fmt: skip


def data_and_headers() -> list[Case]:
    return [
        Case("6.1", "DATA on stream 0", BEGIN + frame(DATA, 1, 0, b"x"), Connection(PROTOCOL)),
        Case("6.1", "padding", BEGIN + OPEN_1 + frame(DATA, END_STREAM | PADDED, 1, b"\2xyz\0\0"), OK),
        Case("6.1", "padding as long as the payload", BEGIN + OPEN_1 + frame(DATA, 9, 1, b"\6xyz\0\0"),
             Connection(PROTOCOL)),
        Case("6.1", "no length of the padding", BEGIN + OPEN_1 + frame(DATA, 9, 1, b""), Connection(FRAME_SIZE)),
        Case("6.2", "HEADERS with padding", BEGIN + frame(HEADERS, 0xD, 1, b"\2" + GET + b"\0\0"), OK),
        Case("6.2", "too much padding", BEGIN + frame(HEADERS, 0xD, 1, b"\xff" + GET), Connection(PROTOCOL)),
        Case("6.2", "HEADERS with a priority", BEGIN + frame(HEADERS, 0x25, 1, n(3) + b"\1" + GET), OK),
        Case("6.2", "a part of a priority", BEGIN + frame(HEADERS, 0x25, 1, b"\0\0\0"), Connection(FRAME_SIZE)),
        Case("6.3", "PRIORITY on stream 0", BEGIN + frame(PRIORITY, 0, 0, n(1) + b"\1"), Connection(PROTOCOL)),
        Case("6.3", "PRIORITY of another size", BEGIN + frame(PRIORITY, 0, 1, n(1)), Connection(FRAME_SIZE)),
        Case("6.4", "RST_STREAM on stream 0", BEGIN + frame(RST_STREAM, 0, 0, n(8)), Connection(PROTOCOL)),
        Case("6.4", "RST_STREAM of another size", BEGIN + OPEN_1 + frame(RST_STREAM, 0, 1, b"xyz"),
             Connection(FRAME_SIZE)),
        Case("6.6", "PUSH_PROMISE of a client", BEGIN + OPEN_1 + frame(PUSH_PROMISE, 4, 1, n(2) + GET),
             Connection(PROTOCOL)),
        Case("6.10", "CONTINUATION on stream 0",
             BEGIN + frame(HEADERS, 1, 1, GET[:3]) + frame(CONTINUATION, 4, 0, GET[3:]),
             Connection(PROTOCOL)),
        Case("6.10", "of another stream", BEGIN + frame(HEADERS, 1, 1, GET[:3]) + frame(CONTINUATION, 4, 3, GET[3:]),
             Connection(PROTOCOL)),
        Case("6.10", "after the block", BEGIN + GET_1 + frame(CONTINUATION, 4, 1), Connection(PROTOCOL)),
        Case("6.10", "after DATA", BEGIN + OPEN_1 + frame(DATA, 0, 1, b"x") + frame(CONTINUATION, 4, 1),
             Connection(PROTOCOL)),
    ]  # fmt: skip


def control() -> list[Case]:
    return [
        Case("6.5", "SETTINGS on a stream", BEGIN + OPEN_1 + frame(SETTINGS, 0, 1), Connection(PROTOCOL)),
        Case("6.5", "SETTINGS of another size", BEGIN + frame(SETTINGS, 0, 0, b"xyz"), Connection(FRAME_SIZE)),
        Case("6.5", "an acknowledgement with settings", BEGIN + frame(SETTINGS, ACK, 0, b"\0\1\0\0\0\0"),
             Connection(FRAME_SIZE)),
        Case("6.5.2", "ENABLE_PUSH is 2", BEGIN + setting((2, 2)), Connection(PROTOCOL)),
        Case("6.5.2", "INITIAL_WINDOW_SIZE is too large", BEGIN + setting((4, 2**31)), Connection(FLOW)),
        Case("6.5.2", "MAX_FRAME_SIZE is too small", BEGIN + setting((5, 16383)), Connection(PROTOCOL)),
        Case("6.5.2", "MAX_FRAME_SIZE is too large", BEGIN + setting((5, 2**24)), Connection(PROTOCOL)),
        Case("6.5.2", "the largest values", BEGIN + setting((4, 2**31 - 1), (5, 2**24 - 1)) + GET_1, OK),
        Case("6.5.2", "unknown settings are ignored", BEGIN + setting((0xF1F2, 9)) + GET_1, OK),
        Case("6.5.3", "the last of two values counts", BEGIN + setting((4, 0), (4, 100)) + GET_1, OK),
        Case("6.7", "PING on a stream", BEGIN + OPEN_1 + frame(PING, 0, 1, b"x" * 8), Connection(PROTOCOL)),
        Case("6.7", "PING of another size", BEGIN + frame(PING, 0, 0, b"xyz"), Connection(FRAME_SIZE)),
        Case("6.7", "an answer that nobody has asked for", BEGIN + frame(PING, ACK, 0, b"x" * 8) + GET_1, OK),
        Case("6.8", "GOAWAY on a stream", BEGIN + OPEN_1 + frame(GOAWAY, 0, 1, n(0) * 2), Connection(PROTOCOL)),
        Case("6.8", "GOAWAY too short", BEGIN + frame(GOAWAY, 0, 0, n(0)), Connection(FRAME_SIZE)),
        Case("6.9", "WINDOW_UPDATE of 0", BEGIN + frame(WINDOW_UPDATE, 0, 0, n(0)), Connection(PROTOCOL)),
        Case("6.9", "the same on a stream", BEGIN + OPEN_1 + frame(WINDOW_UPDATE, 0, 1, n(0)), Stream(1, PROTOCOL)),
        Case("6.9", "WINDOW_UPDATE of another size", BEGIN + frame(WINDOW_UPDATE, 0, 0, b"xyz"),
             Connection(FRAME_SIZE)),
        Case("6.9.1", "the connection's window overflows", BEGIN + frame(WINDOW_UPDATE, 0, 0, n(2**31 - 1)),
             Connection(FLOW)),
        Case("6.9.1", "a stream's window overflows", BEGIN + OPEN_1 + frame(WINDOW_UPDATE, 0, 1, n(2**31 - 1)),
             Stream(1, FLOW)),
        Case("6.9.2", "a setting makes one overflow", BEGIN + OPEN_1 + frame(WINDOW_UPDATE, 0, 1, n(2**31 - 1 - 65535))
             + setting((4, 65536)), Connection(FLOW)),
    ]  # fmt: skip


def messages() -> list[Case]:
    def plus(*more: tuple[bytes, bytes]) -> bytes:
        return BEGIN + request(raw(*REQUEST, *more))

    def instead(*pairs: tuple[bytes, bytes]) -> bytes:
        return BEGIN + request(raw(*pairs))

    cases = [
        Case("8.1", "trailers", BEGIN + OPEN_1 + frame(DATA, 0, 1, b"x") + request(raw((b"a", b"b"))), OK),
        Case("8.1", "trailers do not end the stream", BEGIN + OPEN_1 + frame(HEADERS, 4, 1, raw((b"a", b"b"))),
             Connection(PROTOCOL)),
        Case("8.1.1", "the body is longer than its length",
             BEGIN + frame(HEADERS, 4, 1, fields(("content-length", "1")))
             + frame(DATA, 1, 1, b"xx"), BAD),
        Case("8.1.1", "it is longer, in several frames", BEGIN + frame(HEADERS, 4, 1, fields(("content-length", "1")))
             + frame(DATA, 0, 1, b"x") + frame(DATA, 1, 1, b"x"), BAD),
        Case("8.1.1", "it is shorter", BEGIN + frame(HEADERS, 4, 1, fields(("content-length", "3")))
             + frame(DATA, 1, 1, b"xx"), BAD),
        Case("8.1.1", "there is none", BEGIN + request(fields(("content-length", "1"))), BAD),
        Case("8.1.1", "a length of 0, and none", BEGIN + request(fields(("content-length", "0"))), OK),
        Case("8.2", "an upper-case name", plus((b"X-A", b"b")), BAD),
        Case("8.2.1", "an empty name", plus((b"", b"b")), BAD),
        Case("8.2.1", "a blank in a name", plus((b"a b", b"b")), BAD),
        Case("8.2.1", "a colon in a name", plus((b"a:b", b"b")), BAD),
        Case("8.2.1", "DEL in a name", plus((b"a\x7f", b"b")), BAD),
        Case("8.2.1", "a byte beyond ASCII in a name", plus((b"a\xe9", b"b")), BAD),
        Case("8.2.1", "NUL in a value", plus((b"a", b"b\0c")), BAD),
        Case("8.2.1", "CR in a value", plus((b"a", b"b\rc")), BAD),
        Case("8.2.1", "LF in a value", plus((b"a", b"b\nc")), BAD),
        Case("8.2.1", "a field in a value", plus((b"a", b"b\r\nc: d")), BAD),
        Case("8.2.1", "a request in a value", plus((b"a", b"b\r\n\r\nGET / HTTP/1.1\r\n")), BAD),
        Case("8.2.1", "a line break in a path", instead(*REQUEST[:3], (b":path", b"/ HTTP/1.1\r\na: b")), BAD),
        Case("8.2.1", "a line break in an authority", instead(*REQUEST[:2], (b":authority", b"x\r\na: b"), REQUEST[3]),
             BAD),
        Case("8.2.1", "a line break in a method", instead((b":method", b"GET / HTTP/1.1\r\na: "), *REQUEST[1:]), BAD),
        Case("8.2.1", "a blank before a value", plus((b"a", b" b")), BAD),
        Case("8.2.1", "a tab after a value", plus((b"a", b"b\t")), BAD),
        Case("8.2.1", "only a blank", plus((b"a", b" ")), BAD),
        Case("8.2.1", "an empty value", plus((b"a", b"")), OK),
        Case("8.2.1", "a byte beyond ASCII in a value", plus((b"a", b"b\xe9")), OK),
        Case("8.2.2", "TE: trailers", plus((b"te", b"trailers")), OK),
        Case("8.2.2", "another TE", plus((b"te", b"gzip")), BAD),
        Case("8.2.2", "TE with more", plus((b"te", b"trailers, gzip")), BAD),
        Case("8.2.3", "cookies in pieces", plus((b"cookie", b"a=b"), (b"cookie", b"c=d")), OK),
        Case("8.3", "an unknown pseudo-header", instead(*REQUEST, (b":x", b"y")), BAD),
        Case("8.3", "one of responses", instead(*REQUEST, (b":status", b"200")), BAD),
        Case("8.3", "an informational one", instead((b":status", b"100"), *REQUEST), BAD),
        Case("8.3", "one after a field", instead(*REQUEST[:3], (b"a", b"b"), REQUEST[3]), BAD),
        Case("8.3", "one in trailers", BEGIN + OPEN_1 + request(raw((b":path", b"/"))), BAD),
        Case("8.3.1", "an empty path", BEGIN + request(fields(path="")), BAD),
        Case("8.3.1", "a path that is none", BEGIN + request(fields(path="x")), BAD),
        Case("8.3.1", "an absolute target", BEGIN + request(fields(path="http://x/")), BAD),
        Case("8.3.1", "*", BEGIN + request(fields(method="OPTIONS", path="*")), OK),
        Case("8.3.1", "* of another method", BEGIN + request(fields(path="*")), BAD),
        Case("8.3.1", "a fragment", BEGIN + request(fields(path="/a#b")), BAD),
        Case("8.3.1", "a blank in a path", BEGIN + request(fields(path="/a b")), BAD),
        Case("8.3.1", "a method that is no token", BEGIN + request(fields(method="G(T")), BAD),
        Case("8.3.1", "an empty method", BEGIN + request(fields(method="")), BAD),
        Case("8.3.1", "another scheme", BEGIN + request(fields(scheme="ftp")), BAD),
        Case("8.3.1", "userinfo", BEGIN + request(fields(authority="u@x")), BAD),
        Case("8.3.1", "an empty authority", BEGIN + request(fields(authority="")), BAD),
        Case("8.3.1", "the authority twice over", BEGIN + request(fields(("host", "x"))), OK),
        Case("8.3.1", "Host alone", BEGIN + request(fields(("host", "x"), without="authority")), OK),
        Case("8.3.1", "neither", BEGIN + request(fields(without="authority")), BAD),
        Case("8.3.1", "two that differ", BEGIN + request(fields(("host", "y"))), BAD),
        Case("8.3.1", "two Host fields", BEGIN + request(fields(("host", "x"), ("host", "x"))), BAD),
        Case("8.5", "CONNECT", instead((b":method", b"CONNECT"), (b":authority", b"x:80")), Stream(1, None, 501)),
        Case("8.5", "CONNECT with a path", BEGIN + request(fields(method="CONNECT")), BAD),
        Case("8.5", "CONNECT to nowhere", instead((b":method", b"CONNECT")), BAD),
        Case("9110, 8.6", "two lengths", BEGIN + request(fields(("content-length", "0"), ("content-length", "0"))),
             BAD),
        Case("9110, 8.6", "a list of lengths", BEGIN + request(fields(("content-length", "0, 0"))), BAD),
        Case("9110, 8.6", "a signed length", BEGIN + frame(HEADERS, 4, 1, fields(("content-length", "+1")))
             + frame(DATA, 1, 1, b"x"), BAD),
        Case("9110, 10.1.1", "an expectation", plus((b"expect", b"x")), Stream(1, None, 417)),
        Case("8441, 4", "a protocol that is not known", BEGIN + request(fields(method="CONNECT", protocol="x")),
             Stream(1, None, 501)),
        Case("8441, 4", "a protocol without CONNECT", BEGIN + request(fields(protocol="websocket")), BAD),
    ]  # fmt: skip
    for name in ("method", "scheme", "path"):
        cases.append(Case("8.3.1", f"no {name}", BEGIN + request(fields(without=name)), BAD))
    for pseudo in REQUEST:
        cases.append(Case("8.3", f"{pseudo[0].decode()} twice", instead(pseudo, *REQUEST), BAD))
    for name in ("connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade"):
        cases.append(Case("8.2.2", name, BEGIN + request(fields((name, "x"))), BAD))
    for name in ("content-length", "host", "te", "trailer", "connection", "authorization", "Upper"):
        trailers = request(raw((name.encode(), b"1")))
        cases.append(Case("9110, 6.5.1", f"{name} in trailers", BEGIN + OPEN_1 + trailers, BAD))
    return cases


def compression() -> list[Case]:
    pseudo = b"\x82\x86\x84\x41\x01x"
    wrong = Connection(COMPRESSION)
    return [
        Case("7541, 2.3.3", "an index beyond the tables", BEGIN + request(pseudo + b"\xbf"), wrong),
        Case("7541, 4.2", "a size update at the beginning", BEGIN + request(b"\x20" + pseudo), OK),
        Case("7541, 4.2", "two of them", BEGIN + request(b"\x20\x3f\xe1\x1f" + pseudo), OK),
        Case("7541, 4.2", "one that is not at the beginning", BEGIN + request(pseudo + b"\x20"), wrong),
        Case("7541, 5.1", "an integer without an end", BEGIN + request(b"\xff\xff\xff"), wrong),
        Case("7541, 5.1", "an integer that is too long", BEGIN + request(b"\xff" + b"\x80" * 100 + b"\x01"), wrong),
        Case("7541, 5.2", "a string that ends early", BEGIN + request(pseudo + b"\x00\x01a\x05b"), wrong),
        Case("7541, 5.2", "padding of Huffman code of 8 bits", BEGIN + request(pseudo + b"\x00\x01a\x82\x1f\xff"),
             wrong),
        Case("7541, 5.2", "padding that is not of ones", BEGIN + request(pseudo + b"\x00\x01a\x81\x18"), wrong),
        Case("7541, 5.2", "the end of strings in a string", BEGIN + request(pseudo + b"\x00\x01a\x84\xff\xff\xff\xff"),
             wrong),
        Case("7541, 6.1", "index 0", BEGIN + request(pseudo + b"\x80"), wrong),
        Case("7541, 6.3", "a table that is larger than allowed", BEGIN + request(b"\x3f\xe2\x1f" + pseudo), wrong),
        Case("7541, 6.2.1", "an indexed literal is used again",
             BEGIN + request(pseudo + b"\x40\x01a\x01b") + frame(HEADERS, 5, 3, pseudo + b"\xbf"),
             Stream(3, None, 200)),
    ]  # fmt: skip


CASES = [
    case for cases in (prefaces, framing, states, data_and_headers, control, messages, compression) for case in cases()
]


def application(environ: Any, start_response: Any) -> list[bytes]:
    if environ["PATH_INFO"] == "/wait":
        hubbub.sleep(0.3)
    environ["wsgi.input"].read()
    start_response("200 OK", [])
    return [b"ok"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.section} {case.name}")
def test_case(serve: Any, http2: Any, case: Case) -> None:
    """The server does what the section demands."""
    limits = Limits(concurrent_streams=2, linger_seconds=0.05, header_seconds=5.0)
    peer = http2(serve(application, http2=True, limits=limits), begins=False)
    peer.send(case.data)
    if isinstance(case.outcome, Connection):
        peer.acknowledges = False
        peer.rest()
        assert [code for _, code in peer.goaways] == [case.outcome.code]
        return
    number, code, status = case.outcome
    answer = peer.answer(number)
    if code is not None and answer.reset is None:
        peer.until(RST_STREAM, number)
    assert (answer.status, answer.reset) == (status, code)
    if code is None and status:
        assert answer.ended
    peer.still_there()
    if code == REFUSED:
        assert [peer.answer(stream).status for stream in (1, 3)] == [200, 200]
    peer.request(11)
    assert peer.answer(11).body == b"ok"
    assert peer.goaways == []


def test_ping_has_its_payload(serve: Any, http2: Any) -> None:
    """6.7: the answer to a PING has the same eight bytes, and the flag."""
    peer = http2(serve(http2=True))
    peer.send(frame(PING, 0, 0, b"\0\1\2\3abcd"))
    found = peer.until(PING)
    assert (found.flags, found.payload) == (ACK, b"\0\1\2\3abcd")


def test_settings_are_acknowledged(serve: Any, http2: Any) -> None:
    """6.5.3: each SETTINGS frame is, in its order; and the server's own come first."""
    peer = http2(serve(http2=True))
    first = peer.next()
    assert (first.kind, first.flags & ACK) == (SETTINGS, 0)
    peer.send(setting((4, 1)) + setting((4, 2)))
    acknowledged = 0
    while acknowledged < 3:
        acknowledged += peer.until(SETTINGS).flags & ACK


def test_window_of_one(serve: Any, http2: Any) -> None:
    """6.9.1: no more is sent than there is room for; and a setting changes the windows that there are (6.9.2)."""
    peer = http2(serve(application, http2=True), settings={4: 1})
    peer.request(1)
    assert peer.until(DATA, 1).payload == b"o"
    peer.send(setting((4, 0)))
    peer.still_there()
    peer.send(frame(WINDOW_UPDATE, 0, 1, n(1)))  # the window was at -1
    peer.still_there()
    assert peer.answers[1].body == b"o"
    peer.send(setting((4, 1)))
    assert peer.answer(1).body == b"ok"


def test_frame_size_of_the_peer(serve: Any, http2: Any) -> None:
    """4.2: what is sent is in frames of the size that every peer takes, and long heads in several."""

    def long_head(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("X-Long", "X" * 40000)])
        return [b"x" * 40000]

    peer = http2(serve(long_head, http2=True))
    peer.request(1)
    sizes = []
    while not peer.answers.get(1) or not peer.answers[1].ended:
        sizes.append(len(peer.next().payload))
    assert max(sizes) <= 16384
    assert peer.answers[1].headers["x-long"] == "X" * 40000 or len(peer.answers[1].body) == 40000


def test_goaway_of_the_client(serve: Any, http2: Any) -> None:
    """6.8: requests that were sent before a GOAWAY of the client are answered still; then the connection ends."""
    peer = http2(serve(application, http2=True))
    peer.request(1, path="/wait")
    peer.send(frame(GOAWAY, 0, 0, n(0) + n(0)))
    assert peer.answer(1).body == b"ok"
    peer.rest()
    assert peer.goaways == [(1, NO_ERROR)]


def test_last_stream_of_goaway(serve: Any, http2: Any) -> None:
    """6.8: the error that ends a connection names the last stream that was seen to."""
    peer = http2(serve(application, http2=True, limits=Limits(linger_seconds=0.05)))
    peer.request(1)
    peer.request(7)
    peer.answer(7)
    peer.send(frame(PING, 0, 0, b"xyz"))
    peer.rest()
    assert peer.goaways == [(7, FRAME_SIZE)]
