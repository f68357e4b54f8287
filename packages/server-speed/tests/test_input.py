"""wsgi.input of a body that has arrived: read in C, it gives the same as in Python."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hubbub_server.http.body import Input

SEEDS = 30
WORDS: dict[str, Any] = {
    "all": lambda body: body.read(),
    "none": lambda body: body.read(None),
    "line": lambda body: body.readline(),
    "lines": lambda body: body.readlines(),
    "true": lambda body: body.read(True),
    "float": lambda body: body.read(1.5),
    "text": lambda body: body.read("1"),
    "two": lambda body: body.read(1, 2),
    "many": lambda body: body.read(1, 2, 3, 4),
    "named": lambda body: body.read(size=1),
    "huge": lambda body: body.read(1 << 80),
    "negative": lambda body: body.read(-(1 << 80)),
}


def application(environ: dict[str, Any], start_response: Any) -> Any:
    """Reads as the query says, and answers with what it got."""
    body, got = environ["wsgi.input"], []
    for word in environ["QUERY_STRING"].split(","):
        try:
            got.append(WORDS[word](body) if word in WORDS else body.read(int(word)))
        except Exception as error:
            got.append(type(error).__name__)
    start_response("200 OK", [])
    return [repr(got).encode()]


def test_every_way_to_read(serve: Any, converse: Any) -> None:
    """Whatever sizes are asked for, in whatever order: the same bytes, and the same errors."""
    native, plain = serve(application), serve(application, native=False)
    for seed in range(SEEDS):
        choose = random.Random(seed)
        sizes = [str(choose.randrange(-2, 12)) for _ in range(6)]
        query = ",".join(choose.choices([*sizes, *WORDS], k=5))
        body = bytes(choose.choices(b"ab\n", k=choose.randrange(1, 20)))
        request = b"POST /?%b HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (query.encode(), len(body), body)
        cut = choose.randrange(len(request))
        for pieces in ([request] * 3, [request + request], [request, request[:cut], request[cut:]]):
            assert converse(native, pieces) == converse(plain, pieces), (query, body)


@pytest.mark.parametrize("native", [True, False])
def test_it_is_an_input(serve: Any, converse: Any, native: bool) -> None:
    """What the application finds is of the class that it would be of in Python, with its documentation."""
    seen: list[Any] = []

    def looks(environ: dict[str, Any], start_response: Any) -> Any:
        seen.append(environ["wsgi.input"])
        start_response("200 OK", [])
        return [b""]

    assert b" 200 OK" in converse(
        serve(looks, native=native), [b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"]
    )
    (body,) = seen
    assert isinstance(body, Input)
    assert type(body).__name__ == "Input"
    assert (type(body) is Input) == (not native)
    assert type(body).read.__doc__
    assert not hasattr(body, "__dict__")


def test_a_body_that_is_read_later(serve: Any, converse: Any) -> None:
    """What has arrived can be read after the response, too: nothing of the exchange is needed for that."""
    seen: list[Any] = []

    def keeps(environ: dict[str, Any], start_response: Any) -> Any:
        seen.append(environ["wsgi.input"])
        start_response("200 OK", [])
        return [b""]

    for native in (True, False):
        server = serve(keeps, native=native)
        assert b" 200 OK" in converse(server, [b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"] * 2)
    assert [body.read() for body in seen[:2]] == [body.read() for body in seen[2:]]
