"""HTTP/2: requests, responses, flow control, the end."""

from __future__ import annotations

import io
import json
from typing import Any

import hubbub
import pytest
from hubbub_server import Limits

WINDOW = 65535


def echo(environ: Any, start_response: Any) -> list[bytes]:
    """Says what it was asked."""
    body = environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Type", "text/plain"), ("X-Path", environ["PATH_INFO"])])
    return [body]


def test_request(serve: Any, http2: Any) -> None:
    """A request is answered, with the fields of a response and without those of HTTP/1.1's connections."""
    peer = http2(serve(http2=True))
    peer.request(1)
    answer = peer.answer(1)
    assert answer.status == 200
    assert answer.body == b"hello"
    assert answer.headers["content-length"] == "5"
    assert answer.headers["server"] == "hubbub"
    assert "date" in answer.headers
    assert not {"connection", "transfer-encoding", "keep-alive"} & set(answer.headers)


def test_environ(serve: Any, http2: Any) -> None:
    """The environ is that of HTTP/1.1, with the protocol and the number of the stream."""
    seen: list[dict[str, Any]] = []

    def application(environ: Any, start_response: Any) -> list[bytes]:
        seen.append({key: value for key, value in environ.items() if isinstance(value, (str, int))})
        start_response("204 No Content", [])
        return []

    server = serve(application, http2=True)
    plain = http2(server)
    plain.head(
        3,
        [
            *((":method", "PUT"), (":path", "/a%20b?c=d"), (":scheme", "http"), (":authority", "some.where:80")),
            *(("cookie", "a=b"), ("x-one", "1"), ("cookie", "c=d"), ("x-one", "2"), ("x_two", "3"), ("proxy", "4")),
            ("content-type", "text/plain"),
        ],
    )
    assert plain.answer(3).status == 204
    environ = seen[0]
    assert environ["REQUEST_METHOD"] == "PUT"
    assert environ["PATH_INFO"] == "/a b"
    assert environ["REQUEST_URI"] == "/a%20b?c=d"
    assert environ["QUERY_STRING"] == "c=d"
    assert environ["SERVER_PROTOCOL"] == "HTTP/2"
    assert environ["HTTP_HOST"] == "some.where:80"
    assert environ["HTTP_COOKIE"] == "a=b; c=d"
    assert environ["HTTP_X_ONE"] == "1,2"
    assert environ["CONTENT_TYPE"] == "text/plain"
    assert environ["hubbub.stream"] == 3
    assert environ["REMOTE_ADDR"] == "127.0.0.1"
    assert environ["wsgi.url_scheme"] == "http"
    assert not {"HTTP_X_TWO", "HTTP_PROXY"} & set(environ)


def test_preface_in_pieces(serve: Any, http2: Any) -> None:
    """The preface may arrive byte by byte."""
    server = serve(http2=True)
    peer = http2(server, begins=False)
    for byte in b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n":
        peer.send(bytes([byte]))
        hubbub.sleep(0.001)
    peer.send(peer.settings({}))
    peer.request(1)
    assert peer.answer(1).body == b"hello"


def test_both_versions_on_a_port(serve: Any, http2: Any, connect: Any) -> None:
    """A port serves those who say neither more nor less than before."""
    server = serve(http2=True)
    client = connect(server)
    client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert client.response().body == b"hello"
    peer = http2(server)
    peer.request(1)
    assert peer.answer(1).body == b"hello"


def test_not_asked_for(serve: Any, connect: Any) -> None:
    """Without the option a preface is what it was: a version that is not served."""
    client = connect(serve())
    client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    assert client.response().status == 505


def test_body(serve: Any, http2: Any) -> None:
    """A body is read as it comes, with and without a length."""
    peer = http2(serve(echo, http2=True))
    peer.request(1, "POST", end=False, content_length="6")
    peer.request(3, "POST", end=False)
    for stream in (1, 3):
        peer.data(stream, b"abc")
        peer.data(stream, b"def", end=True)
    assert [peer.answer(stream).body for stream in (1, 3)] == [b"abcdef", b"abcdef"]


def test_many_at_a_time(serve: Any, http2: Any) -> None:
    """Each request is answered when it is ready, whatever others wait for."""
    events = {name: hubbub.event.Event() for name in "abc"}

    def application(environ: Any, start_response: Any) -> list[bytes]:
        name = environ["PATH_INFO"][1:]
        events[name].wait()
        start_response("200 OK", [])
        return [name.encode()]

    peer = http2(serve(application, http2=True))
    for stream, name in ((1, "a"), (3, "b"), (5, "c")):
        peer.request(stream, path=f"/{name}")
    for stream, name in ((5, "c"), (1, "a"), (3, "b")):
        events[name].set()
        assert peer.answer(stream).body == name.encode()


def test_no_body_follows(serve: Any, http2: Any) -> None:
    """HEAD, 204 and 304 have heads only, and end with them."""

    def application(environ: Any, start_response: Any) -> list[bytes]:
        start_response(f"{environ['PATH_INFO'][1:]} Status", [])
        return [b"body"]

    peer = http2(serve(application, http2=True))
    peer.request(1, "HEAD", "/200")
    peer.request(3, path="/204")
    peer.request(5, path="/304")
    for stream, length in ((1, "4"), (3, None), (5, None)):
        answer = peer.answer(stream)
        assert answer.body == b""
        assert answer.headers.get("content-length") == length


def test_manners(serve: Any, http2: Any, errors: io.StringIO) -> None:
    """However an application gives its body, it arrives whole, and the stream ends well."""
    data = bytes(range(256)) * 1000

    def application(environ: Any, start_response: Any) -> Any:
        manner = environ["PATH_INFO"][1:]
        headers = [("Content-Length", str(len(data)))] if "length" in manner else []
        write = start_response("200 OK", headers)
        pieces = [data[:1000], b"", data[1000:]]
        if "write" in manner:
            for piece in pieces:
                write(piece)
            return []
        if "file" in manner:
            return environ["wsgi.file_wrapper"](io.BytesIO(data), 1000)
        return pieces if "list" in manner else iter(pieces)

    peer = http2(serve(application, http2=True), settings={4: 1 << 20})
    manners = [f"{way}{length}" for way in ("list", "iter", "write", "file") for length in ("", "-length")]
    for number, manner in enumerate(manners):
        stream = number * 2 + 1
        peer.request(stream, path=f"/{manner}")
        peer.open_windows(stream, 1 << 20)
        answer = peer.answer(stream)
        assert answer.body == data, manner
        assert answer.reset is None
    assert errors.getvalue() == ""


def test_plain_file(serve: Any, http2: Any, tmp_path: Any) -> None:
    """A file on a disk is read, as there is no sendfile into frames."""
    path = tmp_path / "file"
    path.write_bytes(b"x" * 50000)

    def application(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [("Content-Length", "50000")])
        return environ["wsgi.file_wrapper"](path.open("rb"))

    peer = http2(serve(application, http2=True))
    peer.request(1)
    assert peer.answer(1).body == b"x" * 50000


@pytest.mark.parametrize("secure", [False, True])
def test_curl(serve: Any, certificate: Any, secure: bool) -> None:
    """curl gets what HTTP/1.1's clients get, by prior knowledge and by ALPN."""
    import shutil

    from hubbub import subprocess

    curl = shutil.which("curl")
    if curl is None or b"HTTP2" not in subprocess.check_output([curl, "--version"]):
        pytest.skip("there is no curl that knows HTTP/2")
    context = None
    if secure:
        ssl = pytest.importorskip("hubbub_net.ssl")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate[1].configure_cert(context)
        context.set_alpn_protocols(["h2", "http/1.1"])
    server = serve(echo, http2=True, ssl_context=context)
    body = "x" * 300000
    process = subprocess.Popen(
        [curl, "-sk", "--max-time", "20", "-w", "%{http_version}", "--http2" if secure else "--http2-prior-knowledge",
         "--data-binary", "@-", f"{'https' if secure else 'http'}://127.0.0.1:{server.server_port}/"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    out, _ = process.communicate(body.encode())
    assert out.decode() == body + "2"


def test_slow_reader_of_a_body(serve: Any, http2: Any) -> None:
    """An application that does not read holds its client back, and no other request of that client."""
    go = hubbub.event.Event()

    def application(environ: Any, start_response: Any) -> list[bytes]:
        if environ["PATH_INFO"] == "/slow":
            go.wait()
        return echo(environ, start_response)

    peer = http2(serve(application, http2=True))
    peer.request(1, "POST", "/slow", end=False)
    for _ in range(3):
        peer.data(1, b"x" * 16384)
    peer.data(1, b"x" * (WINDOW - 3 * 16384))  # the window is used up
    peer.request(3, "POST", end=False)
    peer.data(3, b"y" * 16384)
    peer.data(3, b"", end=True)
    assert peer.answer(3).body == b"y" * 16384
    assert not [stream for stream, answer in peer.answers.items() if stream == 1 and answer.headers]
    go.set()
    assert int.from_bytes(peer.until(8, 1).payload, "big") > 30000
    peer.data(1, b"z", end=True)
    peer.open_windows(1, WINDOW)
    assert peer.answer(1).body == b"x" * WINDOW + b"z"


def test_client_that_does_not_read(serve: Any, http2: Any) -> None:
    """What is sent keeps within both windows, and an application waits for them."""
    sent = 0

    def application(environ: Any, start_response: Any) -> Any:
        nonlocal sent
        write = start_response("200 OK", [])
        for _ in range(100):
            write(b"x" * 1000)
            sent += 1000
        return []

    peer = http2(serve(application, http2=True), settings={4: 1500})
    peer.request(1)
    while len(peer.answers.get(1, type("", (), {"body": b""})).body) < 1500:
        peer.next()
    peer.still_there()
    assert len(peer.answers[1].body) == 1500
    assert sent == 1000
    peer.open_windows(1, 100000)
    assert len(peer.answer(1).body) == 100000


def test_fair(serve: Any, http2: Any) -> None:
    """Streams that send take turns, however much each has to say."""

    def application(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [b"x" * 300000]

    peer = http2(serve(application, http2=True), settings={4: 1 << 20})
    for stream in (1, 3, 5):
        peer.request(stream)
    peer.still_there()
    order: list[int] = []
    for _ in range(16):
        peer.send(b"\0\0\4\x08\0\0\0\0\0" + (16384).to_bytes(4, "big"))
        order.append(peer.until(0).stream)
    # The first of them may have had all of the connection's first window, before the others were there.
    assert all(len(set(order[place : place + 3])) == 3 for place in range(6, 13)), order


def test_log(serve: Any, http2: Any) -> None:
    """The access log has a line for each request, with the version, and JSON has the stream's number."""
    log = io.StringIO()
    peer = http2(serve(echo, http2=True, log=log, log_format="json"))
    peer.request(1, path="/a")
    peer.request(3, path="/b#c")
    peer.request(5, "POST", "/d", end=False)
    peer.data(5, b"body", end=True)
    for stream in (1, 3, 5):
        peer.answer(stream)
    lines = sorted((json.loads(line) for line in log.getvalue().splitlines()), key=lambda line: int(line["stream"]))
    assert [(line["request"], line["status"], line["bytes"], line["stream"]) for line in lines] == [
        ("GET /a HTTP/2", 200, 0, 1),
        ("GET /b#c HTTP/2", 400, 0, 3),
        ("POST /d HTTP/2", 200, 4, 5),
    ]


def test_deadline(serve: Any, http2: Any, errors: io.StringIO) -> None:
    """The deadline is that of each request: 503, or a reset if the response has begun; the connection goes on."""

    def application(environ: Any, start_response: Any) -> Any:
        write = start_response("200 OK", [])
        if environ["PATH_INFO"] == "/begun":
            write(b"a part")
        if environ["PATH_INFO"] != "/quick":
            hubbub.sleep(30)
        return [b"quick"]

    peer = http2(serve(application, http2=True, limits=Limits(request_seconds=0.2)))
    peer.request(1, path="/begun")
    peer.request(3, path="/not")
    peer.request(5, path="/quick")
    assert peer.answer(5).body == b"quick"
    assert peer.answer(3).status == 503
    assert peer.answer(1).reset == 8  # CANCEL
    assert errors.getvalue().count("the time for the request is over") == 2
    peer.request(7, path="/quick")
    assert peer.answer(7).body == b"quick"


def test_failures(serve: Any, http2: Any, errors: io.StringIO) -> None:
    """An application that fails is a 500, or a reset if the response has begun; never the end of other requests."""

    def application(environ: Any, start_response: Any) -> Any:
        place = environ["PATH_INFO"]
        if place == "/before":
            raise ValueError("before")
        if place == "/short":
            start_response("200 OK", [("Content-Length", "10")])
            return [b"short"]
        if place == "/long":
            start_response("200 OK", [("Content-Length", "3")])
            return [b"long"]
        write = start_response("101 Switching Protocols" if place == "/101" else "200 OK", [])
        if place == "/after":
            write(b"x")
            raise ValueError("after")
        return [b"fine"]

    peer = http2(serve(application, http2=True))
    for number, place in enumerate(("before", "after", "short", "long", "101", "fine")):
        peer.request(number * 2 + 1, path=f"/{place}")
    answers = [peer.answer(number * 2 + 1) for number in range(6)]
    assert [answer.status for answer in answers] == [500, 200, 200, 200, 500, 200]
    assert [answer.reset for answer in answers] == [None, 2, 2, None, None, None]
    assert [answer.body for answer in answers[2:4]] == [b"short", b"lon"]
    assert answers[5].body == b"fine"
    said = errors.getvalue()
    assert "ValueError: before" in said
    assert "ValueError: after" in said
    assert "5 bytes less" in said
    assert "more than the Content-Length" in said


def test_client_takes_back(serve: Any, http2: Any) -> None:
    """A request that is taken back ends when it next reads or writes, and others go on."""
    outcome: list[str] = []

    def application(environ: Any, start_response: Any) -> Any:
        write = start_response("200 OK", [])
        if environ["PATH_INFO"] == "/":
            return [b"ok"]
        try:
            if environ["PATH_INFO"] == "/reads":
                environ["wsgi.input"].read()
            else:
                while True:
                    write(b"x" * 1000)
        except ConnectionError as error:
            outcome.append(f"{environ['PATH_INFO']} {error}")
            raise
        return []

    peer = http2(serve(application, http2=True))
    peer.request(1, "POST", "/reads", end=False)
    peer.request(3, path="/writes")
    peer.until(0, 3)
    for stream in (1, 3):
        peer.send(b"\0\0\4\x03\0" + stream.to_bytes(4, "big") + b"\0\0\0\x08")
    peer.request(5)
    peer.open_windows(5, 100000)
    assert peer.answer(5).body == b"ok"
    assert sorted(outcome) == [f"/{what} the client wants no response any more" for what in ("reads", "writes")]


def test_unread_body(serve: Any, http2: Any) -> None:
    """A body that nobody reads is taken back politely once the response is there (RFC 9113, 8.1)."""

    def application(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [b"no, thanks"]

    peer = http2(serve(application, http2=True))
    peer.request(1, "POST", end=False)
    peer.data(1, b"x" * 1000)
    assert peer.answer(1).body == b"no, thanks"
    assert peer.until(3, 1).code == 0
    peer.data(1, b"x" * 1000)
    peer.still_there()
    peer.request(3)
    assert peer.answer(3).body == b"no, thanks"


def test_continue(serve: Any, http2: Any) -> None:
    """A client that waits for "100 Continue" gets it when the application reads."""
    peer = http2(serve(echo, http2=True))
    peer.request(1, "POST", end=False, expect="100-continue")
    peer.until(1, 1)
    assert [interim[":status"] for interim in peer.answers[1].interim] == ["100"]
    peer.data(1, b"here", end=True)
    assert peer.answer(1).body == b"here"


def test_request_ids(serve: Any, http2: Any) -> None:
    """Each request has its own id, in the response and in the context of the application."""
    from hubbub_server.events import request_id

    def application(environ: Any, start_response: Any) -> list[bytes]:
        hubbub.sleep(0.01)
        start_response("200 OK", [])
        return [f"{environ['hubbub.request_id']} {request_id.get()}".encode()]

    peer = http2(serve(application, http2=True, request_ids=True))
    for stream in (1, 3):
        peer.request(stream)
    ids = set()
    for stream in (1, 3):
        answer = peer.answer(stream)
        name = answer.headers["x-request-id"]
        assert answer.body.decode() == f"{name} {name}"
        ids.add(name)
    assert len(ids) == 2
