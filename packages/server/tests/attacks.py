"""What clients send to confuse servers, as data, with the statuses of the only right answer.

Written from RFC 9110, RFC 9112 and published advisories against servers of many kinds. A tuple of statuses is what
comes back, in order; the connection is closed after the last when that is an error or the client has ended.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["ATTACKS", "Attack"]

OK = (200,)
BAD = (400,)
NONE: tuple[int, ...] = ()
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"


class Attack(NamedTuple):
    """One conversation: all that the client sends, then its end."""

    name: str
    data: bytes
    statuses: tuple[int, ...]


def start_lines() -> list[Attack]:
    """Request lines: RFC 9112, 2 and 3."""
    cases: list[tuple[bytes, tuple[int, ...]]] = [
        (b"GET / HTTP/1.1", OK),
        (b"GET /a?b HTTP/1.1", OK),
        (b"OPTIONS * HTTP/1.1", OK),
        (b"GET http://x/ HTTP/1.1", OK),
        (b"GET https://x:1/y?z HTTP/1.1", OK),
        (b"GET http://[::1]/ HTTP/1.1", OK),
        (b"GET //x HTTP/1.1", OK),
        (b"GET /%zz%00 HTTP/1.1", OK),
        (b"GET / HTTP/1.0", OK),
        (b"PROPFIND / HTTP/1.1", OK),
        (b"M-SEARCH / HTTP/1.1", OK),
        (b"GET /", BAD),
        (b"GET", BAD),
        (b"GET ", BAD),
        (b"GET  HTTP/1.1", BAD),
        (b"/ HTTP/1.1", BAD),
        (b" GET / HTTP/1.1", BAD),
        (b"\tGET / HTTP/1.1", BAD),
        (b"GET  / HTTP/1.1", BAD),
        (b"GET /  HTTP/1.1", BAD),
        (b"GET\t/ HTTP/1.1", BAD),
        (b"GET /\tHTTP/1.1", BAD),
        (b"GET\x0b/ HTTP/1.1", BAD),
        (b"GET\xa0/ HTTP/1.1", BAD),
        (b"GET / HTTP/1.1 ", BAD),
        (b"GET / HTTP/1.1\t", BAD),
        (b"GET / HTTP/1.1 x", BAD),
        (b"GET / x HTTP/1.1", BAD),
        (b"GET / HTTP/1.1\x00", BAD),
        (b"GET / HTTP/1", BAD),
        (b"GET / HTTP/1.", BAD),
        (b"GET / HTTP/.1", BAD),
        (b"GET / HTTP/11.1", BAD),
        (b"GET / HTTP/1.11", BAD),
        (b"GET / HTTP/01.1", BAD),
        (b"GET / HTTP/1,1", BAD),
        (b"GET / HTTP 1.1", BAD),
        (b"GET / HTTP/-1.1", BAD),
        (b"GET / http/1.1", BAD),
        (b"GET / HTTPS/1.1", BAD),
        (b"GET / HTTP", BAD),
        (b"GET / RTSP/1.1", BAD),
        (b"GET / ICE/1.0", BAD),
        (b"SOURCE / ICE/1.0", BAD),
        (b"GET / HTTP/0.9", (505,)),
        (b"GET / HTTP/1.2", (505,)),
        (b"GET / HTTP/2.0", (505,)),
        (b"GET / HTTP/3.0", (505,)),
        (b"GET / HTTP/9.9", (505,)),
        (b"get / HTTP/1.1", (501,)),
        (b"FOO / HTTP/1.1", (501,)),
        (b"GETX / HTTP/1.1", (501,)),
        (b"CONNECT x:80 HTTP/1.1", (501,)),
        (b"CONNECT / HTTP/1.1", (501,)),
        (b"CONNECT http://x/ HTTP/1.1", (501,)),
        (b"CONNECT * HTTP/1.1", (501,)),
        (b"connect x:80 HTTP/1.1", (501,)),
        (b"OPTIONS / HTTP/1.1", OK),
        (b"OPTIONS http://x HTTP/1.1", OK),
        (b"GET HTTP://x/ HTTP/1.1", OK),
        (b"GET http://x/a:b@c HTTP/1.1", OK),
        (b"GET http://x%zz/ HTTP/1.1", BAD),
        (b"GET http://x,y/ HTTP/1.1", BAD),
        (b"GET http://x\\@y/ HTTP/1.1", BAD),
        (b"GET javascript:x HTTP/1.1", BAD),
        (b"GET @x/ HTTP/1.1", BAD),
        (b"GET .x HTTP/1.1", BAD),
        (b"GET %2f HTTP/1.1", BAD),
        (b"GET / HTTP/1.1;x", BAD),
        (b"GET / HTTP/1.1,HTTP/1.1", BAD),
        (b"GET / HTTP/+1.1", BAD),
        (b"GET / HTTP/1.1e0", BAD),
        (b"GET / HTTP/\xb9.1", BAD),
        (b"GET / HTTP/1.1 HTTP/1.1", BAD),
        (b"GET / GET / HTTP/1.1", BAD),
        (b"GET /\xa0HTTP/1.1", BAD),
        (b"GET /\x0cHTTP/1.1", BAD),
        (b"QUERY / HTTP/1.1", OK),
        (b"G(T / HTTP/1.1", BAD),
        (b"G\xc9T / HTTP/1.1", BAD),
        (b"G\x00T / HTTP/1.1", BAD),
        (b"GET: / HTTP/1.1", BAD),
        (b"GET * HTTP/1.1", BAD),
        (b"OPTIONS ** HTTP/1.1", BAD),
        (b"GET x HTTP/1.1", BAD),
        (b"GET x:80 HTTP/1.1", BAD),
        (b"GET ?x HTTP/1.1", BAD),
        (b"GET ../x HTTP/1.1", BAD),
        (b"GET ftp://x/ HTTP/1.1", BAD),
        (b"GET http:/x HTTP/1.1", BAD),
        (b"GET http:// HTTP/1.1", BAD),
        (b"GET http:///x HTTP/1.1", BAD),
        (b"GET http://u@x/ HTTP/1.1", BAD),
        (b"GET http://x:y/ HTTP/1.1", BAD),
        (b"GET http://[::1/ HTTP/1.1", BAD),
        (b"GET /#x HTTP/1.1", BAD),
        (b"GET /a#b HTTP/1.1", BAD),
        (b'GET /" HTTP/1.1', BAD),
        (b"GET /< HTTP/1.1", BAD),
        (b"GET /> HTTP/1.1", BAD),
        (b"GET /\\ HTTP/1.1", BAD),
        (b"GET /\x00 HTTP/1.1", BAD),
        (b"GET /\x01 HTTP/1.1", BAD),
        (b"GET /\x1b[2J HTTP/1.1", BAD),
        (b"GET /\x7f HTTP/1.1", BAD),
        (b"GET /\x80 HTTP/1.1", BAD),
        (b"GET /\xc3\xa9 HTTP/1.1", BAD),
        (b"GET /\xff HTTP/1.1", BAD),
        (b"GET /\rX HTTP/1.1", BAD),
        (b"GET /\nX HTTP/1.1", BAD),
        (b"GET /" + b"x" * 9000 + b" HTTP/1.1", (414,)),
        (b"GET /" + b"x" * 8100 + b" HTTP/1.1", OK),
        (b"GET /%s%p%n HTTP/1.1 %", BAD),
        (b"X" * 9000 + b" / HTTP/1.1", (414,)),
        (b"HTTP/1.1 200 OK", BAD),
        (b"PRI * HTTP/2.0", (505,)),
    ]
    found = [
        Attack(f"start line {line[:50]!r} ({len(line)})", line + b"\r\nHost: x\r\n\r\n", want) for line, want in cases
    ]
    for separator in (b"\n", b"\r", b"\r\r\n", b"\n\r", b"\x00\r\n", b"\x0b", b"\x85"):
        found.append(
            Attack(f"start line ends in {separator!r}", b"GET / HTTP/1.1" + separator + b"Host: x\r\n\r\n", BAD)
        )
    return found


def openings() -> list[Attack]:
    """What comes before and instead of a request."""
    get = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    return [
        Attack("one empty line before", b"\r\n" + get, OK),
        Attack("two empty lines before", b"\r\n\r\n" + get, BAD),
        Attack("bare LF before", b"\n" + get, BAD),
        Attack("bare CR before", b"\r" + get, BAD),
        Attack("space and line before", b" \r\n" + get, BAD),
        Attack("nothing", b"", NONE),
        Attack("an empty line", b"\r\n", NONE),
        Attack("half a head", b"GET / HTTP/1.1\r\nHost", NONE),
        Attack("half a request line", b"GE", NONE),
        Attack("TLS ClientHello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 32, BAD),
        Attack("SSLv2 hello", b"\x80\x2e\x01\x03\x01\x00\x15", BAD),
        Attack("HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00", (505,)),
        Attack("HTTP/2 frames", b"\x00\x00\x00\x04\x00\x00\x00\x00\x00", BAD),
        Attack("NULs", b"\x00" * 100, BAD),
        Attack("a long line of nothing", b"A" * 70000, (414,)),
        Attack("PROXY protocol 1", b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n" + get, BAD),
        Attack("PROXY protocol 2", b"\r\n\r\n\x00\r\nQUIT\n" + get, BAD),
        Attack("SMTP", b"EHLO x\r\n", BAD),
        Attack("SSH", b"SSH-2.0-x\r\n", BAD),
        Attack("HTTP/0.9", b"GET /\r\n", BAD),
        Attack("HTTP/0.9 with LF", b"GET /\n", BAD),
        Attack("lines of LF only", b"GET / HTTP/1.1\nHost: x\n\n", BAD),
        Attack("last line of LF only", b"GET / HTTP/1.1\r\nHost: x\r\n\n", BAD),
        Attack("last line of CR only", b"GET / HTTP/1.1\r\nHost: x\r\n\r" + SMUGGLED, BAD),
    ]


def fields() -> list[Attack]:
    """Header fields: RFC 9112, 5; RFC 9110, 5."""
    cases: list[tuple[bytes, tuple[int, ...]]] = [
        (b"A: b\r\n", OK),
        (b"A:b\r\n", OK),
        (b"A:\r\n", OK),
        (b"A: \t b \t \r\n", OK),
        (b"A: \xe9\r\n", OK),
        (b"A: b\tc\r\n", OK),
        (b"!#$%&'*+-.^_`|~09: b\r\n", OK),
        (b"A : b\r\n", BAD),
        (b"A\t: b\r\n", BAD),
        (b" A: b\r\n", BAD),
        (b"\tA: b\r\n", BAD),
        (b"A B: c\r\n", BAD),
        (b": b\r\n", BAD),
        (b"A\r\n", BAD),
        (b"A b\r\n", BAD),
        (b"A\xe9: b\r\n", BAD),
        (b"A(: b\r\n", BAD),
        (b"A@: b\r\n", BAD),
        (b"A/: b\r\n", BAD),
        (b"A\x00: b\r\n", BAD),
        (b"A\x01: b\r\n", BAD),
        (b'"A": b\r\n', BAD),
        (b"A,B: c\r\n", BAD),
        (b"A;B: c\r\n", BAD),
        (b"A: b\x00c\r\n", BAD),
        (b"A: \x00\r\n", BAD),
        (b"A: b\x01\r\n", BAD),
        (b"A: b\x08\r\n", BAD),
        (b"A: b\x0b\r\n", BAD),
        (b"A: b\x0c\r\n", BAD),
        (b"A: b\x1b[2J\r\n", BAD),
        (b"A: b\x1f\r\n", BAD),
        (b"A: b\x7f\r\n", BAD),
        (b"A: b\nB: c\r\n", BAD),
        (b"A: b\rB: c\r\n", BAD),
        (b"A: b\r\r\n", BAD),
        (b"A: b\n\r\n", BAD),
        (b"A: b\r\n c\r\n", BAD),
        (b"A: b\r\n\tc\r\n", BAD),
        (b"A: b\r\n \r\n", BAD),
        (b"A:\r\n b\r\n", BAD),
        (b"A: b\n c\r\n", BAD),
        (b"X: y\r\n" * 99, OK),
        (b"X: y\r\n" * 100, (431,)),
        (b"X: y\r\n" * 5000, (431,)),
        (b"X: " + b"y" * 70000 + b"\r\n", (431,)),
        (b"X" * 70000 + b": y\r\n", (431,)),
        (b"X: " + b"y" * 60000 + b"\r\n", OK),
        (b"Cookie: a=b\r\n", OK),
        (b"Cookie: \r\n", OK),
        (b"Cookie:  a \r\n", OK),
        (b"Cookie: a\r\nCookie: b\r\n", OK),
        (b"Cookie: a\r\n b\r\n", BAD),
        (b"X: y\r\nCookie: a\r\n b: c\r\n", BAD),
        (b"Cookie: a\r\n: b\r\n", BAD),
        (b"Cookie: a\x00b\r\n", BAD),
        (b"Cookie: a\x7f\r\n", BAD),
        (b"Cookie: a\nX: y\r\n", BAD),
        (b"Cookie: a\rX: y\r\n", BAD),
        (b"Cookie: a\r\r\n", BAD),
        (b"Cookie: a\r\nContent-Length: +1\r\n", BAD),
        (b"Content-Length: 0\r\nCookie: a\r\nContent-Length: 0\r\n", BAD),
        (b"Cookie: a\r\nTransfer-Encoding: x\r\n", BAD),
        (b"Cookie: a\r\n" + b"X: y\r\n" * 98, OK),
        (b"Cookie: a\r\n" + b"X: y\r\n" * 99, (431,)),
        (b"Cookie: " + b"y" * 70000 + b"\r\n", (431,)),
        (b"Cookie: a" + b" " * 60000 + b"\r\n", OK),
        (b"Expect: 100-continue\r\n", OK),
        (b"Expect: 200-ok\r\n", (417,)),
        (b"Expect: 100-continue, x\r\n", (417,)),
        (b"Connection: close, \r\n", OK),
        (b"Connection: Content-Length\r\n", OK),
        (b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AA\r\n", OK),
        (b"Content-Type: a\r\nContent-Type: b\r\n", BAD),
    ]
    return [
        Attack(f"field {line[:50]!r} ({len(line)})", b"GET / HTTP/1.1\r\nHost: x\r\n" + line + b"\r\n", want)
        for line, want in cases
    ]


def hosts() -> list[Attack]:
    """The Host field: RFC 9112, 3.2."""
    cases: list[tuple[bytes, tuple[int, ...]]] = [
        (b"Host: x\r\n", OK),
        (b"Host: x:80\r\n", OK),
        (b"Host: x:\r\n", OK),
        (b"Host: [::1]:80\r\n", OK),
        (b"Host: 127.0.0.1\r\n", OK),
        (b"host: x\r\n", OK),
        (b"HOST:x\r\n", OK),
        (b"Host: a_b.example\r\n", OK),
        (b"", BAD),
        (b"Host:\r\n", BAD),
        (b"Host: x\r\nHost: x\r\n", BAD),
        (b"Host: x\r\nHost: y\r\n", BAD),
        (b"Host: x\r\nhOST: y\r\n", BAD),
        (b"Host: x, y\r\n", BAD),
        (b"Host: x y\r\n", BAD),
        (b"Host: x/\r\n", BAD),
        (b"Host: x%41\r\n", OK),
        (b"Host: x%\r\n", BAD),
        (b"Host: x%4\r\n", BAD),
        (b"Host: x%zz\r\n", BAD),
        (b"Host: x:65536000\r\n", BAD),
        (b"Host: x:+80\r\n", BAD),
        (b"Host: :80\r\n", BAD),
        (b"Host: []\r\n", BAD),
        (b"Host: [::1]:80:80\r\n", BAD),
        (b"Host: [fe80::1%25a]\r\n", BAD),
        (b"Host: x^y\r\n", BAD),
        (b"Host: x|y\r\n", BAD),
        (b"Host: {x}\r\n", BAD),
        (b"Host: x\ty\r\n", BAD),
        (b"Host: x\r\n y\r\n", BAD),
        (b"Host:x\r\nHost:\r\n", BAD),
        (b"Host: x?y\r\n", BAD),
        (b"Host: x#y\r\n", BAD),
        (b"Host: u@x\r\n", BAD),
        (b"Host: x:y\r\n", BAD),
        (b"Host: x:80:80\r\n", BAD),
        (b"Host: x:-1\r\n", BAD),
        (b"Host: ::1\r\n", BAD),
        (b"Host: [::1\r\n", BAD),
        (b"Host: [::1]x\r\n", BAD),
        (b"Host: http://x\r\n", BAD),
        (b"Host: x\\y\r\n", BAD),
        (b'Host: "x"\r\n', BAD),
        (b"Host: <x>\r\n", BAD),
        (b"Host: x\x00\r\n", BAD),
        (b"Host: \xe9\r\n", BAD),
        (b"Host : x\r\n", BAD),
        (b" Host: x\r\n", BAD),
        (b"X-Host: x\r\n", BAD),
        (b"H\xc3\xb6st: x\r\n", BAD),
    ]
    found = [Attack(f"Host {line!r}", b"GET / HTTP/1.1\r\n" + line + b"\r\n", want) for line, want in cases]
    found.append(Attack("no Host in HTTP/1.0", b"GET / HTTP/1.0\r\n\r\n", OK))
    found.append(Attack("two Hosts in HTTP/1.0", b"GET / HTTP/1.0\r\nHost: x\r\nHost: x\r\n\r\n", BAD))
    found.append(Attack("absolute target, no Host", b"GET http://x/ HTTP/1.1\r\n\r\n", BAD))
    return found


def lengths() -> list[Attack]:
    """Content-Length: RFC 9112, 6.2 and 6.3."""
    refused: list[bytes] = [
        b"+5", b"-5", b"-0", b"+0", b"5.0", b"5,", b",5", b"5, 5", b"5,6", b"5 5", b"0x5", b"0X05", b"5h", b"1_0",
        b"5e0", b"five", b"", b" ", b"\xb2", b"\xd9\xa5", b"5\x00", b"\x005", b"5\x0b", b"\x0c5", b"5;", b"5;a=b",
        b'"5"', b"(5)", b"5\xa0", b"\xa05", b"9" * 19, b"9" * 30, b"9" * 5000, b"18446744073709551621",
        b"-18446744073709551611", b"NaN", b"5\r\n 5", b"\r\n 5",
    ]  # fmt: skip
    found = [
        Attack(
            f"Content-Length {value[:30]!r} ({len(value)})",
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: " + value + b"\r\n\r\nhello" + SMUGGLED,
            BAD,
        )
        for value in refused
    ]
    post = b"POST / HTTP/1.1\r\nHost: x\r\n"
    found += [
        Attack("Content-Length 5", post + b"Content-Length: 5\r\n\r\nhello", OK),
        Attack("Content-Length 0", post + b"Content-Length: 0\r\n\r\n", OK),
        Attack("Content-Length 005", post + b"Content-Length: 005\r\n\r\nhello", OK),
        Attack("Content-Length of GET", b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", OK),
        Attack("Content-Length spaced", post + b"Content-Length: \t 5 \t\r\n\r\nhello", OK),
        Attack("Content-Length none", post + b"\r\n" + SMUGGLED, (200, 200)),
        Attack("Content-Length twice", post + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", BAD),
        Attack("Content-Length 5 and 0", post + b"Content-Length: 5\r\nContent-Length: 0\r\n\r\nhello", BAD),
        Attack("Content-Length 0 and 5", post + b"Content-Length: 0\r\ncontent-length: 5\r\n\r\nhello", BAD),
        Attack("Content-Length, space before colon", post + b"Content-Length : 5\r\n\r\nhello", BAD),
        Attack("Content-Length folded name", post + b" Content-Length: 5\r\n\r\nhello", BAD),
        Attack("Content-Length after bare CR", post + b"X: y\rContent-Length: 5\r\n\r\nhello", BAD),
        Attack("Content-Length after bare LF", post + b"X: y\nContent-Length: 5\r\n\r\nhello", BAD),
        Attack("Content_Length", post + b"Content_Length: 5\r\n\r\n" + SMUGGLED, BAD),
        Attack("Content_Length, then length", post + b"Content_Length: 5\r\nContent-Length: 0\r\n\r\n", BAD),
        Attack("Content--Length", post + b"Content--Length: 5\r\n\r\n" + SMUGGLED, BAD),
        Attack("ContentLength", post + b"ContentLength: 5\r\n\r\n" + SMUGGLED, BAD),
        Attack("Content.Length", post + b"Content.Length: 5\r\n\r\n" + SMUGGLED, BAD),
        Attack("X-Content-Length", post + b"X-Content-Length: 5\r\n\r\n" + SMUGGLED, (200, 200)),
        Attack(
            "Content-Length of HEAD",
            b"HEAD / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED,
            OK,
        ),
        Attack("Content-Length 0, then garbage", post + b"Content-Length: 0\r\n\r\nX" + SMUGGLED, (200, 501)),
        Attack("body cut short", post + b"Content-Length: 50\r\n\r\nhello", NONE),
        Attack("body too long", post + b"Content-Length: 2000000\r\n\r\n", (413,)),
        Attack("body and more", post + b"Content-Length: 5\r\n\r\nhello" + SMUGGLED, (200, 200)),
        Attack("body and garbage", post + b"Content-Length: 5\r\n\r\nhelloworld\r\n\r\n", (200, 400)),
    ]
    return found


def codings() -> list[Attack]:
    """Transfer-Encoding: RFC 9112, 6.1."""
    end = b"\r\n\r\n0\r\n\r\n" + SMUGGLED
    refused: list[tuple[bytes, tuple[int, ...]]] = [
        (b"gzip", BAD), (b"identity", BAD), (b"xchunked", BAD), (b"chunkedx", BAD), (b"chunked x", BAD), (b"", BAD),
        (b"chunked, identity", BAD), (b"chunked, gzip", BAD), (b"chunked, chunked", BAD), (b"chunked,", BAD),
        (b",chunked", BAD), (b", chunked", BAD), (b"chunked;q=1", BAD), (b"chunked; x", BAD), (b'"chunked"', BAD),
        (b"'chunked'", BAD), (b"chunk", BAD), (b"chunked\x00", BAD), (b"\x00chunked", BAD), (b"\x0bchunked", BAD),
        (b"chunked\x0b", BAD), (b"\x0cchunked", BAD), (b"\xa0chunked", BAD), (b"chunked\xa0", BAD), (b"\x7f", BAD),
        (b"chunked\r\n ", BAD), (b"\r\n chunked", BAD), (b"chu\r\n nked", BAD), (b"cow", BAD), (b"chunked/1", BAD),
        (b"CHUN\xc4\xb8ED", BAD), (b"chun\xe2\x84\xaaed", BAD), (b"gzip, chunked", (501,)),
        (b"identity, chunked", (501,)), (b"gzip,\tchunked", (501,)), (b"x, y, chunked", (501,)),
    ]  # fmt: skip
    post = b"POST / HTTP/1.1\r\nHost: x\r\n"
    found = [Attack(f"coding {value!r}", post + b"Transfer-Encoding: " + value + end, want) for value, want in refused]
    chunked = b"Transfer-Encoding: chunked\r\n"
    found += [
        Attack("coding chunked", post + chunked + b"\r\n0\r\n\r\n", OK),
        Attack("coding CHUNKED", post + b"Transfer-Encoding: CHUNKED\r\n\r\n0\r\n\r\n", OK),
        Attack("coding spaced", post + b"Transfer-Encoding:\t chunked\r\n\r\n0\r\n\r\n", OK),
        Attack("coding twice", post + chunked * 2 + b"\r\n0\r\n\r\n" + SMUGGLED, BAD),
        Attack("coding and identity", post + chunked + b"Transfer-Encoding: identity\r\n\r\n0\r\n\r\n" + SMUGGLED, BAD),
        Attack("identity and coding", post + b"Transfer-Encoding: identity\r\n" + chunked + b"\r\n0\r\n\r\n", BAD),
        Attack("coding, then length", post + chunked + b"Content-Length: 5\r\n\r\n0\r\n\r\n" + SMUGGLED, BAD),
        Attack("length, then coding", post + b"Content-Length: 5\r\n" + chunked + b"\r\n0\r\n\r\n" + SMUGGLED, BAD),
        Attack("coding and length 0", post + chunked + b"Content-Length: 0\r\n\r\n0\r\n\r\n" + SMUGGLED, BAD),
        Attack("coding and bad length", post + chunked + b"Content-Length: x\r\n\r\n0\r\n\r\n" + SMUGGLED, BAD),
        Attack("other coding and length", post + b"Transfer-Encoding: x\r\nContent-Length: 5\r\n\r\nhello", BAD),
        Attack("coding in HTTP/1.0", b"POST / HTTP/1.0\r\nHost: x\r\n" + chunked + b"\r\n0\r\n\r\n", BAD),
        Attack("coding, space before colon", post + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + SMUGGLED, BAD),
        Attack("coding, folded name", post + b" Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED, BAD),
        Attack("coding after bare LF", post + b"X: y\n" + chunked + b"\r\n0\r\n\r\n" + SMUGGLED, BAD),
        Attack("coding after bare CR", post + b"X: y\r" + chunked + b"\r\n0\r\n\r\n" + SMUGGLED, BAD),
        Attack("coding of GET", b"GET / HTTP/1.1\r\nHost: x\r\n" + chunked + b"\r\n0\r\n\r\n", OK),
        Attack("Transfer_Encoding", post + b"Transfer_Encoding: chunked\r\n\r\n" + SMUGGLED, BAD),
        Attack("Transfer---Encoding", post + b"Transfer---Encoding: chunked\r\n\r\n" + SMUGGLED, BAD),
        Attack("TransferEncoding", post + b"TransferEncoding: chunked\r\n\r\n" + SMUGGLED, BAD),
        Attack("-Transfer-Encoding-", post + b"-Transfer-Encoding-: chunked\r\n\r\n" + SMUGGLED, BAD),
        Attack("Transfer.Encoding", post + b"Transfer.Encoding: chunked\r\n\r\n" + SMUGGLED, BAD),
        Attack("Transfer~Encoding", post + b"Transfer~Encoding: chunked\r\n\r\n" + SMUGGLED, BAD),
        Attack("Content-Encoding chunked", post + b"Content-Encoding: chunked\r\n\r\n" + SMUGGLED, (200, 200)),
        Attack("coding, then HTTP/1.0", post + chunked + b"\r\n0\r\n\r\nGET / HTTP/1.0\r\n\r\n", (200, 200)),
        Attack(
            "coding in HTTP/1.0, kept alive",
            b"POST / HTTP/1.0\r\nConnection: keep-alive\r\n" + chunked + b"\r\n0\r\n\r\n",
            BAD,
        ),
        Attack(
            "coding named by Connection",
            post + b"Connection: Transfer-Encoding\r\n" + chunked + b"\r\n0\r\n\r\n" + SMUGGLED,
            (200, 200),
        ),
        Attack(
            "lengths before and after a coding",
            post + b"Content-Length: 5\r\n" + chunked + b"Content-Length: 5\r\n\r\nhello",
            BAD,
        ),
        Attack("Transfer Encoding", post + b"Transfer Encoding: chunked\r\n\r\n0\r\n\r\n", BAD),
        Attack("X: Transfer-Encoding", post + b"X: Transfer-Encoding: chunked\r\n\r\n" + SMUGGLED, (200, 200)),
    ]
    return found


def chunks() -> list[Attack]:
    """The chunked coding: RFC 9112, 7.1."""
    cases: list[tuple[bytes, tuple[int, ...]]] = [
        (b"5\r\nhello\r\n0\r\n\r\n", OK),
        (b"00005\r\nhello\r\n000\r\n\r\n", OK),
        (b"A\r\n0123456789\r\n0\r\n\r\n", OK),
        (b"a\r\n0123456789\r\n0\r\n\r\n", OK),
        (b"5;a\r\nhello\r\n0\r\n\r\n", OK),
        (b'5;a=b;c="d;\\"e"\r\nhello\r\n0;f\r\n\r\n', OK),
        (b"5 ; a = b\r\nhello\r\n0\r\n\r\n", BAD),
        (b"5\r\nhello\r\n0\r\nX: y\r\n\r\n", OK),
        (b"5\r\nhello\r\n0\r\n\r\n" + SMUGGLED, (200, 200)),
        (b"5\r\nhello\r\n0\r\nX: y\r\n\r\n" + SMUGGLED, (200, 200)),
        (b"+5\r\nhello\r\n0\r\n\r\n", BAD),
        (b"-5\r\nhello\r\n0\r\n\r\n", BAD),
        (b"0x5\r\nhello\r\n0\r\n\r\n", BAD),
        (b"5_0\r\nhello\r\n0\r\n\r\n", BAD),
        (b" 5\r\nhello\r\n0\r\n\r\n", BAD),
        (b"5 \r\nhello\r\n0\r\n\r\n", BAD),
        (b"5\t\r\nhello\r\n0\r\n\r\n", BAD),
        (b"g\r\nhello\r\n0\r\n\r\n", BAD),
        (b"\r\nhello\r\n0\r\n\r\n", BAD),
        (b"5h\r\nhello\r\n0\r\n\r\n", BAD),
        (b"5,\r\nhello\r\n0\r\n\r\n", BAD),
        (b"5.\r\nhello\r\n0\r\n\r\n", BAD),
        (b"\xb2\r\nhello\r\n0\r\n\r\n", BAD),
        (b"5\x00\r\nhello\r\n0\r\n\r\n", BAD),
        (b"10000000000000005\r\nhello\r\n0\r\n\r\n", BAD),
        (b"ffffffffffffffff\r\nhello\r\n0\r\n\r\n", (413,)),
        (b"fffffffffffffffff\r\nhello", BAD),
        (b"5" * 40000, BAD),
        (b"5\nhello\r\n0\r\n\r\n", BAD),
        (b"5\rhello\r\n0\r\n\r\n", BAD),
        (b"5\r\nhello\n0\r\n\r\n", BAD),
        (b"5\r\nhello\r0\r\n\r\n", BAD),
        (b"5\r\nhello0\r\n\r\n", BAD),
        (b"5\r\nhelloXX0\r\n\r\n", BAD),
        (b"5\r\nhello\r\n\r\n0\r\n\r\n", BAD),
        (b"5\r\nhell\r\n0\r\n\r\n", BAD),
        (b"5\r\nhelloo\r\n0\r\n\r\n", BAD),
        (b"4\r\nhello\r\n0\r\n\r\n", BAD),
        (b"5;\r\nhello\r\n0\r\n\r\n", BAD),
        (b"5;a=\r\nhello\r\n0\r\n\r\n", BAD),
        (b"5;=b\r\nhello\r\n0\r\n\r\n", BAD),
        (b"5;a b\r\nhello\r\n0\r\n\r\n", BAD),
        (b"5;a\nb\r\nhello\r\n0\r\n\r\n", BAD),
        (b"5;a\rb\r\nhello\r\n0\r\n\r\n", BAD),
        (b"5;a\x00\r\nhello\r\n0\r\n\r\n", BAD),
        (b'5;a="\r\nhello\r\n0\r\n\r\n', BAD),
        (b'5;a="\n"\r\nhello\r\n0\r\n\r\n', BAD),
        (b"5;" + b"a" * 20000 + b"\r\nhello\r\n0\r\n\r\n", BAD),
        (b"1;aaaaaaaaaa\r\nx\r\n" * 3000 + b"0\r\n\r\n", BAD),
        (b"1\r\nx\r\n" * 3000 + b"0\r\n\r\n", OK),
        (b"5\r\nhello\r\n0\r\n\n", BAD),
        (b"5\r\nhello\r\n0\n\r\n", BAD),
        (b"5\r\nhello\r\n0\r\nX\r\n\r\n", BAD),
        (b"5\r\nhello\r\n0\r\nX : y\r\n\r\n", BAD),
        (b"5\r\nhello\r\n0\r\n: y\r\n\r\n", BAD),
        (b"5\r\nhello\r\n0\r\nX: y\nZ: z\r\n\r\n", BAD),
        (b"5\r\nhello\r\n0\r\nX: y\r\n z\r\n\r\n", BAD),
        (b"5\r\nhello\r\n0\r\nX: \x00\r\n\r\n", BAD),
        (b"5\r\nhello\r\n0\r\nContent-Length: 5\r\n\r\n", BAD),
        (b"5\r\nhello\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n", BAD),
        (b"5\r\nhello\r\n0\r\nHost: y\r\n\r\n", BAD),
        (b"5\r\nhello\r\n0\r\nAuthorization: y\r\n\r\n", BAD),
        (b"5\r\nhello\r\n0\r\nConnection: close\r\n\r\n", BAD),
        (b"5\r\nhello\r\n0\r\ncontent-LENGTH: 0\r\n\r\n", BAD),
        (b"5\r\nhello\r\n0\r\nX: \xe9\r\n\r\n", OK),
        (b"5\r\nhello\r\n0\r\nX: y\r\r\n\r\n", BAD),
        (b"5\r\nhello\r\n0\r\n\tX: y\r\n\r\n", BAD),
        (b"5\r\nhello\r\n0 \r\n\r\n", BAD),
        (b"5\r\nhello\r\n00000000000000000\r\n\r\n", BAD),
        (b"5\r\nhello\r\n-0\r\n\r\n", BAD),
        (b"5\r\nhello\r\n\r\n", BAD),
        (b"5\r\nhello\r\r\n0\r\n\r\n", BAD),
        (b"5\r\nhello\n\r0\r\n\r\n", BAD),
        (b"5\r\r\nhello\r\n0\r\n\r\n", BAD),
        (b"5\x0b\r\nhello\r\n0\r\n\r\n", BAD),
        (b"5\xa0\r\nhello\r\n0\r\n\r\n", BAD),
        (b"0X5\r\nhello\r\n0\r\n\r\n", BAD),
        (b"5;a=b;\r\nhello\r\n0\r\n\r\n", BAD),
        (b'5;a="b"c\r\nhello\r\n0\r\n\r\n', BAD),
        (b'5;a="\r\nhello\r\n0\r\n\r\n"\r\nhello\r\n0\r\n\r\n', BAD),
        (b"5;a\n0\r\nhello\r\n0\r\n\r\n" + SMUGGLED, BAD),
        (b"5\r\nhello\r\n0\r\n\r\n\r\n" + SMUGGLED, (200, 200)),
        (b"5\r\nhello\r\n0\r\n\r\n\r\n\r\n" + SMUGGLED, (200, 400)),
        (b"5\r\nhello\r\n0\r\n" + SMUGGLED, BAD),
        (b"5\r\nhello\r\n0\r\nX: " + b"y" * 9000 + b"\r\n\r\n", (431,)),
        (b"5\r\nhello\r\n0\r\n" + b"X: y\r\n" * 2000 + b"\r\n", (431,)),
        (b"f4240\r\n" + b"x" * 1000000 + b"\r\n1\r\nx\r\n0\r\n\r\n", (413,)),
        (b"5\r\nhello", NONE),
        (b"5\r\nhello\r\n", NONE),
        (b"5\r\nhello\r\n0\r\n", NONE),
        (b"5\r\nhello\r\n0\r\n\r", NONE),
    ]
    head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    return [Attack(f"chunks {data[:50]!r} ({len(data)})", head + data, want) for data, want in cases]


def conversations() -> list[Attack]:
    """Several requests: what one leaves behind must not reach the next."""
    get = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    post = b"POST / HTTP/1.1\r\nHost: x\r\n"
    return [
        Attack("good, bad", get + b"GET /\r\n\r\n" + get, (200, 400)),
        Attack("good, bad length", get + post + b"Content-Length: +1\r\n\r\nx" + get, (200, 400)),
        Attack("close ends it", b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" + get, OK),
        Attack("close in a list ends it", b"GET / HTTP/1.1\r\nHost: x\r\nConnection: TE, Close\r\n\r\n" + get, OK),
        Attack("HTTP/1.0 ends it", b"GET / HTTP/1.0\r\n\r\n" + get, OK),
        Attack("close wins over keep-alive", b"GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n" + get, OK),
        Attack("keep-alive 1.0", b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + get, (200, 200)),
        Attack("proxy connection", b"GET / HTTP/1.1\r\nHost: x\r\nProxy-Connection: close\r\n\r\n" + get, (200, 200)),
        Attack("upgrade, not taken", b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: y\r\n\r\n" + get,
               (200, 200)),
        Attack("expectation", post + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\nhello" + get, (200, 200)),
        Attack("upgrade in HTTP/1.0", b"GET / HTTP/1.0\r\nConnection: Upgrade\r\nUpgrade: y\r\n\r\n" + get, OK),
        Attack("upgrade with a body",
               post + b"Connection: Upgrade\r\nUpgrade: y\r\nContent-Length: 5\r\n\r\nhello" + get, (200, 200)),
        Attack("expectation without a body", post + b"Expect: 100-continue\r\n\r\n" + get, (200, 200)),
        Attack("expectation in HTTP/1.0",
               b"POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello", OK),
        Attack("two expectations", post + b"Expect: 100-continue\r\nExpect: 100-continue\r\n\r\n" + get, (417,)),
        Attack("CONNECT, then more", b"CONNECT x:1 HTTP/1.1\r\nHost: x:1\r\n\r\n" + SMUGGLED, (501,)),
        Attack("h2 preface after a request", get + b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (200, 505)),
        Attack("TLS after a request", get + b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", (200, 400)),
        Attack("empty lines between", get + b"\r\n" + get, (200, 200)),
        Attack("two empty lines between", get + b"\r\n\r\n" + get, (200, 400)),
        Attack("bare LF between", get + b"\n" + get, (200, 400)),
        Attack("unknown method, then more", b"FOO / HTTP/1.1\r\nHost: x\r\n\r\n" + get, (501,)),
        Attack("a hundred", get * 100, (200,) * 100),
    ]  # fmt: skip


ATTACKS: list[Attack] = [
    *start_lines(),
    *openings(),
    *fields(),
    *hosts(),
    *lengths(),
    *codings(),
    *chunks(),
    *conversations(),
]
