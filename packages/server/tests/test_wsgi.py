"""The WSGI server: requests, responses, connections."""

from __future__ import annotations

import hashlib
import io
import ssl
import sys
import wsgiref.validate
from pathlib import Path
from typing import Any

import h11
import hubbub
import hubbub.event
import pytest
from hubbub_server import Limits, WSGIServer

pytestmark = pytest.mark.usefixtures("both_paths")

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


def hello(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [b"hello"]


def test_hello(serve: Any, connect: Any) -> None:
    """A list of one body has its length, the date and the name of the server."""
    client = connect(serve())
    client.send(GET)
    response = client.response()
    assert (response.status, response.body) == (200, b"hello")
    assert response.headers["content-length"] == "5"
    assert response.headers["server"] == "hubbub"
    assert response.headers["date"].endswith(" GMT")


def test_keep_alive(serve: Any, connect: Any) -> None:
    """HTTP/1.1 connections stay open; HTTP/1.0 ones if the client asks for it."""
    client = connect(serve())
    client.send(GET)
    assert "connection" not in client.response().headers
    client.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    assert client.response().headers["connection"] == "keep-alive"
    client.send(b"GET / HTTP/1.0\r\n\r\n")
    assert client.response().headers["connection"] == "close"
    assert client.rest() == b""


def test_environs_have_room(serve: Any) -> None:
    """The environ of a request need not grow for a browser's header fields, a proxy's and the client's address."""
    environ = serve().get_environ()
    size = sys.getsizeof(environ)
    for number in range(20):
        environ[f"HTTP_{number}"] = ""
    assert sys.getsizeof(environ) == size


def test_close_is_announced(serve: Any, talk: Any) -> None:
    """A client that asks for the end is told that it comes."""
    answer = talk(serve(), b"GET / HTTP/1.1\r\nHost: x\r\nConnection: TE, close\r\n\r\n")
    assert b"\r\nConnection: close\r\n" in answer


def test_application_closes(serve: Any, talk: Any) -> None:
    """An application closes the connection with a Connection header."""

    def application(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Connection", "close")])
        return [b""]

    assert talk(serve(application), GET).count(b"Connection: close\r\n") == 1


def test_pipelining(serve: Any, connect: Any) -> None:
    """Requests sent at once are answered in order."""

    def application(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [environ["PATH_INFO"].encode(), environ["wsgi.input"].read()]

    client = connect(serve(application))
    chunked = b"POST /1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n-a\r\n0\r\nX: y\r\n\r\n"
    sized = b"POST /2 HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n-b"
    client.send(GET + chunked + sized + GET + chunked)
    assert [client.response().body for _ in range(5)] == [b"/", b"/1-a", b"/2-b", b"/", b"/1-a"]


def test_byte_by_byte(serve: Any, connect: Any) -> None:
    """It does not matter in what pieces a request arrives."""

    def application(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [environ["wsgi.input"].read()]

    client = connect(serve(application))
    head = b"\r\nPOST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    for byte in head + b"3;a=b\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n":
        client.send(bytes([byte]))
        hubbub.sleep(0)
    assert client.response().body == b"abc0123456789"


def test_chunked_response(serve: Any, connect: Any) -> None:
    """A body of unknown length is chunked for HTTP/1.1 and ends with the connection for HTTP/1.0."""

    def application(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        yield b"one"
        yield b""
        yield b"two"

    server = serve(application)
    client = connect(server)
    client.send(GET)
    response = client.response()
    assert response.headers["transfer-encoding"] == "chunked"
    assert response.body == b"onetwo"
    client.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    answer = client.rest()
    assert answer.endswith(b"\r\n\r\nonetwo")
    assert b"Connection: close\r\n" in answer


def test_streaming_is_not_held_back(serve: Any, connect: Any) -> None:
    """Every piece of a body leaves when the application has given it."""
    go = hubbub.Event()

    def application(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        yield b"first"
        go.wait()
        yield b"second"

    client = connect(serve(application))
    client.send(GET)
    client.until(b"5\r\nfirst\r\n")
    go.set()
    client.until(b"6\r\nsecond\r\n0\r\n\r\n")


def test_write(serve: Any, connect: Any) -> None:
    """write() sends before what the application returns."""

    def application(environ: Any, start_response: Any) -> list[bytes]:
        write = start_response("200 OK", [("Content-Length", "6")])
        write(b"abc")
        return [b"def"]

    client = connect(serve(application))
    client.send(GET)
    assert client.response().body == b"abcdef"


@pytest.mark.parametrize(
    ("method", "status"), [("HEAD", "200 OK"), ("GET", "204 No Content"), ("GET", "304 Not Modified")]
)
def test_no_body(serve: Any, connect: Any, method: str, status: str) -> None:
    """HEAD, 204 and 304 have no body, whatever the application gives, and the connection goes on."""

    def application(environ: Any, start_response: Any) -> Any:
        start_response(status if environ["PATH_INFO"] == "/" else "200 OK", [])
        return [b"body"]

    client = connect(serve(application))
    client.send(f"{method} / HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    head = client.until(b"\r\n\r\n")
    assert b"chunked" not in head
    assert (b"Content-Length" in head) == (method == "HEAD")
    client.send(b"GET /next HTTP/1.1\r\nHost: x\r\n\r\n")
    assert client.response().body == b"body"


def test_environ(serve: Any, connect: Any) -> None:
    """The environ says what PEP 3333 and CGI want it to say."""
    seen: list[dict[str, Any]] = []

    def application(environ: Any, start_response: Any) -> list[bytes]:
        seen.append(environ)
        start_response("200 OK", [])
        return []

    server = serve(application, environ={"site": "here"})
    client = connect(server)
    client.send(
        b"POST /a%20b/%C3%A9?q=%20x HTTP/1.1\r\nHost: h:1\r\nContent-Type: text/x\r\nContent-Length: 0\r\n"
        b"Cookie: a=1\r\nX-Two:  1 \r\nCookie: b=2\r\nX-Two: 2\r\nX_Two: 3\r\nProxy: evil\r\nX-Empty:\r\n\r\n"
    )
    client.response("POST")
    environ = seen[0]
    expected = {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/a b/Ã©",
        "QUERY_STRING": "q=%20x",
        "REQUEST_URI": "/a%20b/%C3%A9?q=%20x",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": str(server.server_port),
        "REMOTE_ADDR": "127.0.0.1",
        "REMOTE_PORT": str(client.sock.getsockname()[1]),
        "CONTENT_TYPE": "text/x",
        "CONTENT_LENGTH": "0",
        "HTTP_HOST": "h:1",
        "HTTP_COOKIE": "a=1; b=2",
        "HTTP_X_TWO": "1,2",
        "HTTP_X_EMPTY": "",
        "wsgi.url_scheme": "http",
        "wsgi.version": (1, 0),
        "wsgi.multithread": False,
        "site": "here",
    }
    assert {key: environ[key] for key in expected} == expected
    assert "HTTP_PROXY" not in environ


def test_environ_of_the_connection(hub: Any, connect: Any) -> None:
    """A subclass says more of a connection in the environ of all its requests, and no client can say otherwise."""

    class Server(WSGIServer):
        def connection_environ(self, sock: Any, address: Any) -> dict[str, Any]:
            return {"HTTP_X_CLIENT": f"port {address[1]}"}

    def application(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [f"{environ['HTTP_X_CLIENT']} {environ['REMOTE_ADDR']} {environ['REMOTE_PORT']}".encode()]

    with Server(("127.0.0.1", 0), application, log=None) as server, connect(server) as client:
        port = client.sock.getsockname()[1]
        for _ in range(2):
            client.send(b"GET / HTTP/1.1\r\nHost: x\r\nX-Client: me\r\n\r\n")
            assert client.response().body.decode() == f"port {port} 127.0.0.1 {port}"


def test_environ_is_fresh(serve: Any, connect: Any) -> None:
    """What an application does to its environ is not seen by the next request."""

    def application(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        answer = f"{'mine' in environ} {environ['HTTP_HOST']}".encode()
        environ["mine"] = 1
        environ["HTTP_HOST"] = "changed"
        return [answer]

    client = connect(serve(application))
    for _ in range(3):
        client.send(GET)
        assert client.response().body == b"False x"


def test_cookies(serve: Any, connect: Any) -> None:
    """Cookies arrive as they were sent, wherever they stand and however often the rest was seen; two are joined."""

    def application(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        names = ("HTTP_COOKIE", "HTTP_A", "HTTP_HOST")
        return [repr([environ.get(name) for name in names]).encode()]

    client = connect(serve(application))
    for number in range(4):
        for fields, cookie, other in (
            ("Cookie: n=%d\r\nHost: x\r\nA: b\r\n", "n=%d", "b"),
            ("Host: x\r\nCookie: n=%d\r\nA: c\r\n", "n=%d", "c"),
            ("Host: x\r\nA: d\r\nCookie: n=%d\r\n", "n=%d", "d"),
            ("Host: x\r\nA: Cookie: 5\r\ncookie:n=%d \r\n", "n=%d", "Cookie: 5"),
            ("Host: x\r\nCookie: n=%d\r\nA: e\r\nCookie: f\r\n", "n=%d; f", "e"),
            ("Host: x\r\nCookie: \t n=%d; \xe9\t\r\n", "n=%d; \xe9", None),
            ("Host: x\r\nA: d\r\n", None, "d"),
        ):
            text = fields % number if "%" in fields else fields
            wanted = cookie % number if cookie else None
            client.send(f"GET / HTTP/1.1\r\n{text}\r\n".encode("latin-1"))
            assert client.response().body.decode() == repr([wanted, other, "x"])


def test_absolute_target(serve: Any, connect: Any) -> None:
    """An absolute target is taken apart, and its host replaces the Host field (RFC 9112, 3.2.2)."""

    def application(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [f"{environ['HTTP_HOST']} {environ['PATH_INFO']} {environ['QUERY_STRING']}".encode()]

    client = connect(serve(application))
    client.send(b"GET http://a.example:80/b?c HTTP/1.1\r\nHost: other\r\n\r\n")
    assert client.response().body == b"a.example:80 /b c"
    client.send(b"GET HTTP://a.example?c HTTP/1.1\r\nHost: other\r\n\r\n")
    assert client.response().body == b"a.example / c"


def test_validator(serve: Any, connect: Any) -> None:
    """The standard library's validator finds nothing to complain of."""

    def application(environ: Any, start_response: Any) -> list[bytes]:
        body = environ["wsgi.input"].read(100)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"got ", body]

    client = connect(serve(wsgiref.validate.validator(application)))
    client.send(GET)
    assert client.response().body == b"got "
    client.send(b"POST /?x=y HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc")
    assert client.response().body == b"got abc"
    client.send(b"POST /?x=y HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
    assert client.response().body == b"got abc"


def test_lint(serve: Any, connect: Any) -> None:
    """Werkzeug's lint finds nothing to complain of."""
    lint = pytest.importorskip("werkzeug.middleware.lint")

    def application(environ: Any, start_response: Any) -> list[bytes]:
        body = environ["wsgi.input"].read(3)
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
        return [body]

    client = connect(serve(lint.LintMiddleware(application)))
    client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc")
    assert client.response().body == b"abc"


def test_input_methods(serve: Any, connect: Any) -> None:
    """wsgi.input reads like a file."""
    seen: list[Any] = []

    def application(environ: Any, start_response: Any) -> list[bytes]:
        body = environ["wsgi.input"]
        seen.extend([body.readline(), body.readline(2), body.read(3), body.readlines(1), list(body), body.read(5)])
        start_response("200 OK", [])
        return []

    client = connect(serve(application))
    data = b"one\ntwo\nthree\nfour\nfive\nsix"
    client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(data), data))
    client.response()
    assert seen == [b"one\n", b"tw", b"o\nt", [b"hree\n"], [b"four\n", b"five\n", b"six"], b""]


def test_big_bodies(serve: Any, connect: Any) -> None:
    """Bodies larger than any buffer arrive whole, both ways, however they are framed."""
    data = bytes(range(256)) * 16384

    def application(environ: Any, start_response: Any) -> Any:
        body = environ["wsgi.input"].read()
        if environ["PATH_INFO"] == "/chunked":
            start_response("200 OK", [])
            return (body[start : start + 100000] for start in range(0, len(body), 100000))
        start_response("200 OK", [])
        return [body]

    client = connect(serve(application))
    client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(data), data))
    assert client.response().body == data
    chunks = b"".join(b"%x\r\n%b\r\n" % (65536, data[start : start + 65536]) for start in range(0, len(data), 65536))
    client.send(b"POST /chunked HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n%b0\r\n\r\n" % chunks)
    assert client.response().body == data


def test_expect_continue(serve: Any, connect: Any) -> None:
    """ "100 Continue" is sent when the application reads, and only then."""

    def application(environ: Any, start_response: Any) -> list[bytes]:
        body = environ["wsgi.input"].read() if environ["PATH_INFO"] == "/read" else b"unread"
        start_response("200 OK", [])
        return [body]

    server = serve(application)
    client = connect(server)
    client.send(b"POST /read HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
    client.until(b"HTTP/1.1 100 Continue\r\n\r\n")
    client.send(b"abc")
    assert client.response().body == b"abc"
    client.send(b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
    response = client.response()
    assert response.body == b"unread"
    assert response.headers["connection"] == "close"


def test_expected_body_is_no_request(serve: Any, talk: Any) -> None:
    """A body that was announced with Expect and never read is not taken for the next request."""
    smuggled = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
    seen: list[str] = []

    def application(environ: Any, start_response: Any) -> list[bytes]:
        seen.append(environ["PATH_INFO"])
        start_response("200 OK", [])
        return []

    head = b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(smuggled)
    talk(serve(application), head + smuggled)
    assert seen == ["/"]


def test_unread_body(serve: Any, connect: Any) -> None:
    """A body that the application does not read is thrown away, and the next request is served."""
    client = connect(serve())
    for framing in (b"Content-Length: 10\r\n\r\n0123456789", b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"):
        client.send(b"POST / HTTP/1.1\r\nHost: x\r\n" + framing)
        assert client.response().body == b"hello"


def test_unread_body_in_flight(serve: Any, connect: Any) -> None:
    """An answer reaches the client although a body far larger than any buffer is still coming."""
    server = serve(limits=Limits(body_bytes=1000))
    client = connect(server)
    client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n")
    sender = hubbub.spawn(client.send, b"x" * 3000000)
    response = client.response()
    assert response.status == 413
    sender.join()
    assert sender.successful()


def test_file(serve: Any, connect: Any, tmp_path: Path) -> None:
    """A file in wsgi.file_wrapper arrives whole, from where it stood, with its length."""
    data = hashlib.sha256(b"x").digest() * 40000
    (tmp_path / "file").write_bytes(data)

    def application(environ: Any, start_response: Any) -> Any:
        file = open(tmp_path / "file", "rb")  # noqa: SIM115  # closed by the server
        file.seek(10)
        start_response("200 OK", [])
        return environ["wsgi.file_wrapper"](file, 1000)

    client = connect(serve(application))
    for _ in range(2):
        client.send(GET)
        response = client.response()
        assert response.headers["content-length"] == str(len(data) - 10)
        assert response.body == data[10:]


def test_file_that_is_none(serve: Any, connect: Any) -> None:
    """wsgi.file_wrapper takes anything with read()."""

    def application(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        return environ["wsgi.file_wrapper"](io.BytesIO(b"x" * 100000), 1000)

    client = connect(serve(application))
    client.send(GET)
    assert client.response().body == b"x" * 100000


def test_result_is_closed(serve: Any, connect: Any) -> None:
    """close() of what the application returned is called, once, whether it could be sent or not."""
    closed: list[str] = []

    class Result:
        def __init__(self, name: str) -> None:
            self.name = name

        def __iter__(self) -> Any:
            if self.name == "/bad":
                raise ZeroDivisionError
            return iter([b"x"])

        def close(self) -> None:
            closed.append(self.name)

    def application(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        return Result(environ["PATH_INFO"])

    client = connect(serve(application))
    client.send(b"GET /good HTTP/1.1\r\nHost: x\r\n\r\nGET /bad HTTP/1.1\r\nHost: x\r\n\r\n")
    assert client.response().status == 200
    assert client.response().status == 500
    assert closed == ["/good", "/bad"]


def test_failure(serve: Any, talk: Any, errors: io.StringIO) -> None:
    """An application that fails is a 500 to the client, and a traceback in the error log."""

    def application(environ: Any, start_response: Any) -> Any:
        raise ZeroDivisionError("secret")

    answer = talk(serve(application), GET)
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert b"secret" not in answer
    assert "ZeroDivisionError: secret" in errors.getvalue()
    assert "GET '/'" in errors.getvalue()


def test_failure_half_way(serve: Any, connect: Any, errors: io.StringIO) -> None:
    """A client does not take half a body for the whole when the application fails in it."""

    def application(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        yield b"half"
        raise ZeroDivisionError

    client = connect(serve(application))
    client.send(GET)
    client.until(b"half\r\n")
    with pytest.raises(ConnectionResetError):
        client.rest()
    assert "ZeroDivisionError" in errors.getvalue()


@pytest.mark.parametrize("body", [b"", b"1234", b"123456"])
def test_wrong_length(serve: Any, talk: Any, errors: io.StringIO, body: bytes) -> None:
    """A body shorter or longer than declared is logged, cut, and ends the connection."""

    def application(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [("Content-Length", "5")])
        return [body] if environ["PATH_INFO"] == "/list" else iter([body])

    server = serve(application)
    for path in (b"/list", b"/iterator"):
        errors.truncate(0)
        answer = talk(server, b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % path + GET)
        assert answer.endswith(b"\r\n\r\n" + body[:5])
        assert answer.count(b"HTTP/1.1 200 OK") == 1
        assert "Content-Length" in errors.getvalue()


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        ("200 OK\r\nX: y", []),
        ("200 OK", [("X", "y\r\nZ: z")]),
        ("200 OK", [("X", "y\nZ: z")]),
        ("200 OK", [("X", "y\0")]),
        ("200 OK", [("X: y\r\nZ", "z")]),
        ("200 OK", [("X Y", "z")]),
        ("200 OK", [("", "z")]),
        ("200 OK", [("X", "☃")]),
        ("200 OK", [(b"X", "y")]),
        ("200 OK", [("X", b"y")]),
        ("200 OK", [("X", 1)]),
        ("OK", []),
        (200, []),
        ("100 Continue", []),
        ("99 x", []),
        ("200 OK", [("Transfer-Encoding", "chunked")]),
        ("200 OK", [("Content-Length", "-1")]),
        ("200 OK", [("Content-Length", "5, 5")]),
        ("200 OK", [("Content-Length", "4"), ("Content-Length", "5")]),
        ("200 OK", None),
    ],
    ids=repr,
)
def test_bad_response_heads(serve: Any, talk: Any, status: Any, headers: Any) -> None:
    """A response head that would break the framing, or is none, is an error of the application."""

    def application(environ: Any, start_response: Any) -> Any:
        start_response(status, headers)
        return [b"x"]

    answer = talk(serve(application), GET)
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert b"Z: z" not in answer


def test_start_response_twice(serve: Any, talk: Any) -> None:
    """A second start_response() without exc_info is an error; with it, the first is forgotten."""

    def application(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [("X", "first")])
        if environ["PATH_INFO"] == "/bad":
            start_response("200 OK", [])
        try:
            raise ZeroDivisionError
        except ZeroDivisionError as error:
            start_response("503 Later", [], (type(error), error, error.__traceback__))
        return [b"x"]

    server = serve(application)
    assert talk(server, b"GET /bad HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 500 ")
    answer = talk(server, b"GET / HTTP/1.0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 503 Later\r\n")
    assert b"first" not in answer


@pytest.mark.parametrize("result", [["text"], [b"x", "text"], [1], {"text"}, None, 5], ids=repr)
def test_bad_bodies(serve: Any, talk: Any, result: Any) -> None:
    """A body that is not bytes is an error of the application."""

    def application(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        return result

    assert talk(serve(application), b"GET / HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 500 ")


def test_no_start_response(serve: Any, talk: Any) -> None:
    """An application that never calls start_response() is a 500."""
    assert talk(serve(lambda environ, start_response: [b"x"]), GET).startswith(b"HTTP/1.1 500 ")


def test_slow_answer_does_not_delay_others(serve: Any, connect: Any) -> None:
    """A request that takes long delays no other connection."""
    go = hubbub.Event()

    def application(environ: Any, start_response: Any) -> Any:
        if environ["PATH_INFO"] == "/slow":
            go.wait()
        start_response("200 OK", [])
        return [b"x"]

    server = serve(application)
    slow, fast = connect(server), connect(server)
    slow.send(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
    fast.send(GET)
    assert fast.response().body == b"x"
    go.set()
    assert slow.response().body == b"x"


def test_upgrade(serve: Any, connect: Any) -> None:
    """An application takes the connection over, with what the client has sent after its request."""

    def application(environ: Any, start_response: Any) -> Any:
        assert environ["HTTP_UPGRADE"] == "loud"
        sock, received = environ["hubbub.upgrade"]()
        sock.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: loud\r\n\r\n")
        while received:
            sock.sendall(received.upper())
            received = sock.recv(100)
        return []

    client = connect(serve(application))
    client.send(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: loud\r\n\r\nearly ")
    client.until(b"\r\n\r\n")
    client.until(b"EARLY ")
    client.send(b"late")
    client.until(b"LATE")


def test_upgraded_socket_waits(serve: Any, connect: Any) -> None:
    """On the socket of an upgrade one may wait first and read then, as often as one likes."""

    def application(environ: Any, start_response: Any) -> list[bytes]:
        sock, _ = environ["hubbub.upgrade"]()
        sock.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
        for _ in range(3):
            sock.wait_readable()
            sock.sendall(sock.recv(100))
        return []

    client = connect(serve(application))
    client.send(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
    client.until(b"\r\n\r\n")
    for word in (b"one", b"two", b"three"):
        client.send(word)
        assert client.until(word) == word


@pytest.mark.parametrize(
    ("version", "more"),
    [(b"1.0", b""), (b"1.1", b"Content-Length: 2\r\n"), (b"1.1", b"Transfer-Encoding: chunked\r\n")],
)
def test_upgrade_that_cannot_be(serve: Any, talk: Any, version: bytes, more: bytes) -> None:
    """Neither HTTP/1.0 nor a request with a body is offered an upgrade (RFC 9110, 7.8)."""
    offered: list[bool] = []

    def application(environ: Any, start_response: Any) -> Any:
        offered.append(bool({"hubbub.upgrade", "werkzeug.socket", "HTTP_UPGRADE"} & set(environ)))
        return hello(environ, start_response)

    head = b"GET / HTTP/%b\r\nHost: x\r\nConnection: Upgrade, close\r\nUpgrade: y\r\n%b\r\n0\r\n\r\n" % (version, more)
    assert talk(serve(application), head).startswith(b"HTTP/1.1 200")
    assert offered == [False]


def test_response_heads_are_not_mixed_up(serve: Any, connect: Any) -> None:
    """A response is never given what another said, however alike the two are."""

    class Text(str):
        __slots__ = ()

    answers: list[Any] = [
        ("200 OK", [("A", "b")]), ("200 OK", [("A", "c")]), ("200 OK", [("a", "b")]), ("201 OK", [("A", "b")]),
        ("200 OK", [("A", "b"), ("C", "d")]), ("200 OK", [("C", "d"), ("A", "b")]),
        ("200 OK", [(Text("A"), Text("b"))]), ("200 OK", [["A", "b"]]),
        ("200 OK", [("Set-Cookie", "x=1")]), ("200 OK", [("Set-Cookie", "x=2")]),
        ("200 OK", [("Connection", "keep-alive"), ("Date", "yesterday")]), ("200 OK", [("Server", "x")]),
        ("200 OK", ()), ("200 OK", iter([("A", "b")])),
    ]  # fmt: skip
    order = [*range(len(answers)), *range(len(answers) - 1), *reversed(range(len(answers) - 1))]
    todo = iter(order)

    def application(environ: Any, start_response: Any) -> Any:
        status, headers = answers[next(todo)]
        start_response(status, headers)
        return [b"x"]

    client = connect(serve(application))
    for index in order:
        status, headers = answers[index]
        client.send(GET)
        response = client.response()
        assert response.status == int(status[:3])
        given = [("A", "b")] if index == 13 else [(name, value) for name, value in headers if name != "Connection"]
        expected = {name.lower(): value for name, value in given}
        assert {**response.headers, **expected} == response.headers
        assert set(response.headers) == {"date", "server", "content-length", *expected}


def test_h2c_is_ignored(serve: Any, connect: Any) -> None:
    """An upgrade to HTTP/2 is ignored: the request, body and all, is answered over HTTP/1.1."""

    def application(environ: Any, start_response: Any) -> Any:
        assert "HTTP_UPGRADE" not in environ
        assert "hubbub.upgrade" not in environ
        start_response("200 OK", [])
        return [environ["wsgi.input"].read()]

    client = connect(serve(application))
    upgrade = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"
    client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n%b\r\nabc" % upgrade)
    assert client.response().body == b"abc"


def test_tls(serve: Any, connect: Any, certificate: Any) -> None:
    """Over TLS the scheme is https, and everything else as it is without."""
    net = pytest.importorskip("hubbub_net.ssl")
    authority, leaf = certificate
    context, trusting = net.SSLContext(ssl.PROTOCOL_TLS_SERVER), net.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    leaf.configure_cert(context)
    authority.configure_trust(trusting)
    data = b"x" * 1000000

    def application(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("X-Scheme", environ["wsgi.url_scheme"])])
        return [environ["wsgi.input"].read()]

    client = connect(serve(application, ssl_context=context))
    client.sock = trusting.wrap_socket(client.sock, server_hostname="localhost", suppress_ragged_eofs=False)
    for _ in range(2):
        client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(data), data))
        response = client.response()
        assert response.headers["x-scheme"] == "https"
        assert response.body == data
    client.send(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    client.response()
    assert client.rest() == b""
    client.sock.close()


def test_stop_answers_what_has_arrived(serve: Any, connect: Any) -> None:
    """stop() lets requests be answered, saying that the connection closes."""
    go = hubbub.Event()

    def application(environ: Any, start_response: Any) -> Any:
        go.wait()
        start_response("200 OK", [])
        return [b"x"]

    server = serve(application)
    running, waiting = connect(server), connect(server)
    running.send(GET)
    hubbub.sleep(0.01)
    waiting.send(GET)
    hubbub.spawn_later(0.02, go.set)
    server.stop(5)
    for client in (running, waiting):
        response = client.response()
        assert response.body == b"x"
        assert response.headers["connection"] == "close"
        assert client.rest() == b""


def test_stop_under_load(serve: Any, connect: Any) -> None:
    """Under load stop() loses no request: each is answered, and connections end only after saying so."""
    server = serve(lambda environ, start_response: (hubbub.sleep(0.002), hello(environ, start_response))[1])
    answered = lost = 0
    stopping = False

    def crawl() -> None:
        nonlocal answered, lost
        while not stopping:
            try:
                client = connect(server)
            except OSError:
                return
            while True:
                try:
                    client.send(GET)
                    response = client.response()
                except (OSError, h11.RemoteProtocolError):
                    lost += 1
                    return
                answered += 1
                if response.headers.get("connection") == "close":
                    break

    crawlers = [hubbub.spawn(crawl) for _ in range(50)]
    while answered < 100:
        hubbub.sleep(0.01)
    stopping = True
    server.stop(10)
    hubbub.joinall(crawlers)
    assert lost == 0
    assert not server.connections


def test_stop_ends_idle_connections(serve: Any, connect: Any) -> None:
    """stop() does not wait for connections on which nothing happens."""
    server = serve()
    idle, silent = connect(server), connect(server)
    idle.send(GET)
    idle.response()
    server.stop(10)
    assert idle.rest() == b""
    assert silent.rest() == b""
    assert not server.connections


def test_websocket(serve: Any, connect: Any) -> None:
    """A WebSocket library finds the socket where it looks for it, and speaks through it."""
    simple_websocket = pytest.importorskip("simple_websocket")
    wsproto = pytest.importorskip("wsproto")
    events = wsproto.events

    class Spawned:
        """A thread that is a greenlet."""

        name = "(_thread)"

        def __init__(self, target: Any) -> None:
            self._target = target

        def start(self) -> None:
            self._greenlet = hubbub.spawn(self._target)

        def join(self) -> None:
            self._greenlet.join()

    def application(environ: Any, start_response: Any) -> list[bytes]:
        socket = simple_websocket.Server.accept(environ, thread_class=Spawned, event_class=hubbub.event.Event)
        try:
            while True:
                socket.send(socket.receive().upper())
        except simple_websocket.ConnectionClosed:
            start_response("200 OK", [])
            return [b"dropped"]

    client = connect(serve(application))
    speaker = wsproto.WSConnection(wsproto.ConnectionType.CLIENT)
    client.send(speaker.send(events.Request(host="x", target="/")))

    def hear() -> Any:
        while True:
            for event in speaker.events():
                return event
            data = client.sock.recv(65536)
            assert data
            speaker.receive_data(data)

    assert isinstance(hear(), events.AcceptConnection)
    client.send(speaker.send(events.TextMessage("hello")))
    assert hear().data == "HELLO"
    client.send(speaker.send(events.CloseConnection(1000)))
    assert isinstance(hear(), events.CloseConnection)
    assert client.rest() == b""
