"""What browsers, libraries, proxies and health checkers really send, and what the application sees of it."""

from __future__ import annotations

from typing import Any

import pytest

UTF8 = "café".encode().decode("latin-1")

TARGETS = [
    # What is sent, PATH_INFO, QUERY_STRING.
    (rb"/?path=C:\x", "/", r"path=C:\x"),  # browsers leave a backslash in a query alone
    (rb"/a?\\server\share&b=\d+", "/a", r"\\server\share&b=\d+"),
    (b'/a"b"?q="c d"'.replace(b" ", b"%20"), '/a"b"', 'q="c%20d"'),
    (b"/<a>?<b>", "/<a>", "<b>"),
    (b"/{a}|b^c`d?[e]{f}|g^h`i", "/{a}|b^c`d", "[e]{f}|g^h`i"),
    ("/café?café".encode(), f"/{UTF8}", UTF8),  # curl, old Java
    (b"/caf\xe9?caf\xe9", "/caf\xe9", "caf\xe9"),  # old Internet Explorer
    ("/日本?日本".encode(), "/" + "日本".encode().decode("latin-1"), "日本".encode().decode("latin-1")),
    (b"/caf%C3%A9/caf\xc3\xa9?caf%C3%A9", f"/{UTF8}/{UTF8}", "caf%C3%A9"),
    (b"/%?%zz", "/%", "%zz"),
    (b"//a/../b/./c", "//a/../b/./c", ""),
    (b"/a;b=c;d?e;f", "/a;b=c;d", "e;f"),
    (b"/?a?b??", "/", "a?b??"),
    (b"/~user/!$&'()*+,;=:@", "/~user/!$&'()*+,;=:@", ""),
    (b"http://x/caf\xc3\xa9?\\", f"/{UTF8}", "\\"),
    (b"http://x?q", "/", "q"),
]


def shown(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    names = ("REQUEST_METHOD", "PATH_INFO", "QUERY_STRING", "REQUEST_URI")
    body = environ["wsgi.input"].read()
    return [repr((*(environ[name] for name in names), body)).encode()]


@pytest.mark.parametrize(("target", "path", "query"), TARGETS)
def test_targets(serve: Any, connect: Any, target: bytes, path: str, query: str) -> None:
    """A target reaches the application as it was sent, bytes in the guise of latin-1, only the path unquoted."""
    client = connect(serve(shown))
    for _ in range(2):  # the second time from memory
        client.send(b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % target)
        expected = ("GET", path, query, target.decode("latin-1"), b"")
        assert client.response().body.decode() == repr(expected)


@pytest.mark.parametrize(
    "method", ["FROBNICATE", "BAN", "PURGE", "get", "X-1", "M-SEARCH", "VERSION-CONTROL", "a" * 80]
)
def test_methods(serve: Any, connect: Any, method: str) -> None:
    """A method is any token, its case matters, and the application decides what it means."""
    client = connect(serve(shown))
    client.send(f"{method} /x HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert client.response().body.decode() == repr((method, "/x", "", "/x", b""))


REQUESTS = {
    "curl": b"GET / HTTP/1.1\r\nHost: localhost:8000\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n\r\n",
    "a browser": (
        b"GET /a?b=%5B1%5D HTTP/1.1\r\nHost: www.example.com\r\nConnection: keep-alive\r\n"
        b'sec-ch-ua: "Chromium";v="124", "Not-A.Brand";v="99"\r\nsec-ch-ua-mobile: ?0\r\nDNT: 1\r\n'
        b"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0 Safari/537.36"
        b'\r\nAccept: text/html,application/xhtml+xml;q=0.9,*/*;q=0.8\r\nCookie: a=b; c="d e"; f=\xc3\xa9\r\n\r\n'
    ),
    "nginx to an upstream": b"GET / HTTP/1.0\r\nHost: backend\r\nConnection: close\r\nX-Real-IP: 192.0.2.1\r\n\r\n",
    "nginx, an upstream with an underscore": b"GET / HTTP/1.0\r\nHost: my_backend\r\nConnection: close\r\n\r\n",
    "haproxy's health check": b"OPTIONS / HTTP/1.0\r\n\r\n",
    "a health check without fields": b"HEAD / HTTP/1.0\r\n\r\n",
    "ELB": b"GET / HTTP/1.1\r\nHost: 10.0.0.1:80\r\nConnection: close\r\nUser-Agent: ELB-HealthChecker/2.0\r\n\r\n",
    "Kubernetes": b"GET / HTTP/1.1\r\nHost: [fd00::1]:80\r\nUser-Agent: kube-probe/1.30\r\nAccept: */*\r\n"
    b"Connection: close\r\n\r\n",
    "ab": b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\nHost: x\r\nUser-Agent: ApacheBench/2.3\r\nAccept: */*\r\n\r\n",
    "Apache's proxy": b"GET / HTTP/1.1\r\nHost: x\r\nMax-Forwards: 10\r\nVia: 1.1 y\r\nX-Forwarded-For: ::1, ::2\r\n"
    b"Connection: Keep-Alive\r\n\r\n",
    "a client of a proxy": b"GET http://x:80/ HTTP/1.1\r\nHost: x:80\r\nProxy-Connection: keep-alive\r\n\r\n",
    "WebDAV": b"PROPFIND /dav/ HTTP/1.1\r\nHost: x\r\nDepth: 1\r\nContent-Length: 4\r\n\r\n<a/>",
    "Windows WebDAV": b"OPTIONS * HTTP/1.1\r\nHost: x\r\ntranslate: f\r\nUser-Agent: DavClnt\r\n\r\n",
    "an empty field": b"GET / HTTP/1.1\r\nHost: x\r\nAccept:\r\nX-Empty: \r\n\r\n",
    "an old browser after a POST": b"\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "Java": b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n00000002\r\nab\r\n00000000\r\n\r\n",
    "a chunk with an extension, spaced": b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: Chunked \r\n\r\n"
    b'2 ; a = "b"\t;c\r\nab\r\n0\r\nX-Sum: 5\r\n\r\n',
    "curl, a large body": b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nab",
    "a GET with a body": b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab",
    "gRPC-like": b"POST / HTTP/1.1\r\nHost: x\r\nTE: trailers\r\nContent-Length: 0\r\n\r\n",
}


@pytest.mark.parametrize("name", REQUESTS)
def test_requests(serve: Any, connect: Any, name: str) -> None:
    """It is served."""
    data = REQUESTS[name]
    client = connect(serve(shown))
    client.send(data)
    response = client.response(data.split()[0].decode())
    assert response.status == 200
    assert ("b'ab'" in response.body.decode()) == (b"\r\nab" in data)
