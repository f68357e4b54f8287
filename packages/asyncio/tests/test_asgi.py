"""ASGI applications behind hubbub-server's HTTP front."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Iterator
from typing import Any

import hubbub
import pytest
from hubbub.io import Socket
from hubbub_asyncio import HubEventLoop, as_future, await_, thread_loop
from hubbub_asyncio.asgi import ASGI

server = pytest.importorskip("hubbub_server")

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
LAST = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
TEXT = [(b"content-type", b"text/plain")]


class Client:
    """A connection that says exactly what a test wants, and waits ten seconds at most."""

    def __init__(self, address: Any) -> None:
        self.sock = Socket()
        self.sock.settimeout(10.0)
        self.sock.connect(address)
        self.received = b""

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def until(self, end: bytes) -> bytes:
        """Everything up to and with ``end``."""
        while end not in self.received:
            piece = self.sock.recv(65536)
            assert piece, f"closed before {end!r}: {self.received!r}"
            self.received += piece
        stop = self.received.index(end) + len(end)
        data, self.received = self.received[:stop], self.received[stop:]
        return data

    def rest(self) -> bytes:
        """Everything until the server closes."""
        while piece := self.sock.recv(65536):
            self.received += piece
        return self.received


class Served:
    """An application with its server, on a free port."""

    def __init__(self, application: Any, **options: Any) -> None:
        self.log = io.StringIO()
        self.adapter = ASGI(application)
        self.server = server.WSGIServer(("127.0.0.1", 0), self.adapter, log=None, error_log=self.log, **options)
        self.server.start()
        self.clients: list[Client] = []

    def connect(self) -> Client:
        self.clients.append(Client(self.server.address))
        return self.clients[-1]

    def talk(self, data: bytes = LAST) -> bytes:
        """Send, and return all that comes until the server closes."""
        client = self.connect()
        client.send(data)
        return client.rest()


@pytest.fixture
def serve(hub: Any) -> Iterator[Callable[..., Served]]:
    """Serve an application until the end of the test."""
    all_served: list[Served] = []

    def make(application: Any, **options: Any) -> Served:
        all_served.append(Served(application, **options))
        return all_served[-1]

    yield make
    for served in all_served:
        for client in served.clients:
            client.sock.close()
        served.server.stop(0.2)
        served.adapter.shutdown(1.0)


async def start(send: Any, status: int = 200, headers: Any = TEXT) -> None:
    """Begin a response."""
    await send({"type": "http.response.start", "status": status, "headers": headers})


async def answer(send: Any, body: bytes, status: int = 200) -> None:
    """A whole response."""
    await start(send, status)
    await send({"type": "http.response.body", "body": body})


async def body_of(receive: Any) -> tuple[bytes, int]:
    """The body of a request, and of how many messages it was."""
    body, count, more = b"", 0, True
    while more:
        message = await receive()
        assert message["type"] == "http.request"
        body += message["body"]
        more = message["more_body"]
        count += 1
    return body, count


def either(application: Any) -> Any:
    """The application as it is, which answers in the first step of its task, and one whose task waits before."""

    async def waits(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(0)
        await application(scope, receive, send)

    return pytest.param(application, id="at once"), pytest.param(waits, id="later")


# Responses ------------------------------------------------------------------------------------------------------------


async def hello(scope: Any, receive: Any, send: Any) -> None:
    """Says hello."""
    await answer(send, b"hello")


@pytest.mark.parametrize("application", either(hello))
def test_hello(serve: Any, application: Any) -> None:
    """A whole response has its length, and the connection goes on."""
    client = serve(application).connect()
    for _ in range(3):
        client.send(GET)
        head = client.until(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n")
        assert b"Content-Length: 5\r\n" in head
        assert client.until(b"hello") == b"hello"


def test_steps_of_a_request(serve: Any) -> None:
    """All steps of a request's task run in the greenlet of the event loop, the first one too, and find it."""
    greenlets: list[Any] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        greenlets.append(hubbub.getcurrent())
        assert asyncio.current_task() is not None
        assert asyncio.get_running_loop() is thread_loop()
        await asyncio.sleep(0)
        greenlets.append(hubbub.getcurrent())
        assert asyncio.get_running_loop() is thread_loop()
        await answer(send, b"good")

    assert serve(application).talk().endswith(b"good")
    assert greenlets[0] is greenlets[1]


@pytest.mark.parametrize("protocol", [b"1.1", b"1.0"])
def test_streams(serve: Any, protocol: bytes) -> None:
    """Each piece is sent when it is given, chunked where the client knows that."""
    go_on = asyncio.Event()

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await start(send)
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        await go_on.wait()
        await send({"type": "http.response.body", "body": b"second", "more_body": True})
        await send({"type": "http.response.body"})

    served = serve(application)
    client = served.connect()
    client.send(b"GET / HTTP/%b\r\nHost: x\r\nConnection: close\r\n\r\n" % protocol)
    head = client.until(b"first")
    assert (b"Transfer-Encoding: chunked" in head) is (protocol == b"1.1")
    thread_loop().call_soon(go_on.set)
    assert client.rest() == (b"\r\n6\r\nsecond\r\n0\r\n\r\n" if protocol == b"1.1" else b"second")


def test_head_before_its_body(serve: Any) -> None:
    """A response whose body is long in coming begins with its head: server-sent events do."""
    go_on = asyncio.Event()

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await start(send)
        await go_on.wait()
        await send({"type": "http.response.body", "body": b"event", "more_body": False})

    client = serve(application).connect()
    client.send(LAST)
    assert client.until(b"\r\n\r\n").startswith(b"HTTP/1.1 200 OK\r\n")
    thread_loop().call_soon(go_on.set)
    assert client.rest() == b"5\r\nevent\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    ("status", "line"), [(404, b"404 Not Found"), (299, b"299 "), (204, b"204 No Content"), (418, b"418 I'm a Teapot")]
)
def test_status(serve: Any, status: int, line: bytes) -> None:
    """A status gets its usual phrase, one that has none is sent without."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await answer(send, b"", status)

    assert serve(application).talk().startswith(b"HTTP/1.1 " + line + b"\r\n")


def test_head_request(serve: Any) -> None:
    """The response to HEAD has no body, and no length that the application has not said."""
    answer_to_head = serve(hello).talk(LAST.replace(b"GET", b"HEAD"))
    assert answer_to_head.endswith(b"\r\n\r\n")
    assert b"ontent-Length" not in answer_to_head


def test_fields_of_the_server(serve: Any) -> None:
    """Framing is the server's business: fields of an application that say otherwise are left out."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await start(send, 200, [(b"transfer-encoding", b"chunked"), (b"connection", b"keep-alive"), (b"x-own", b"1")])
        await send({"type": "http.response.body", "body": b"good"})

    said = serve(application).talk()
    assert b"x-own: 1\r\n" in said
    assert b"ransfer" not in said
    assert said.endswith(b"good")


@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_body_of_another_kind(serve: Any, kind: Any) -> None:
    """A body may be whatever bytes can be made of without copying their meaning."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await answer(send, kind(b"good"))

    assert serve(application).talk().endswith(b"good")


def test_back_pressure(serve: Any) -> None:
    """A client that does not read holds its own response up, and nobody else's."""
    sent: list[int] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] != "/flood":
            await answer(send, b"good")
            return
        await start(send)
        for number in range(400):
            await send({"type": "http.response.body", "body": bytes(65536), "more_body": True})
            sent.append(number)
        await send({"type": "http.response.body"})

    served = serve(application)
    client = served.connect()
    client.send(b"GET /flood HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    client.until(b"\r\n\r\n")
    assert served.talk().endswith(b"good")
    hubbub.sleep(0.1)
    assert len(sent) < 300
    while piece := client.sock.recv(1 << 20):
        client.received = piece
    assert client.received.endswith(b"0\r\n\r\n")
    assert len(sent) == 400


# Requests -------------------------------------------------------------------------------------------------------------


def test_scope(serve: Any) -> None:
    """The scope of a request is what the specification says."""
    seen: list[Any] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope)
        await answer(send, b"")

    served = serve(application)
    client = served.connect()
    client.send(b"GET /a%20b/%C3%A4?q=%20 HTTP/1.1\r\nHost: x\r\nX-Two: 1\r\nX-Two: 2\r\nConnection: close\r\n\r\n")
    client.rest()
    (scope,) = seen
    assert scope["server"] == served.server.address
    assert scope["client"][0] == "127.0.0.1"
    assert scope["client"][1] == client.sock.getsockname()[1]
    for key in ("server", "client"):
        del scope[key]
    assert scope == {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/a b/ä",
        "raw_path": b"/a%20b/%C3%A4",
        "query_string": b"q=%20",
        "root_path": "",
        "headers": [(b"host", b"x"), (b"x-two", b"1"), (b"x-two", b"2"), (b"connection", b"close")],
        "extensions": {},
    }


@pytest.mark.parametrize(
    ("target", "path", "raw"),
    [
        (b"http://x/a?b", "/a", b"/a"),
        (b"http://x", "/", b"/"),
        (b"/%FF", "/\ufffd", b"/%FF"),
        (b"/a%2Fb", "/a/b", b"/a%2Fb"),
    ],
)
def test_targets(serve: Any, target: bytes, path: str, raw: bytes) -> None:
    """A path is text, in UTF-8 or with replacement characters; the raw one is as it was sent."""
    seen: list[Any] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope["path"], scope["raw_path"]))
        await answer(send, b"")

    serve(application).talk(b"GET %b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % target)
    assert seen == [(path, raw)]


async def tells_body(scope: Any, receive: Any, send: Any) -> None:
    """Answers with what it got."""
    body, _ = await body_of(receive)
    await answer(send, body)


@pytest.mark.parametrize("application", either(tells_body))
@pytest.mark.parametrize(
    "request_text",
    [
        b"Content-Length: 9\r\n\r\none,two,3",
        b"Transfer-Encoding: chunked\r\n\r\n4\r\none,\r\n4\r\ntwo,\r\n1\r\n3\r\n0\r\n\r\n",
    ],
    ids=["length", "chunked"],
)
@pytest.mark.parametrize("pieces", [1, 3, 30])
def test_body(serve: Any, application: Any, request_text: bytes, pieces: int) -> None:
    """A body arrives whole, however it is cut."""
    client = serve(application).connect()
    text = b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + request_text
    size = -(-len(text) // pieces)
    for place in range(0, len(text), size):
        client.send(text[place : place + size])
        hubbub.sleep(0.001)
    assert client.rest().endswith(b"\r\n\r\none,two,3")


def test_a_large_body(serve: Any) -> None:
    """A large body comes in pieces, and is not held as a whole."""
    sizes: list[int] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        more = True
        while more:
            message = await receive()
            sizes.append(len(message["body"]))
            more = message["more_body"]
        await answer(send, str(sum(sizes)).encode())

    client = serve(application).connect()
    client.send(b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 3000000\r\n\r\n")
    client.send(bytes(3_000_000))
    assert client.rest().endswith(b"3000000")
    assert max(sizes) <= 65536


def test_time_limit_of_receive(serve: Any) -> None:
    """A task that gives up waiting for a body loses nothing of it."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        try:
            async with asyncio.timeout(0.02):
                await receive()
        except TimeoutError:
            client.send(b"abc")
        body, _ = await body_of(receive)
        await answer(send, body)

    client = serve(application).connect()
    client.send(b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 3\r\n\r\n")
    assert client.rest().endswith(b"abc")


@pytest.mark.parametrize("listens", [False, True], ids=["ends", "listens"])
def test_bad_body(serve: Any, listens: bool) -> None:
    """A body that is not valid is a disconnect to the application, and 400 to the client, whatever that answers."""
    seen: list[str] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        seen.append((await receive())["type"])
        if listens:
            seen.append((await receive())["type"])
        await answer(send, b"fine")

    head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert serve(application).talk(head + b"nonsense\r\n").startswith(b"HTTP/1.1 400 ")
    assert set(seen) == {"http.disconnect"}


def test_both_directions(serve: Any) -> None:
    """A response may begin before the request has ended, each piece answered as it comes."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await start(send)
        more = True
        while more:
            message = await receive()
            more = message["more_body"]
            await send({"type": "http.response.body", "body": message["body"].upper(), "more_body": more})

    client = serve(application).connect()
    client.send(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
    for piece in (b"one", b"two"):
        client.send(b"3\r\n%b\r\n" % piece)
        client.until(piece.upper())
    client.send(b"0\r\n\r\n")
    client.until(b"0\r\n\r\n")
    client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi")
    client.until(b"HI")


# The end of the client ------------------------------------------------------------------------------------------------


def test_disconnect_is_received(serve: Any) -> None:
    """A task that waits for the client's end learns of it, also while the response goes on."""
    seen: list[str] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["more_body"] is False
        listener = asyncio.ensure_future(receive())
        await start(send)
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        seen.append((await listener)["type"])
        seen.append((await receive())["type"])

    served = serve(application)
    client = served.connect()
    client.send(GET)
    client.until(b"first")
    client.sock.close()
    with hubbub.Timeout(5):
        while len(seen) < 2:
            hubbub.sleep(0.01)
    assert seen == ["http.disconnect"] * 2


def test_disconnect_after_the_response(serve: Any) -> None:
    """Who waits for the client's end is told when the response is over, and the connection goes on."""
    seen: list[str] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        listener = asyncio.ensure_future(receive())
        await asyncio.sleep(0.01)
        await answer(send, b"good")
        seen.append((await listener)["type"])
        seen.append((await receive())["type"])

    client = serve(application).connect()
    for count in (2, 4):
        client.send(GET)
        client.until(b"good")
        with hubbub.Timeout(5):
            while len(seen) < count:
                hubbub.sleep(0.01)
    assert set(seen) == {"http.disconnect"}


def test_pipelined_requests(serve: Any) -> None:
    """What arrives while a task waits for the client's end are the next requests, all of them."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        listener = asyncio.ensure_future(receive())
        await asyncio.sleep(0.01)
        await answer(send, scope["path"].encode() + b".")
        await listener

    client = serve(application).connect()
    client.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % number for number in range(8)))
    for number in range(8):
        client.until(b"/%d." % number)


def test_sending_to_nobody(serve: Any, caplog: pytest.LogCaptureFixture) -> None:
    """``send`` raises OSError once the client is gone, which is no failure; and no task is left waiting."""
    ends: list[BaseException] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await start(send)
        try:
            while True:
                await send({"type": "http.response.body", "body": bytes(65536), "more_body": True})
        except OSError as error:
            ends.append(error)
            raise

    served = serve(application)
    client = served.connect()
    client.send(GET)
    client.until(b"\r\n\r\n")
    client.sock.close()
    with hubbub.Timeout(5):
        while not ends:
            hubbub.sleep(0.01)
    assert isinstance(ends[0], ConnectionError)
    assert not caplog.text
    assert not served.log.getvalue()


# Failures -------------------------------------------------------------------------------------------------------------


async def fails(scope: Any, receive: Any, send: Any) -> None:
    """Fails before its response."""
    raise ValueError("by mistake")


async def fails_late(scope: Any, receive: Any, send: Any) -> None:
    """Fails after a part of it."""
    await start(send)
    await send({"type": "http.response.body", "body": b"a part", "more_body": True})
    raise ValueError("by mistake")


async def fails_after(scope: Any, receive: Any, send: Any) -> None:
    """Fails after its response."""
    await answer(send, b"good")
    raise ValueError("by mistake")


async def says_nothing(scope: Any, receive: Any, send: Any) -> None:
    """Ends."""


async def says_half(scope: Any, receive: Any, send: Any) -> None:
    """Ends in the middle."""
    await start(send)
    await send({"type": "http.response.body", "body": b"a part", "more_body": True})


async def only_starts(scope: Any, receive: Any, send: Any) -> None:
    """Ends after the head."""
    await start(send)


async def cancels_itself(scope: Any, receive: Any, send: Any) -> None:
    """Is cancelled."""
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(1)


async def bad_value(scope: Any, receive: Any, send: Any) -> None:
    """A field that would end its line."""
    await start(send, 200, [(b"x", b"a\r\nb: c")])
    await send({"type": "http.response.body", "body": b"x"})


async def bad_header(scope: Any, receive: Any, send: Any) -> None:
    """A field of the wrong type."""
    await start(send, 200, [("x", "y")])


async def bad_status(scope: Any, receive: Any, send: Any) -> None:
    """A status of the wrong type."""
    await start(send, "200 OK")  # type: ignore[arg-type]  # what is tried


async def body_first(scope: Any, receive: Any, send: Any) -> None:
    """A body without a head."""
    await send({"type": "http.response.body", "body": b"x"})


async def starts_twice(scope: Any, receive: Any, send: Any) -> None:
    """Two heads."""
    await start(send)
    await start(send)


async def unknown_message(scope: Any, receive: Any, send: Any) -> None:
    """A message of another protocol."""
    await send({"type": "websocket.accept"})


BEFORE = [
    (fails, "ValueError: by mistake"),
    (says_nothing, "ended without a response"),
    (only_starts, "in the midst of its response"),
    (cancels_itself, "CancelledError"),
    (bad_value, "control characters"),
    (bad_header, "pairs of bytes"),
    (bad_status, "is an int"),
    (body_first, "before http.response.start"),
    (starts_twice, "sent twice"),
    (unknown_message, "can be sent, not 'websocket.accept'"),
]


@pytest.mark.parametrize(
    ("application", "logged"),
    [
        pytest.param(*case.values, logged, id=f"{application.__name__}-{case.id}")
        for application, logged in BEFORE
        for case in either(application)
    ],
)
def test_failure_before_the_response(serve: Any, application: Any, logged: str) -> None:
    """What fails before a byte was sent is 500 to the client, and its traceback in the error log."""
    served = serve(application)
    assert served.talk().startswith(b"HTTP/1.1 500 ")
    assert logged in served.log.getvalue()


@pytest.mark.parametrize("application", [*either(fails_late), *either(says_half)])
def test_failure_in_the_response(serve: Any, application: Any) -> None:
    """What fails in the middle breaks the connection off: nobody takes a part for the whole."""
    served = serve(application)
    client = served.connect()
    client.send(GET)
    with pytest.raises(ConnectionResetError):
        client.rest()
    assert served.log.getvalue()


@pytest.mark.parametrize("application", either(fails_after))
def test_failure_after_the_response(serve: Any, hub: Any, application: Any) -> None:
    """What fails after its response is reported, and the connection goes on."""
    reported: list[Any] = []
    thread_loop().set_exception_handler(lambda loop, context: reported.append(context["exception"]))
    served = serve(application)
    client = served.connect()
    for _ in range(2):
        client.send(GET)
        client.until(b"good")
    with hubbub.Timeout(5):
        while len(reported) < 2 and served.log.getvalue().count("ValueError: by mistake") < 2:
            hubbub.sleep(0.001)


def test_killed(serve: Any) -> None:
    """A server that does not wait for its requests cancels their tasks."""
    ends: list[str] = []
    begun = hubbub.Event()

    async def application(scope: Any, receive: Any, send: Any) -> None:
        begun.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            ends.append("cancelled")
            raise

    served = serve(application)
    client = served.connect()
    client.send(GET)
    assert begun.wait(5)
    served.server.stop(0.0)
    assert client.rest().startswith(b"HTTP/1.1 503 ")
    assert ends == ["cancelled"]


# Tasks ----------------------------------------------------------------------------------------------------------------


def test_work_after_the_response(serve: Any) -> None:
    """A task goes on after its response, while the connection serves the next; a shutdown waits for it."""
    done: list[str] = []
    answered = asyncio.Event()

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await answer(send, b"good")
        await answered.wait()
        await asyncio.sleep(0.01)
        done.append("after")

    served = serve(application)
    client = served.connect()
    for _ in range(2):
        client.send(GET)
        client.until(b"good")
    assert not done
    thread_loop().call_soon(answered.set)
    served.adapter.shutdown(5.0)
    assert done == ["after"] * 2


def test_shutdown_has_limits(serve: Any) -> None:
    """Work that has no end is cancelled when the time of the shutdown is over."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await answer(send, b"good")
        await asyncio.sleep(3600)

    served = serve(application)
    served.talk()
    with hubbub.Timeout(5):
        served.adapter.shutdown(0.05)


def test_requests_take_turns(serve: Any) -> None:
    """Many requests wait at the same time, by coroutines and by greenlets."""
    inside = 0
    all_inside = hubbub.Event()

    def blocking() -> None:
        assert all_inside.wait(5)

    async def application(scope: Any, receive: Any, send: Any) -> None:
        nonlocal inside
        inside += 1
        if inside == 20:
            all_inside.set()
        if scope["path"] == "/blocking":
            blocking()  # keeps this task, nobody else: it is the first step
        else:
            await as_future(all_inside)
        await answer(send, b"good")

    served = serve(application)
    paths = [b"/blocking", b"/"] * 10
    talks = [hubbub.spawn(served.talk, LAST.replace(b"/ ", path + b" ", 1)) for path in paths]
    assert all(talk.get().endswith(b"good") for talk in talks)


def test_await_in_a_first_step(serve: Any) -> None:
    """A synchronous function that an application calls before it waits may use ``await_``."""

    async def later() -> bytes:
        await asyncio.sleep(0.01)
        return b"good"

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await answer(send, await_(later()))

    served = serve(application)
    talks = [hubbub.spawn(served.talk) for _ in range(5)]
    assert all(talk.get().endswith(b"good") for talk in talks)


def test_task_factory(serve: Any) -> None:
    """A task factory of the event loop makes the tasks of requests as well."""
    made: list[Any] = []

    def factory(loop: Any, coroutine: Any, **options: Any) -> Any:
        made.append(coroutine)
        return asyncio.Task(coroutine, loop=loop, **options)

    thread_loop().set_task_factory(factory)
    try:
        assert serve(hello).talk().endswith(b"hello")
    finally:
        thread_loop().set_task_factory(None)
    assert made


def test_stopped_event_loop(serve: Any) -> None:
    """An application that stops the event loop does not end the service."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        thread_loop().stop()
        await answer(send, b"good")

    served = serve(application)
    for _ in range(2):
        assert served.talk().endswith(b"good")


def test_async_generators_are_closed(serve: Any) -> None:
    """One that is begun in the first step of a task belongs to the event loop."""

    async def numbers() -> Any:
        yield 1

    async def application(scope: Any, receive: Any, send: Any) -> None:
        generator = numbers()
        await anext(generator)
        assert generator in thread_loop()._asyncgens
        await generator.aclose()
        await answer(send, b"good")

    assert serve(application).talk().endswith(b"good")


# Lifespan -------------------------------------------------------------------------------------------------------------


def lifespan(log: list[str], *, startup: str = "complete", shutdown: str = "complete") -> Any:
    """An application with a start and an end."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await answer(send, scope["state"]["greeting"])
            scope["state"]["greeting"] = b"of this request alone"
            return
        message = await receive()
        log.append(message["type"])
        scope["state"]["greeting"] = b"from the start"
        await asyncio.sleep(0.01)
        await send({"type": f"lifespan.startup.{startup}", "message": "no database"})
        if startup != "complete":
            return
        message = await receive()
        log.append(message["type"])
        await asyncio.sleep(0.01)
        await send({"type": f"lifespan.shutdown.{shutdown}", "message": "it is stuck"})

    return application


def test_lifespan(serve: Any) -> None:
    """The start ends before the first request, the end comes after the last; each request sees what the start left."""
    log: list[str] = []
    served = serve(lifespan(log))
    served.adapter.startup()
    assert log == ["lifespan.startup"]
    for _ in range(2):
        assert served.talk().endswith(b"from the start")
    served.adapter.shutdown(5.0)
    assert log == ["lifespan.startup", "lifespan.shutdown"]


def test_failed_start(hub: Any) -> None:
    """A start that fails is an error with the application's reason."""
    with pytest.raises(RuntimeError, match="no database"):
        ASGI(lifespan([], startup="failed")).startup()


def test_failed_end(hub: Any) -> None:
    """An end that fails is reported with the application's reason."""
    said: list[str] = []
    thread_loop().set_exception_handler(lambda loop, context: said.append(context["message"]))
    adapter = ASGI(lifespan([], shutdown="failed"))
    adapter.startup()
    adapter.shutdown(5.0)
    assert "it is stuck" in said[0]


@pytest.mark.parametrize("application", [fails, says_nothing])
def test_without_lifespan(serve: Any, application: Any) -> None:
    """An application that knows no lifespan is served all the same."""
    served = serve(application)
    served.adapter.startup()
    assert served.talk().startswith(b"HTTP/1.1 500 ")
    served.adapter.shutdown(5.0)


def test_lifespan_that_never_ends(hub: Any) -> None:
    """An end that takes too long is cancelled."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await asyncio.sleep(3600)

    adapter = ASGI(application)
    adapter.startup()
    with hubbub.Timeout(5):
        adapter.shutdown(0.05)


def test_no_application(hub: Any) -> None:
    """What cannot be called is refused."""
    with pytest.raises(TypeError, match="application\\(scope, receive, send\\)"):
        ASGI("module:app")  # type: ignore[arg-type]  # what is tried


def test_other_servers(hub: Any) -> None:
    """A WSGI server that gives no more than PEP 3333 says serves ASGI applications too."""
    environ = {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "/mounted",
        "PATH_INFO": "/path",
        "QUERY_STRING": "",
        "SERVER_NAME": "here",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "CONTENT_TYPE": "text/plain",
        "CONTENT_LENGTH": "3",
        "HTTP_X_ONE": "1",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(b"abc"),
    }
    written: list[bytes] = []

    def start_response(status: str, headers: list[tuple[str, str]]) -> Any:
        written.append(f"{status} {dict(headers)['Content-Length']} ".encode())
        return written.append

    async def application(scope: Any, receive: Any, send: Any) -> None:
        body, _ = await body_of(receive)
        fields = [(b"content-type", b"text/plain"), (b"content-length", b"3"), (b"x-one", b"1")]
        assert scope["headers"] == fields
        assert (scope["root_path"], scope["path"], scope["client"]) == ("/mounted", "/mounted/path", None)
        await answer(send, body)

    assert list(ASGI(application)(environ, start_response)) == []
    assert b"".join(written) == b"200 OK 3 abc"


def test_an_application_that_never_waits(serve, monkeypatch):
    """A request whose application never waits is answered without a round of the event loop."""

    async def application(scope, receive, send):
        await answer(send, b"at once")

    served = serve(application)
    client = served.connect()
    client.send(GET)
    client.until(b"at once")  # the event loop runs from now on
    hubbub.sleep(0)
    rounds = []
    once = HubEventLoop._run_once
    monkeypatch.setattr(HubEventLoop, "_run_once", lambda loop: rounds.append(once(loop)))
    for _ in range(3):
        client.send(GET)
        client.until(b"at once")
    assert rounds == []
