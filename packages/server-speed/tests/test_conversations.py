"""Whole conversations: a client sees the same, and an application is called with the same, in C and in Python."""

from __future__ import annotations

import io
import json
import os
import random
import sys
from collections.abc import Callable, Iterable
from typing import Any

import hubbub
import pytest
from hubbub_server import Limits, WSGIServer
from hubbub_server.http.tally import Tally

SEEDS = int(os.environ.get("HUBBUB_STRESS_SEEDS", "10"))
PER_SEED = 10
REQUESTS = [
    b"GET /environ/%41?a=b HTTP/1.1\r\nHost: x\r\nCookie: c=d\r\n\r\n",
    b"GET /environ HTTP/1.1\r\nHost: x\r\nAccept: a\r\nX: \xe9\r\nProxy: x\r\nConnection: keep-alive\r\n\r\n",
    b"GET /environ HTTP/1.1\r\nHost: x\r\nAccept: a\r\nAccept: b\r\n\r\n",
    b"GET http://y/environ HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /environ HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    b"HEAD /environ HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Type: a/b\r\n\r\nhello",
    b"POST /leave HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
    b"POST /read HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"POST /leave HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello",
    b"POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
    b"GET /pieces HTTP/1.1\r\nHost: x\r\n\r\n",
    b"HEAD /pieces HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /pieces HTTP/1.0\r\n\r\n",
    *(
        b"GET /iterated/%b HTTP/1.1\r\nHost: x\r\n\r\n" % manner
        for manner in (
            b"waits",
            b"none",
            b"empty",
            b"text",
            b"sized",
            b"short",
            b"204",
            b"subclass",
            b"fails",
            b"large",
            b"unstarted",
            b"late",
            b"unclosable",
            b"both",
            b"number",
            b"file",
            b"written",
        )
    ),
    b"HEAD /iterated/waits HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /write HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /exact HTTP/1.1\r\nHost: x\r\n\r\n",
    b"HEAD /exact HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /written/short HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /written/long HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /written/twice HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /written/nothing HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /written/fails HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /many HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /none HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /empty HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /204 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /short HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /long HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /close HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /date HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /fail HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /late HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /exit HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /twice HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /again HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /unstarted HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /text HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /bad HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /keyword HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"\r\nGET /environ HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nX: a\x01\r\n\r\n",
]


def shown(environ: dict[str, Any]) -> bytes:
    """All that an environ says, objects by their types."""
    assert type(environ) is dict
    said = {name: value if isinstance(value, str) else type(value).__name__ for name, value in environ.items()}
    return json.dumps(said, sort_keys=True).encode()


class Closing:
    """A body that says when it was let go."""

    def __init__(self, pieces: Iterable[bytes], closed: Callable[[], object]) -> None:
        self._pieces = pieces
        self.close = closed

    def __iter__(self) -> Any:
        return iter(self._pieces)


class Failing(Closing):
    """One that cannot be let go; ``seen`` gets the error that is being handled then."""

    def __init__(self, pieces: Any, seen: list[str]) -> None:
        super().__init__(pieces, self._fail)
        self._seen = seen

    def _fail(self) -> None:
        self._seen.append(repr(sys.exc_info()[1]))
        raise OSError("cannot be closed")


class Application:
    """Answers in many ways, by the path."""

    def __init__(self) -> None:
        self.closed = 0
        self.closing: list[str] = []

    def _close(self) -> None:
        self.closed += 1

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[Any]:
        word = environ["PATH_INFO"].split("/")[1]
        return getattr(self, f"do_{word}", self.do_environ)(environ, start_response)

    def do_environ(self, environ: Any, start_response: Any) -> Any:
        body = shown(environ)
        assert callable(start_response("200 OK", [("Content-Length", str(len(body)))]))
        environ.clear()  # it is the application's own
        return [body]

    def do_read(self, environ: Any, start_response: Any) -> Any:
        body = environ["wsgi.input"].read()
        start_response("200 OK", [("X-Type", environ.get("CONTENT_TYPE", "none"))])
        return (body,)

    def do_leave(self, environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        return [b"unread"]

    def do_pieces(self, environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        return Closing([b"a", b"", b"bc"], self._close)

    def do_iterated(self, environ: Any, start_response: Any) -> Any:
        manner = environ["PATH_INFO"].rpartition("/")[2]
        if manner in ("unstarted", "late"):
            return self._iterate(manner, start_response)
        length = [("Content-Length", "5")] if manner in ("sized", "short") else []
        write = start_response("204 No Content" if manner == "204" else "200 OK", length)
        if manner == "written":
            write(b"before")
        if manner in ("none", "number", "file"):
            return {"none": None, "number": 1}.get(manner, environ["wsgi.file_wrapper"](io.BytesIO(b"abc" * 9), 9))
        if manner == "subclass":
            return type("Sequence", (list,), {"close": self._close})([b"a", b"b"])
        return (
            Failing(self._iterate(manner, None), self.closing)
            if manner in ("unclosable", "both")
            else Closing(self._iterate(manner, None), self._close)
        )

    def _iterate(self, manner: str, start_response: Any) -> Any:
        """The pieces of a body."""
        if start_response is not None and manner == "late":
            start_response("200 OK", [])
        yield from {"empty": [], "text": [b"a", "b"], "sized": [b"ab", b"cde"], "short": [b"ab", b"c"]}.get(
            manner, [b"a" * (100_000 if manner == "large" else 10)] * 5
        )
        if manner == "waits":
            hubbub.sleep(0.001)
            yield b"after a wait"
        if manner in ("fails", "both"):
            raise ValueError("after some pieces")

    def do_write(self, environ: Any, start_response: Any) -> Any:
        write = start_response("200 OK", [])
        write(b"written")
        return [b"and returned"]

    def do_exact(self, environ: Any, start_response: Any) -> Any:
        write = start_response("200 OK", [("Content-Length", "5")])
        assert write(b"exact") is None
        return ()

    def do_written(self, environ: Any, start_response: Any) -> Any:
        write = start_response("200 OK", [("Content-Length", "5")])
        manner = environ["PATH_INFO"].rpartition("/")[2]
        write({"short": b"abc", "long": b"abcdefgh", "nothing": b""}.get(manner, b"exact"))
        if manner == "twice":
            write(b"again")
        if manner == "fails":
            raise ValueError("after all was written")
        return []

    def do_many(self, environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        return [b"a", b"b", b"c"]

    def do_large(self, environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        return [b"x" * 300_000]

    def do_none(self, environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])

    def do_empty(self, environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        return []

    def do_204(self, environ: Any, start_response: Any) -> Any:
        start_response("204 No Content", [])
        return [b""]

    def do_short(self, environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [("Content-Length", "5")])
        return [b"abc"]

    def do_long(self, environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [("Content-Length", "5")])
        return [b"abcdefgh"]

    def do_close(self, environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [("Connection", "close")])
        return [b"bye"]

    def do_date(self, environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [("Date", "today"), ("Set-Cookie", "a=b")])
        return [b"x"]

    def do_fail(self, environ: Any, start_response: Any) -> Any:
        raise ValueError("the application's")

    def do_late(self, environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        yield b"begun"
        raise ValueError("in the midst")

    def do_exit(self, environ: Any, start_response: Any) -> Any:
        sys.exit(3)

    def do_twice(self, environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        start_response("201 Created", [])
        return [b"x"]

    def do_again(self, environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        try:
            raise ValueError("on the way")
        except ValueError:
            start_response("500 Oops", [("X", "y")], sys.exc_info())
        return [b"again"]

    def do_unstarted(self, environ: Any, start_response: Any) -> Any:
        return [b"x"]

    def do_text(self, environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        return ["text"]

    def do_bad(self, environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [("X", "a\r\nb")])
        return [b"x"]

    def do_keyword(self, environ: Any, start_response: Any) -> Any:
        start_response(status="200 OK", headers=[], exc_info=None)
        return [b"x"]


def conversation(choose: random.Random) -> list[bytes]:
    """Some requests, cut in pieces."""
    data = b"".join(choose.choices(REQUESTS, k=choose.randrange(1, 6)))
    if choose.random() < 0.3:
        place = choose.randrange(len(data))
        data = data[:place] + choose.randbytes(1) + data[place + choose.randrange(2) :]
    cuts = sorted(choose.sample(range(len(data)), min(len(data), choose.choice((0, 0, 1, 3)))))
    return [data[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(data)], strict=True)]


def options(name: str) -> dict[str, Any]:
    """Of a server."""
    log = io.StringIO()
    return {
        "plain": {},
        "logged": {"log": log, "log_format": lambda entry: f"{entry.request} {entry.status} {entry.sent}"},
        "named": {"request_ids": True, "log": log, "log_format": lambda entry: f"{entry.status} {entry.sent}"},
        "limited": {"limits": Limits(header_count=3, body_bytes=3, discard_bytes=2)},
        "counted": {"limits": Limits(requests_per_connection=2)},
        "furnished": {"environ": {"HTTP_COOKIE": "its own", "more": 1}},
        "tallied": {},
    }[name]


@pytest.mark.timeout(1700)
@pytest.mark.parametrize("name", ["plain", "logged", "named", "limited", "counted", "furnished", "tallied"])
def test_the_same_answers(serve: Any, converse: Any, errors: io.StringIO, name: str) -> None:
    """Whatever is asked, in whatever pieces, and however the application answers: both answer and log the same."""
    applications = Application(), Application()
    settings = options(name), options(name)
    native = serve(applications[0], **settings[0])
    plain = serve(applications[1], native=False, **settings[1])
    tallies = Tally(None), Tally(None)
    if name == "tallied":
        native.access_log, plain.access_log = tallies
    for request in REQUESTS:
        assert converse(native, [request]) == converse(plain, [request]), request
    for seed in range(SEEDS * PER_SEED):
        pieces = conversation(random.Random(seed))
        assert converse(native, pieces) == converse(plain, pieces), (seed, pieces)
    assert applications[0].closed == applications[1].closed > 0
    assert applications[0].closing == applications[1].closing
    assert len(set(applications[0].closing)) == 2
    if "log" in settings[0]:
        assert settings[0]["log"].getvalue() == settings[1]["log"].getvalue() != ""
    counted = [(tally.sent, tally.statuses, sum(tally.times)) for tally in tallies]
    assert counted[0] == counted[1]
    assert (counted[0][2] > len(REQUESTS)) == (name == "tallied")


class Text(str):
    """Equal to a str, and none."""

    __slots__ = ()


HEADS: list[tuple[str, Any]] = [
    ("200 OK", [("X-A", "b"), ("X-C", "d")]),
    ("200 OK", [("X-A", "b"), ("X-C", "e")]),
    ("200 OK", [("X-A", "b"), ("X-C", "dd")]),
    ("200 OK", [("X-A", "b"), ("X-CC", "d")]),
    ("200 OK", [("X-A", "b"), ("x-c", "d")]),
    ("200 OK", [("X-C", "d"), ("X-A", "b")]),
    ("200 OK", [("X-A", "b")]),
    ("200 OK", []),
    ("201 OK", [("X-A", "b"), ("X-C", "d")]),
    ("200 OK", [("X-A", "b"), ("X-C", "\xe9")]),
    ("200 OK", [("X-A", "b"), ("X-C", "\xe8")]),
    ("200 OK", [("X-A", "b"), ("X-C", "\u0100")]),
    ("200 OK", [("X-A", "b"), ("X-C", "d", "e")]),
    ("200 OK", [("X-A", "b"), ["X-C", "d"]]),
    ("200 OK", [("X-A", "b"), ("X-C", 1)]),
    ("200 OK", [("X-A", "b"), None]),
    ("200 OK", (("X-A", "b"), ("X-C", "d"))),
    ("200 OK", [("X-A", "b"), ("X-C", Text("d"))]),
    (Text("200 OK"), [("X-A", "b"), ("X-C", "d")]),
    ("200 OK", [("X-A", "b"), ("Set-Cookie", "d")]),
    ("200 OK", [("X-A", "b"), ("X-C", "d"), ("Content-Length", "1")]),
    ("200 OK", [("X-A", "b"), ("X-C", "d"), ("Content-Length", "2")]),
]


def test_heads_one_after_the_other(serve: Any, converse: Any) -> None:
    """A head is that of its own response, however little it differs from the one before."""

    def application(environ: Any, start_response: Any) -> Any:
        status, fields = HEADS[int(environ["QUERY_STRING"])]
        start_response(status, fields if type(fields) is tuple else list(fields))
        return [b"x"]

    native, plain = serve(application), serve(application, native=False)
    requests = [b"GET /?%d HTTP/1.1\r\nHost: x\r\n\r\n" % number for number in range(len(HEADS))]
    expected = [converse(plain, [request]) for request in requests]
    assert len(set(expected)) > 12
    for before, first in enumerate(expected):
        for number, second in enumerate(expected):
            for place in (before, before, number, number, before):  # twice, so that it is remembered
                assert converse(native, [requests[place]]) == (first if place == before else second), (before, number)


@pytest.mark.parametrize("native", [True, False])
def test_who_serves(serve: Any, converse: Any, monkeypatch: pytest.MonkeyPatch, native: bool) -> None:
    """Where the accelerator serves, the parser in Python is not asked; ``accelerators=False`` leaves all to it."""
    asked: list[bytes] = []
    server = serve(Application(), native=native)
    parser = server.parser
    start_line = parser.start_line
    monkeypatch.setattr(parser, "start_line", lambda line: asked.append(line) or start_line(line), raising=False)
    assert converse(server, [REQUESTS[0] * 3]).count(b" 200 OK") == 3
    assert len(asked) == (0 if native else 3)
    assert converse(server, [REQUESTS[4]]).count(b" 200 OK") == 1
    assert len(asked) == (1 if native else 4)


def test_a_subclass_serves_by_itself(serve: Any, converse: Any, hub: Any) -> None:
    """A server that answers requests in its own way is asked for each."""
    seen = []

    class Own(WSGIServer):
        def serve_request(self, exchange: Any) -> None:
            seen.append(exchange.environ["PATH_INFO"])
            super().serve_request(exchange)

    server = Own(("127.0.0.1", 0), Application(), log=None)
    server.start()
    try:
        assert b" 200 OK" in converse(server, [REQUESTS[0]])
    finally:
        server.stop(0.2)
    assert seen == ["/environ/A"]
