"""What an application gets that asks for the request as it was sent, as adapters for ASGI do."""

from __future__ import annotations

from typing import Any

import hubbub
import pytest
from hubbub.event import AsyncResult
from hubbub_server._application import ApplicationError, adapt, end, start
from hubbub_server.http.limits import Limits

pytestmark = pytest.mark.usefixtures("both_paths")


class Application:
    """A WSGI application that wants the request: ``handle(request)`` gives the body of the response."""

    wants_request = True

    def __init__(self, handle: Any) -> None:
        self.handle = handle

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        body = self.handle(environ["hubbub.request"])
        start_response("200 OK", [])
        return [body]


def test_is_not_there_unasked(serve: Any, talk: Any) -> None:
    """A WSGI application that does not ask for it does not find the request in its environ."""

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [b"yes" if "hubbub.request" in environ else b"no"]

    assert talk(serve(application), b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").endswith(b"no")


@pytest.mark.parametrize(
    ("fields", "seen"),
    [
        (
            b"Host: x\r\nX-One: 1\r\nA:\t 2 \r\nX-one: 3\r\n",
            [(b"host", b"x"), (b"x-one", b"1"), (b"a", b"2"), (b"x-one", b"3")],
        ),
        (b"Host: x\r\nX_One: 1\r\nProxy: http://evil\r\n", [(b"host", b"x")]),
        (b"Host: x\r\nCookie: a=1\r\nCookie: b=2\r\n", [(b"host", b"x"), (b"cookie", b"a=1"), (b"cookie", b"b=2")]),
        (
            b"Host: x\r\nUpgrade: h2c\r\nHTTP2-Settings: a\r\nConnection: upgrade\r\n",
            [(b"host", b"x"), (b"connection", b"upgrade")],
        ),
    ],
)
def test_fields(serve: Any, connect: Any, fields: bytes, seen: list[Any]) -> None:
    """Fields come in their order and as often as they were sent, without those that the environ has not, each time."""
    client = connect(serve(Application(lambda request: repr(request.fields()).encode())))
    for _ in range(3):  # the second and third from memory
        client.send(b"GET / HTTP/1.1\r\n" + fields + b"\r\n")
        assert client.response().body.decode() == repr(seen)


def test_host_of_an_absolute_target(serve: Any, connect: Any) -> None:
    """The authority of an absolute target takes the place of Host (RFC 9112, 3.2.2)."""
    client = connect(serve(Application(lambda request: repr(request.fields()).encode())))
    client.send(b"GET http://right/ HTTP/1.1\r\nHost: wrong\r\n\r\n")
    assert client.response().body == b"[(b'host', b'right')]"


def test_no_fields(serve: Any, connect: Any) -> None:
    """A request of HTTP/1.0 may have none."""
    client = connect(serve(Application(lambda request: repr(request.fields()).encode())))
    client.send(b"GET / HTTP/1.0\r\n\r\n")
    assert client.response().body == b"[]"


def test_body_without_waiting(serve: Any, connect: Any) -> None:
    """What came with the head is there at once; what has not come is waited for by ``read`` alone."""
    seen: list[Any] = []

    def handle(request: Any) -> bytes:
        seen.append((request.read_nowait(), request.body_done))
        seen.append((request.read_nowait(), request.body_done))
        client.send(b"def")
        seen.append((request.read(), request.body_done))
        seen.append((request.read_nowait(), request.read(), request.body_done))
        return b"good"

    client = connect(serve(Application(handle)))
    client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nabc")
    assert client.response("POST").body == b"good"
    assert seen == [(b"abc", False), (b"", False), (b"def", True), (b"", b"", True)]


def test_a_bad_body(serve: Any, talk: Any) -> None:
    """Reading without waiting raises what reading raises, and the client gets the status of it."""

    def handle(request: Any) -> bytes:
        with pytest.raises(ValueError, match="400"):
            request.read_nowait()
        request.read()
        return b""

    head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert talk(serve(Application(handle)), head + b"nonsense\r\n").startswith(b"HTTP/1.1 400 ")


def test_wait_end(serve: Any, connect: Any) -> None:
    """The end of the client's side is seen by another greenlet than the one that writes."""
    seen: Any = AsyncResult()

    def handle(request: Any) -> bytes:
        hubbub.spawn(request.wait_end).rawlink(lambda waiter: seen.set(waiter.get(block=False)))
        return str(seen.get()).encode()

    client = connect(serve(Application(handle)))
    client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    client.sock.shutdown(1)
    assert client.response().body == b"True"


def test_wait_end_keeps_requests(serve: Any, connect: Any) -> None:
    """What comes while the end is waited for is the next request, also if whoever waits is killed then."""
    waiters: list[Any] = []

    def handle(request: Any) -> bytes:
        if not waiters:
            waiters.append(hubbub.spawn(request.wait_end))
            hubbub.sleep(0)
            client.send(b"GET /next HTTP/1.1\r\nHost: x\r\n")
            hubbub.sleep(0.02)
            waiters[0].kill()
        return repr(request.fields()).encode()

    client = connect(serve(Application(handle)))
    client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert client.response().status == 200
    client.send(b"X-Last: 1\r\n\r\n")
    assert client.response().body == b"[(b'host', b'x'), (b'x-last', b'1')]"


def test_wait_end_of_a_flood(serve: Any, connect: Any) -> None:
    """Of requests that come without a pause not more is kept than a head may be long."""

    def handle(request: Any) -> bytes:
        return str(request.wait_end()).encode() if request.fields()[0][1] == b"first" else b""

    client = connect(serve(Application(handle)))
    client.send(b"GET / HTTP/1.1\r\nHost: first\r\n\r\n")
    client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 4000)
    assert client.response().body == b"False"


def test_head_at_once(serve: Any, connect: Any) -> None:
    """The head of a response can be sent before there is any of its body, once."""

    class Early(Application):
        def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
            request = environ["hubbub.request"]
            start_response("200 OK", [])
            request.send_head()
            arrived.get(timeout=5)
            request.send_head()
            return [b"late"]

    arrived: AsyncResult[None] = AsyncResult()
    client = connect(serve(Early(None)))
    client.send(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert client.until(b"\r\n\r\n").startswith(b"HTTP/1.1 200 OK\r\n")
    arrived.set()
    assert client.received + client.rest() == b"4\r\nlate\r\n0\r\n\r\n"


def test_head_of_no_body(serve: Any, connect: Any) -> None:
    """To HEAD that is the whole response."""

    def handle(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Length", "4")])
        environ.pop("hubbub.request").send_head()
        return [b"gone"]

    handle.wants_request = True  # type: ignore[attr-defined]  # functions have none, but may
    client = connect(serve(handle))
    for _ in range(2):
        client.send(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.response("HEAD").headers["content-length"] == "4"


def test_limits_of_both_directions(serve: Any, connect: Any) -> None:
    """A body that stalls is given up although the response makes progress meanwhile."""
    limits = Limits(body_seconds=0.2, body_rate=1_000_000)

    class Both(Application):
        def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
            reader = hubbub.spawn(environ["hubbub.request"].read)
            write = start_response("200 OK", [])
            for _ in range(200):
                if reader.ready():
                    break
                write(b"a piece")
                hubbub.sleep(0.05)
            return [f"{type(reader.exception).__name__}".encode()]

    client = connect(serve(Both(None), limits=limits))
    client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n")
    answer = client.until(b"Error")
    assert answer.endswith(b"RequestError")
    assert answer.count(b"a piece") < 100


def test_no_continue_in_a_response(serve: Any, connect: Any) -> None:
    """An application that reads the body when the response has begun does not send "100 Continue" into it."""

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])(b"begun,")
        return [environ["wsgi.input"].read()]

    client = connect(serve(application))
    client.send(b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
    assert b"100" not in client.until(b"begun,")
    client.send(b"abc")
    assert client.received + client.rest() == b"\r\n3\r\nabc\r\n0\r\n\r\n"


async def an_asgi_application(scope: Any, receive: Any, send: Any) -> None:
    """Never called."""


class AnotherOne:
    """The same as an object."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Never called."""


@pytest.mark.parametrize("application", [an_asgi_application, AnotherOne()])
def test_asynchronous_without_saying_so(application: Any) -> None:
    """An asynchronous application that is to be served as WSGI is refused with a hint."""
    with pytest.raises(ApplicationError, match="serve it by --asgi"):
        adapt(application, None)


def test_start_and_end() -> None:
    """An adapter is told of the start and of the end; a start that fails is the application's fault."""
    said: list[Any] = []

    class Adapter(Application):
        def startup(self) -> None:
            said.append("startup")
            if len(said) > 2:
                raise RuntimeError("no database")

        def shutdown(self, seconds: float) -> None:
            said.append(seconds)

    adapter = Adapter(None)
    start(adapter)
    end(adapter, 3.0)
    assert said == ["startup", 3.0]
    with pytest.raises(ApplicationError, match="did not start: no database"):
        start(adapter)
    start(an_asgi_application)
    end(an_asgi_application, 1.0)
