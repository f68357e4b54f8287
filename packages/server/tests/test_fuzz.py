"""The parser against h11 as an oracle, and against itself with the same bytes in other pieces."""

from __future__ import annotations

import io
import os
import time
from itertools import pairwise
from typing import Any, NamedTuple

import h11
import pytest
from hubbub_server import Limits
from hubbub_server.http.body import ChunkDecoder
from hubbub_server.http.errors import RequestError
from hubbub_server.http.request import CHUNKED, HeadParser
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st


@pytest.fixture
def hub(any_hub: Any) -> Any:
    """What a protocol says is the same on all loops."""
    return any_hub


LIMITS = Limits()
EXAMPLES = int(os.environ.get("HUBBUB_FUZZ_EXAMPLES", "300"))
TOKENS = [
    b"\r\n", b"\n", b"\r", b" ", b"\t", b":", b";", b",", b"0", b"5", b"\x00", b"\x0b", b"\x7f", b"\xff", b"_", b"+",
    b"chunked", b"Transfer-Encoding: chunked\r\n", b"Content-Length: 5\r\n", b"Host: x\r\n", b"HTTP/1.1", b"GET / ",
    b"\r\n\r\n", b"0\r\n\r\n", b"5\r\nhello\r\n", b"gzip, ", b'"', b"=", b"X: y\r\n", b"/", b"http://x/",
]  # fmt: skip


class Message(NamedTuple):
    """A request as a parser understood it."""

    method: bytes
    target: bytes
    fields: dict[str, str]
    body: bytes
    rest: bytes


class Refused(Exception):
    """A parser wants none of it."""


def ours(data: bytes) -> Message | None:
    """What we make of ``data``; None if there is more to come."""
    parser = HeadParser(LIMITS)
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None
    head, rest = data[: end + 4], data[end + 4 :]
    try:
        start = head.find(b"\r\n")
        line = parser.start_line(head[:start])
        fields, meaning, cookie = parser.fields(head, start + 2, line.minor)
        if cookie is not None:
            fields = {**fields, "HTTP_COOKIE": cookie}
        if meaning.length == CHUNKED:
            decoder = ChunkDecoder(LIMITS)
            body = decoder.feed(rest)
            if not decoder.done:
                return None
            rest = decoder.rest
        elif len(rest) < meaning.length:
            return None
        else:
            body, rest = rest[: meaning.length], rest[meaning.length :]
    except RequestError as error:
        raise Refused(str(error)) from error
    return Message(line.method.encode(), line.target.encode(), fields, body, rest)


def theirs(data: bytes) -> Message | None:
    """What h11 makes of it."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=100000)
    connection.receive_data(data)
    body = b""
    request: Any = None
    try:
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                break
            else:
                return None
    except h11.RemoteProtocolError as error:
        raise Refused(str(error)) from error
    environ: dict[str, str] = {}
    for name, value in request.headers:
        text = name.decode().upper()
        if "_" in text or text == "PROXY":
            continue
        key = text.replace("-", "_")
        if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            key = "HTTP_" + key
        separator = "; " if key == "HTTP_COOKIE" else ","
        decoded = value.decode("latin-1")
        environ[key] = environ[key] + separator + decoded if key in environ else decoded
    return Message(bytes(request.method), bytes(request.target), environ, body, connection.trailing_data[0])


@st.composite
def mutants(draw: Any, corpus: list[Any]) -> bytes:
    """Something from the corpus, changed in a few places."""
    good = [attack for attack in corpus if set(attack.statuses) == {200}]
    data = draw(st.sampled_from(good) | st.sampled_from(corpus)).data
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(data)))
        length = draw(st.sampled_from([0, 0, 1, 2, 5]))
        token = draw(st.sampled_from([b"", *TOKENS]) | st.binary(min_size=1, max_size=2))
        data = data[:place] + token + data[place + length :]
    return bytes(data)


def outcome(parse: Any, data: bytes) -> Any:
    try:
        return parse(data)
    except Refused:
        return Refused


def test_against_h11(attacks: Any) -> None:
    """What h11 refuses is refused, and what is accepted h11 understands in the same way."""
    corpus = [attack for attack in attacks if len(attack.data) < 3000]
    accepted = 0

    @settings(max_examples=EXAMPLES, derandomize=True, deadline=None, database=None,
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(mutants(corpus))
    def compare(data: bytes) -> None:
        nonlocal accepted
        mine = outcome(ours, data)
        if mine is Refused or mine is None:
            return
        accepted += 1
        if data.startswith(b"\r\n"):
            return  # an empty line before is the connection's business
        line, end, rest = data.partition(b"\r\n")
        if not line.isascii():
            # h11 knows no such targets. Which of those bytes it is makes no difference to where anything ends.
            line = bytes(byte if byte < 128 else 126 for byte in line)
            mine = ours(line + end + rest)
            assert mine is not None
        other = theirs(line + end + rest)
        if "HTTP_UPGRADE" not in mine.fields and other is not None and "HTTP_UPGRADE" in other.fields:
            other.fields.pop("HTTP_UPGRADE")
            other.fields.pop("HTTP_HTTP2_SETTINGS", None)
        if "HTTP_TRANSFER_ENCODING" in mine.fields:
            mine.fields["HTTP_TRANSFER_ENCODING"] = "chunked"  # as h11 writes it
        assert mine == other

    compare()
    assert accepted > EXAMPLES // 20


def test_pieces_do_not_matter(attacks: Any) -> None:
    """The chunk decoder finds the same body, end and errors however its input is cut."""
    marker = b"chunked\r\n\r\n"
    corpus = [attack for attack in attacks if attack.name.startswith("chunks") and len(attack.data) < 3000]

    def decode(pieces: list[bytes]) -> Any:
        decoder = ChunkDecoder(LIMITS)
        body = b""
        rest = b""
        try:
            for piece in pieces:
                if decoder.done:
                    rest += piece
                else:
                    body += decoder.feed(piece)
        except RequestError as error:
            return error.status
        return body, decoder.done, decoder.rest + rest

    @settings(max_examples=EXAMPLES, derandomize=True, deadline=None, database=None,
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(mutants(corpus), st.lists(st.integers(0, 200), max_size=4))
    def compare(data: bytes, cuts: list[int]) -> None:
        data = data.partition(marker)[2] or data
        places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
        pieces = [data[start:stop] for start, stop in pairwise(places)]
        assert decode(pieces) == decode([data])
        assert decode([bytes([byte]) for byte in data]) == decode([data])

    compare()


class Answer(NamedTuple):
    """What an application says, and how."""

    manner: str
    status: str
    headers: list[tuple[str, str]]
    pieces: list[bytes]
    method: str

    def give(self, environ: Any, start_response: Any) -> Any:
        """Be the application."""
        write = start_response(self.status, self.headers)
        if self.manner == "write":
            for piece in self.pieces:
                write(piece)
            return []
        if self.manner == "file":
            return environ["wsgi.file_wrapper"](io.BytesIO(b"".join(self.pieces)), 3)
        return self.pieces if self.manner == "list" else iter(self.pieces)


@st.composite
def answers(draw: Any) -> Answer:
    """Any way of giving any response."""
    pieces = draw(st.lists(st.sampled_from([b"", b"a", b"\r\n", b"0\r\n\r\n", b"x" * 70000]), max_size=4))
    status = draw(st.sampled_from(["200 OK", "201 Created", "204 No Content", "304 Not Modified", "500 Oops"]))
    some = [
        ("A", "b"),
        ("A", "\xe9"),
        ("Set-Cookie", "c=d"),
        ("Date", "today"),
        ("Server", "x"),
        ("Connection", "close"),
    ]
    headers = draw(st.lists(st.sampled_from(some), max_size=3, unique_by=lambda pair: pair[0]))
    if status[:3] != "204" and draw(st.booleans()):
        headers.append(("Content-Length", str(sum(map(len, pieces)))))
    manner = draw(st.sampled_from(["list", "generator", "write", "file"]))
    return Answer(manner, status, headers, pieces, draw(st.sampled_from(["GET", "HEAD", "OPTIONS"])))


def test_responses_against_h11(serve: Any, connect: Any, errors: io.StringIO) -> None:
    """However an application answers, h11 reads on one connection what was said, request after request."""
    answer: Answer | None = None

    def application(environ: Any, start_response: Any) -> Any:
        assert answer is not None
        return answer.give(environ, start_response)

    server = serve(application)
    clients = [connect(server)]

    @settings(max_examples=EXAMPLES, derandomize=True, deadline=None, database=None,
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(answers())
    def compare(given: Answer) -> None:
        nonlocal answer
        answer = given
        client = clients[-1]
        client.send(f"{answer.method} / HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        response = client.response(answer.method)
        bodiless = answer.method == "HEAD" or answer.status[:3] in ("204", "304")
        assert response.status == int(answer.status[:3])
        assert response.body == (b"" if bodiless else b"".join(answer.pieces))
        said = {name.lower(): value for name, value in answer.headers}
        assert {**response.headers, **said} == response.headers
        assert {"date", "server"} <= set(response.headers)
        if "connection" in response.headers:
            assert client.rest() == client.received == b""
            clients.append(connect(server))

    compare()
    assert errors.getvalue() == ""


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 65000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 10800 + b"\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"a:\r\n" * 16000 + b"\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n" + (b"Cookie: " + b"a=b; " * 120 + b"\r\n") * 99 + b"\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nCookie: " + b"a " * 32000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nCookie: a" + b" " * 64000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nCookie: " + b" " * 64000 + b"\x01\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: " + b"%41" * 21000 + b"%\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: " + b"x" * 64000 + b":\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nConnection: " + b"," * 65000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nConnection: " + b"a, " * 21000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: " + b"x." * 32000 + b"/\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: " + b"a, " * 21000 + b"chunke\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: " + b"a," * 21000 + b" " * 20000 + b"chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: " + b"9" * 65000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX:" + b" " * 65000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X" * 65000 + b"\r\n\r\n",
        b"GET /" + b"?" * 65000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\r" * 65000 + b"\r\n\r\n",
        b" " * 65000 + b"\r\n\r\n",
    ],
    ids=lambda head: repr(head[20:60]),
)
def test_cost_of_a_large_head(head: bytes) -> None:
    """A head of 64 KB costs less than 20 ms of CPU, whatever is in it."""
    spent = []
    for _ in range(5):
        before = time.process_time()
        outcome(ours, head)
        spent.append(time.process_time() - before)
    assert min(spent) < 0.02
