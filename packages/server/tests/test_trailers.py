"""Early hints and trailers, over HTTP/1.1 and HTTP/2."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

LINK = ("Link", "</style.css>; rel=preload; as=style")


def test_early_hints(serve: Any, connect: Any, http2: Any) -> None:
    """Interim responses come before the response, as many as are sent; not to HTTP/1.0, nor once it has begun."""
    said: list[bool] = []

    def application(environ: Any, start_response: Any) -> Any:
        hints = environ["hubbub.early_hints"]
        said[:] = [hints([LINK]), hints([("Link", "</two.js>")])]
        write = start_response("200 OK", [("Content-Type", "text/plain")])
        write(b"done")
        said.append(hints([LINK]))
        return []

    server = serve(application, http2=True)
    client = connect(server)
    client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert client.until(b"\r\n\r\n") == b"HTTP/1.1 103 Early Hints\r\nLink: " + LINK[1].encode() + b"\r\n\r\n"
    assert client.until(b"\r\n\r\n") == b"HTTP/1.1 103 Early Hints\r\nLink: </two.js>\r\n\r\n"
    assert client.response().body == b"done"
    assert said == [True, True, False]
    peer = http2(server)
    peer.request(1)
    answer = peer.answer(1)
    assert answer.interim == [{":status": "103", "link": LINK[1]}, {":status": "103", "link": "</two.js>"}]
    assert (answer.status, answer.body) == (200, b"done")
    assert said == [True, True, False]
    old = connect(server)
    old.send(b"GET / HTTP/1.0\r\n\r\n")
    assert old.rest().startswith(b"HTTP/1.1 200 OK\r\n")
    assert said == [False, False, False]


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ([("A b", "c")], ValueError),
        ([("A", "b\r\nc: d")], ValueError),
        ([("Content-Length", "1")], ValueError),
        ([("Transfer-Encoding", "chunked")], ValueError),
        ([(b"A", "b")], TypeError),
        ([("A", 1)], TypeError),
    ],
)
def test_invalid_fields(serve: Any, connect: Any, http2: Any, fields: Any, error: type[Exception]) -> None:
    """What would not be a valid field is refused where it is said, and spoils nothing."""
    seen: list[bool] = []

    def application(environ: Any, start_response: Any) -> list[bytes]:
        for name in ("hubbub.early_hints", "hubbub.send_trailers"):
            with pytest.raises(error):
                environ[name](fields)
        seen.append(True)
        start_response("200 OK", [])
        return [b"fine"]

    server = serve(application, http2=True)
    client = connect(server)
    client.send(b"GET / HTTP/1.1\r\nHost: x\r\nTE: trailers\r\nConnection: TE\r\n\r\n")
    assert client.response().body == b"fine"
    peer = http2(server)
    peer.request(1)
    assert peer.answer(1).body == b"fine"
    assert seen == [True, True]


def whole(trailers: Callable[..., bool], write: Callable[..., Any]) -> Any:
    assert trailers([("X-Sum", "1")])
    assert trailers([("Grpc-Status", "0"), ("X-Sum", "2")])
    return [b"body"]


def generated(trailers: Callable[..., bool], write: Callable[..., Any]) -> Any:
    yield b"bo"
    yield b"dy"
    assert trailers([("Grpc-Status", "0"), ("X-Sum", "2")])


def written(trailers: Callable[..., bool], write: Callable[..., Any]) -> Any:
    write(b"body")
    assert trailers([("Grpc-Status", "0"), ("X-Sum", "2")])
    return []


def alone(trailers: Callable[..., bool], write: Callable[..., Any]) -> Any:
    assert trailers([("Grpc-Status", "0"), ("X-Sum", "2")])
    return []


@pytest.mark.parametrize("manner", [whole, generated, written, alone])
def test_trailers_of_responses(serve: Any, connect: Any, http2: Any, manner: Any) -> None:
    """Trailers follow the body, however that is given, and the connection goes on."""

    def application(environ: Any, start_response: Any) -> Any:
        write = start_response("200 OK", [])
        return manner(environ["hubbub.send_trailers"], write)

    body = b"" if manner is alone else b"body"
    server = serve(application, http2=True)
    client = connect(server)
    for _ in range(2):
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\nTE: trailers\r\nConnection: TE\r\n\r\n")
        assert b"Transfer-Encoding: chunked" in client.until(b"\r\n\r\n")
        said = client.until(b"\r\n\r\n")
        assert said.endswith(b"0\r\nGrpc-Status: 0\r\nX-Sum: 2\r\n\r\n")
        assert b"".join(said.split(b"\r\n")[1:-5:2]) == body
    peer = http2(server)
    for stream in (1, 3):
        peer.request(stream)
        answer = peer.answer(stream)
        assert (answer.body, answer.trailers, answer.ended) == (body, {"grpc-status": "0", "x-sum": "2"}, True)


def test_trailers_that_nobody_wants(serve: Any, connect: Any) -> None:
    """A client of HTTP/1.1 that has not asked for trailers gets none, nor one whose response has a length."""
    said: list[bool] = []

    def application(environ: Any, start_response: Any) -> Any:
        if environ["PATH_INFO"] == "/length":
            start_response("200 OK", [("Content-Length", "4")])
        else:
            start_response("200 OK", [])
        said.append(environ["hubbub.send_trailers"]([("X-Sum", "1")]))
        return [b"body"]

    client = connect(serve(application))
    client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert client.response().headers["content-length"] == "4"
    client.send(b"GET /length HTTP/1.1\r\nHost: x\r\nTE: trailers\r\nConnection: TE\r\n\r\n")
    assert client.response().headers["content-length"] == "4"
    client.send(b"GET / HTTP/1.1\r\nHost: x\r\nTE: trailers\r\n\r\n")
    assert client.response().headers["content-length"] == "4"
    assert said == [False, False, False]


def test_trailers_of_requests(serve: Any, connect: Any, http2: Any) -> None:
    """An application finds the trailers of its request once it has read the body."""

    def application(environ: Any, start_response: Any) -> list[bytes]:
        environ["wsgi.input"].read()
        start_response("200 OK", [])
        return [repr(environ["hubbub.trailers"]()).encode()]

    want = repr([("x-sum", "1 2"), ("x-more", "")]).encode()
    server = serve(application, http2=True)
    client = connect(server)
    client.send(
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Sum: 1 2 \r\nX-More:\r\n\r\n"
    )
    assert client.response().body == want
    client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\na")
    assert client.response().body == b"[]"
    peer = http2(server)
    peer.request(1, "POST", end=False)
    peer.data(1, b"a")
    peer.head(1, [("x-sum", "1 2"), ("x-more", "")])
    assert peer.answer(1).body == want


def test_elsewhere(serve: Any, http2: Any) -> None:
    """In another greenlet than that of the request they do not know which is meant, and say so."""
    import hubbub

    def application(environ: Any, start_response: Any) -> list[bytes]:
        kinds = []
        for name, arguments in (("early_hints", ([LINK],)), ("send_trailers", ([LINK],)), ("trailers", ())):
            other = hubbub.spawn(environ[f"hubbub.{name}"], *arguments)
            other.join()
            kinds.append(type(other.exception).__name__)
        start_response("200 OK", [])
        return [" ".join(kinds).encode()]

    peer = http2(serve(application, http2=True))
    peer.request(1)
    assert peer.answer(1).body == b"RuntimeError RuntimeError RuntimeError"
