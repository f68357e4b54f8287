"""Heads in C and in Python: what the accelerator takes for usual, it understands as hubbub-server's parser does."""

from __future__ import annotations

import os
import random
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hubbub_server import Limits
from hubbub_server.acceleration import usual_maker
from hubbub_server.http.errors import RequestError
from hubbub_server.http.request import HeadParser

SEEDS = int(os.environ.get("HUBBUB_STRESS_SEEDS", "10"))
PER_SEED = 10_000
ATTACKS = Path(__file__).parents[2] / "server" / "tests" / "attacks.py"
END = b"\r\n\r\n"

START_LINES = [
    b"GET / HTTP/1.1", b"GET /a/b?c=d&e=%20 HTTP/1.1", b"POST /%41%zz%4?%zz HTTP/1.1", b"HEAD /\xe9\xff HTTP/1.1",
    b"OPTIONS * HTTP/1.1", b"DELETE //x HTTP/1.1", b'PUT /"<>?\\ HTTP/1.1', b"PATCH /%%41%e9 HTTP/1.1",
    b"GET http://x/y HTTP/1.1", b"GET / HTTP/1.0", b"PROPFIND /x HTTP/1.1", b"GET /??&#",
]  # fmt: skip
USUAL = [
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    b"Accept: text/html,application/xhtml+xml;q=0.9,*/*;q=0.8", b"Accept-Encoding: gzip, deflate, br",
    b"Accept-Language:en-US,en;q=0.5", b"Cookie: session=abcdef; theme=dark", b"Cookie: a=\xe9", b"Cookie:",
    b"cookie: x=y",
    b"Connection: keep-alive", b"Connection: Keep-Alive", b"connection:\tkeep-alive \t", b"Content-Length: 0",
    b"Content-Length: 12", b"Content-Length: 012", b"content-length: 999999999999999999", b"Content-Type: a/b",
    b"X: \t a \x80\xff b\tc \t", b"X:", b"X: ", b"Referer: http://example.org/", b"X1~!#$%&'*+.^`|: 2", b"Proxy: x",
    b"Authorization: Basic abc=", b'If-None-Match: W/"a", "b"', b"Long: " + b"v" * 140, b"X-Forwarded-For: 10.0.0.1",
    b"TE: trailers", b"Proxy-Connection: keep-alive", b"X-Under_score: 1", b"Sec-Fetch-Mode: navigate", b"DNT: 1",
]  # fmt: skip
HOSTS = [b"Host: example.org", b"host:example.org:8080", b"Host: a-b_c~d!$&'()*+;=:", b"HOST: 127.0.0.1:80 "]
ODD = [
    *USUAL, *HOSTS,
    b"HOST: [::1]:80", b"Host: x%20y", b"Host: :80", b"Host: x:123456", b"Host:", b"Connection: close",
    b"Connection: keep-alive, TE", b"Connection: Upgrade", b"Upgrade: websocket", b"Upgrade: h2c",
    b"HTTP2-Settings: AAMA",
    b"Content-Length: 1234567890123456789", b"Content-Length: +1", b"Content-Length: 1, 1", b"Content_Length: 5",
    b"ContentLength: 5", b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip, chunked", b"Expect: 100-continue",
    b"Y-" + b"z" * 60 + b": 1", b"Long: " + b"v" * 200,
]  # fmt: skip
TOKENS = [
    b"", b"\r\n", b"\n", b"\r", b" ", b"\t", b":", b";", b",", b"0", b"\x00", b"\x0b", b"\x1f", b"\x7f", b"\xff",
    b"_", b"-", b"%", b"%41", b"%4", b"#", b"?", b"\\", b'"', b"/", b"@", b"[", b"Host: x\r\n", b"X: y\r\n", b" x",
    b"HTTP/1.1", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"A" * 70, b"keep-alive", b"close",
]  # fmt: skip


def parsers() -> list[HeadParser]:
    """One for each setting that heads are judged by."""
    made = [
        HeadParser(Limits(field_bytes=150)),
        HeadParser(Limits(request_line=40, header_count=5, header_bytes=300, body_bytes=100)),
        HeadParser(Limits(), "refuse"),
        HeadParser(Limits(), "keep"),
        HeadParser(Limits(), "drop", {"X-UNDER_SCORE"}),
        HeadParser(Limits()),
    ]
    make = usual_maker()
    assert make is not None
    for parser in made:
        parser.usual = make(parser)
    return made


def whole(head: bytes) -> bytes:
    """What the connection takes for the head of ``head`` and whatever follows it."""
    return head[: head.find(END) + 4]


def by_python(parser: HeadParser, head: bytes) -> Any:
    """What the parser makes of it, as the accelerator says it."""
    start = head.find(b"\r\n")
    line = parser.start_line(head[:start])
    fields, meaning, cookie = parser.fields(head, start + 2, line.minor)
    return line, {**fields, "HTTP_COOKIE": cookie} if cookie is not None else fields, meaning


def raw_by_python(parser: HeadParser, head: bytes) -> Any:
    """The fields as they were sent, by the parser alone."""
    usual, parser.usual = parser.usual, None
    try:
        return parser.raw_fields(head, head.find(b"\r\n") + 2, True)
    finally:
        parser.usual = usual


def check(parser: HeadParser, head: bytes) -> bool:
    """Compare the two; whether the head is usual."""
    assert parser.usual is not None
    found = parser.usual.parse(head)
    if found is None:
        return False
    try:
        expected = by_python(parser, head)
    except RequestError as error:
        raise AssertionError(f"refused in Python ({error}), taken in C: {head!r}") from error
    assert found == expected, head
    assert [type(part) for part in found] == [type(part) for part in expected]
    assert (hash(found[0]), hash(found[2])) == (hash(expected[0]), hash(expected[2]))
    assert parser.usual.raw_fields(head) == raw_by_python(parser, head), head
    return True


def made_up(choose: random.Random) -> bytes:
    """A head of any fields, mostly such as the accelerator may take."""
    if choose.random() < 0.2:
        return b"\r\n".join([choose.choice(START_LINES), *choose.sample(ODD, choose.randrange(8))]) + END
    fields = {field.partition(b":")[0].lower(): field for field in choose.sample(USUAL, choose.randrange(12))}
    lines = [*fields.values()]
    lines.insert(choose.randrange(len(lines) + 1), choose.choice(HOSTS))
    return b"\r\n".join([choose.choice(START_LINES[:8]), *lines]) + END


def mutated(choose: random.Random, head: bytes) -> bytes:
    """The same, changed in a few places."""
    for _ in range(choose.choice((0, 0, 1, 1, 2, 3))):
        place = choose.randrange(len(head) + 1)
        token = choose.choice(TOKENS) if choose.random() < 0.7 else choose.randbytes(choose.randrange(1, 3))
        head = head[:place] + token + head[place + choose.choice((0, 0, 1, 2, 5)) :]
    return whole(head)


def heads(seed: int) -> Iterator[bytes]:
    """Heads of all sorts."""
    choose = random.Random(seed)
    known = [attack.data for attack in runpy.run_path(str(ATTACKS))["ATTACKS"]] if ATTACKS.exists() else []
    corpus = [head for head in map(whole, known) if 4 < len(head) < 3000]
    for number in range(PER_SEED):
        yield mutated(choose, choose.choice(corpus) if corpus and number % 5 == 0 else made_up(choose))


@pytest.mark.timeout(1700)
def test_both_read_the_same() -> None:
    """Of hundred thousand heads, and ten million in ``./do stress``, what is usual means the same to both."""
    usual = 0
    for seed in range(SEEDS):
        settings = parsers()  # anew, so that each seed by itself shows the same
        choose = random.Random(-seed)
        for head in heads(seed):
            usual += check(choose.choice(settings), head)
    assert usual > SEEDS * PER_SEED // 5, "nearly nothing was usual: the test has shown nothing"


@pytest.mark.parametrize("line", START_LINES[:4])
@pytest.mark.parametrize("size", [*range(40), 63, 64, 65, 1000])
def test_values_of_any_length(line: bytes, size: int) -> None:
    """A control character is found wherever it stands in a value, and nothing else is taken for one."""
    parser = parsers()[-1]
    for place in range(min(size, 20)):
        for byte in (0, 8, 9, 10, 13, 31, 32, 126, 127, 128, 160, 255):
            value = bytearray(b"v" * size)
            value[place] = byte
            usual = check(parser, line + b"\r\nHost: x\r\nX:" + value + END)
            assert usual == (byte in (9, 32, 126, 128, 160, 255))


def test_the_browser_is_usual() -> None:
    """What browsers send, plain or with a body, is usual, so that the accelerator serves it."""
    fields = [field for field in USUAL if field.startswith((b"User", b"Accept", b"Connection: keep-alive", b"Referer"))]
    fields = [field for field in fields if b"TE" not in field]
    for line in START_LINES[:4]:
        for more in ([], [b"Cookie: a=b; c=d"], [b"Content-Length: 12", b"Content-Type: text/plain; charset=utf-8"]):
            assert check(parsers()[-1], b"\r\n".join([line, b"Host: example.org", *fields, *more]) + END)


@pytest.mark.parametrize("part", ["line", "field", "fields", "head", "body"])
def test_limits(part: str) -> None:
    """A head that reaches a limit is usual, and one beyond it is left to the parser, which refuses it."""
    limits = {
        "line": "request_line",
        "field": "field_bytes",
        "fields": "header_count",
        "head": "header_bytes",
        "body": "body_bytes",
    }
    make = usual_maker()
    assert make is not None

    def usual(size: int) -> bool:
        fields = [b"Host: x", b"X: " + b"x" * 40, b"Content-Length: 30"]
        head = b"GET / HTTP/1.1\r\n" + b"\r\n".join(fields) + END
        sizes = {"line": 14, "field": 43, "fields": 3, "head": len(head), "body": 30}
        parser = HeadParser(Limits(**{limits[part]: sizes[part] + size}))
        parser.usual = make(parser)
        return check(parser, head)

    assert usual(0)
    assert usual(1)
    assert not usual(-1)


def test_many_names() -> None:
    """A client that sends thousands of names of its own does not change what others' fields are called."""
    parser = parsers()[-1]
    for number in range(3000):
        assert check(parser, b"GET / HTTP/1.1\r\nHost: x\r\nX-%d: y\r\nCookie: z" % number + END)


FOLLOWING = [
    *(
        b"User-Agent:" + value
        for value in (b" a", b" ab", b"ab", b"ab ", b" ab\tc", b" a\x00", b" ab\x7f", b"a\r", b"", b" ")
    ),
    *(b"User-Agent: " + b"v" * size for size in (130, 137, 138, 256, 257)),
    *(b"Accept: x", b"Accept-Encoding: x", b"accept: x", b"Accept : x", b"Accept", b"Accep: x", b"\xe9: x", b": x"),
    *(b"Connection: keep-alive", b"Connection: close", b"Connection: keep-alive, close", b"Content-Type: \xe9\xff"),
    *(b"Host: x", b"Host:", b"Cookie: a=b", b"Content-Length: 5", b"Content-Length: 55", b"Expect: 100-continue"),
]
"""Fields that begin alike."""


@pytest.mark.parametrize("settings", range(6))
def test_what_came_before_tells_nothing(settings: int) -> None:
    """A head is usual or not, and means the same, whatever head was read before it.

    Names and values that are looked for where the last head had them are found only if they are the same.
    """
    made = {field: b"GET / HTTP/1.1\r\nHost: example.org\r\n" + field + b"\r\nDNT: 1" + END for field in FOLLOWING}
    alone = {field: check(parsers()[settings], head) for field, head in made.items()}
    assert True in alone.values()
    assert False in alone.values()
    parser = parsers()[settings]
    for first in FOLLOWING:
        for second in FOLLOWING:
            assert check(parser, made[first]) == alone[first]
            assert check(parser, made[second]) == alone[second], (first, second)


def test_what_is_kept() -> None:
    """A short value that clients repeat is one object in all environs; one that could be a secret is let go of."""
    usual = parsers()[-1].usual
    assert usual is not None
    repeated = [b"Host: example.org", b"User-Agent: some browser", b"Accept: text/html", b"Sec-Fetch-Mode: navigate"]
    own = [b"Cookie: a=b", b"Authorization: Basic abc=", b"X-Token: secret", b"Referer: /x", b"Pragma: " + b"v" * 257]
    head = b"\r\n".join([b"GET / HTTP/1.1", *repeated, *own]) + END
    found = usual.parse(head), usual.parse(head)
    assert found[0] == found[1]
    assert found[0] is not None
    assert found[1] is not None
    same = {name for name, value in found[0][1].items() if value is found[1][1][name]}
    assert same == {"HTTP_HOST", "HTTP_USER_AGENT", "HTTP_ACCEPT", "HTTP_SEC_FETCH_MODE"}


def test_what_is_no_head() -> None:
    """Less than a head, or more, is not usual; what is not bytes is refused."""
    usual = parsers()[-1].usual
    assert usual is not None
    head = b"GET /a?b HTTP/1.1\r\nHost: x\r\nX: y\r\n\r\n"
    assert usual.parse(head)
    for size in range(len(head)):
        assert usual.parse(head[:size]) is None
        assert usual.raw_fields(head[:size]) is None
    assert usual.parse(head + b"x") is None
    for wrong in ("text", bytearray(head), None, memoryview(head)):
        for method in (usual.parse, usual.raw_fields):
            with pytest.raises(TypeError, match="a head is bytes"):
                method(wrong)  # type: ignore[arg-type]  # it is what the test is about
