"""WebSockets: opening, messages, waiting, closing, and what the server does by itself."""

from __future__ import annotations

import io
import itertools
import json
from types import SimpleNamespace
from typing import Any

import hubbub
import pytest
from hubbub.event import AsyncResult, Event
from hubbub_server import Limits
from hubbub_server.events import EventLog

websocket = pytest.importorskip("hubbub_server.websocket")
SECONDS = 5.0
BOTH = pytest.mark.parametrize("raw", ["HTTP/1.1", "HTTP/2"], indirect=True)
"""What clients do slowly, rudely or at the wrong moment is tried over both versions."""


def echo(environ: Any, start_response: Any) -> list[bytes]:
    """Sends back each message."""
    socket = environ["hubbub.websocket"](["chat", "other"], message_bytes=environ.get("test.message_bytes"))
    for message in socket:
        socket.send(message)
    return []


def held() -> SimpleNamespace:
    """An application that hands its WebSocket to the test, and ends when the test says so."""
    opened, done = AsyncResult[Any](), Event()

    def application(environ: Any, start_response: Any) -> list[bytes]:
        opened.set(environ["hubbub.websocket"]())
        done.wait(SECONDS)
        return []

    return SimpleNamespace(application=application, opened=opened, done=done)


# Opening ------------------------------------------------------------------------------------------------------------


def test_opening(serve: Any, raw: Any, peers: Any) -> None:
    """The example of RFC 6455, 1.3 is answered as it stands there."""
    client = raw(serve(echo))
    assert client.head.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
    for line in ("Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Accept: {peers.ACCEPT}"):
        assert f"\r\n{line}\r\n".encode() in client.head
    assert b"Content-Length" not in client.head
    assert b"Transfer-Encoding" not in client.head


BAD_OPENINGS: list[tuple[dict[str, Any], int]] = [
    ({"Sec_WebSocket_Version": "8"}, 426),
    ({"Sec_WebSocket_Version": None}, 400),
    ({"Sec_WebSocket_Key": None}, 400),
    ({"Sec_WebSocket_Key": "c2hvcnQ="}, 400),
    ({"Sec_WebSocket_Key": "not base64, is it"}, 400),
    ({"method": "POST"}, 405),
    ({"Upgrade": "websocket2"}, 400),
]


@pytest.mark.parametrize(("change", "status"), BAD_OPENINGS)
def test_bad_opening(serve: Any, connect: Any, peers: Any, errors: io.StringIO, change: Any, status: int) -> None:
    """A request that is not valid is refused with a status that says why, and the log has no failure."""
    client = connect(serve(echo))
    client.send(peers.request(**change))
    response = client.response()
    assert response.status == status
    assert (response.headers.get("sec-websocket-version") == "13") == ("Sec_WebSocket_Version" in change)
    assert errors.getvalue() == ""
    client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert client.response().status == 500  # the connection goes on; this request has no such entry


def test_other_upgrades_are_not_offered(serve: Any, connect: Any) -> None:
    """Only a request for a WebSocket has the entry in its environ."""

    def application(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [str("hubbub.websocket" in environ).encode()]

    server = serve(application)
    for value, wanted in (("other", b"False"), ("WebSocket", b"True"), ("x, websocket", b"True")):
        client = connect(server)
        client.send(f"GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: {value}\r\n\r\n".encode())
        assert client.response().body == wanted


@pytest.mark.parametrize(
    ("offered", "agreed"), [("other, chat", "chat"), ("other", "other"), ("CHAT", None), ("", None), (None, None)]
)
def test_subprotocol(serve: Any, raw: Any, peers: Any, offered: str | None, agreed: str | None) -> None:
    """The first of the application's that the client offers is agreed on; none if there is none."""
    head = raw(serve(echo), peers.request(Sec_WebSocket_Protocol=offered)).head
    assert (b"Sec-WebSocket-Protocol" in head) == (agreed is not None)
    if agreed is not None:
        assert f"\r\nSec-WebSocket-Protocol: {agreed}\r\n".encode() in head


def test_wrong_arguments(serve: Any, raw: Any, connect: Any, peers: Any) -> None:
    """What would make a wrong response is refused, before anything is sent."""
    seen: list[BaseException] = []

    def application(environ: Any, start_response: Any) -> list[bytes]:
        accept = environ["hubbub.websocket"]
        for arguments in (("chat",), ((), [("Upgrade", "x")]), ((), [("X", "a\r\nb")]), ((), [("X", 1)])):
            with pytest.raises((TypeError, ValueError)) as caught:
                accept(*arguments)
            seen.append(caught.value)
        accept((), [("X-Own", "yes")]).send("fine")
        return []

    client = raw(serve(application))
    assert b"\r\nX-Own: yes\r\n" in client.head
    assert client.frame() == (0x81, b"fine")
    assert [type(error) for error in seen] == [TypeError, ValueError, ValueError, TypeError]


def test_after_response_has_begun(serve: Any, connect: Any, peers: Any) -> None:
    """A WebSocket cannot be opened in the midst of a response."""

    def application(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Length", "4")])(b"ab")
        with pytest.raises(AssertionError):
            environ["hubbub.websocket"]()
        return [b"cd"]

    client = connect(serve(application))
    client.send(peers.request())
    assert client.response().body == b"abcd"


def test_refused_by_the_application(serve: Any, connect: Any, peers: Any) -> None:
    """An application may respond in the usual way instead."""

    def application(environ: Any, start_response: Any) -> list[bytes]:
        start_response("401 Unauthorized", [])
        return [b"no"]

    client = connect(serve(application))
    client.send(peers.request())
    assert client.response().status == 401


def test_without_wsproto(serve: Any, connect: Any, peers: Any, errors: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without wsproto the application is told what to install."""
    monkeypatch.setitem(__import__("sys").modules, "hubbub_server.websocket.upgrade", None)
    import_ = __builtins__["__import__"]  # type: ignore[index]  # a dict in every module but __main__

    def importing(name: str, *values: Any) -> Any:
        if name == "hubbub_server.websocket.upgrade":
            raise ModuleNotFoundError("No module named 'wsproto'", name="wsproto")
        return import_(name, *values)

    server = serve(echo)
    client = connect(server)
    with monkeypatch.context() as patch:
        patch.setitem(__builtins__, "__import__", importing)  # type: ignore[arg-type]  # as above
        client.send(peers.request())
        assert client.response().status == 500
    assert "pip install hubbub-server[websocket]" in errors.getvalue()


# Messages -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compress", [False, True])
def test_messages(serve: Any, peer: Any, compress: bool) -> None:
    """Texts and bytes of all lengths come back as they were sent, with compression and without."""
    client = peer(serve(echo), compress=compress)
    for size in (0, 1, 63, 64, 125, 126, 65535, 65536, 300000):
        for message in ("ä" * (size // 2) + "x" * (size % 2), bytes(range(256)) * (size // 256) + bytes(size % 256)):
            client.send(message)
            assert client.receive() == message
    assert client.close() == 1000


def test_bytes_behind_the_request(serve: Any, raw: Any, peers: Any) -> None:
    """What the client sends right behind its request is a part of the WebSocket."""
    client = raw(serve(echo), peers.request() + peers.frame(1, b"early"))
    assert client.frame() == (0x81, b"early")


def test_kinds_of_data(serve: Any, raw: Any) -> None:
    """What is like bytes is a binary message; what is neither is refused, and nothing is sent of it."""

    def application(environ: Any, start_response: Any) -> list[bytes]:
        socket = environ["hubbub.websocket"]()
        for wrong in (1, None, ["x"]):
            with pytest.raises(TypeError):
                socket.send(wrong)
        with pytest.raises(UnicodeEncodeError):
            socket.send("\ud800")
        for data in (bytearray(b"a"), memoryview(b"b"), "c"):
            socket.send(data)
        return []

    client = raw(serve(application))
    assert [client.frame() for _ in range(3)] == [(0x82, b"a"), (0x82, b"b"), (0x81, b"c")]
    assert client.closing() == 1000


def test_timeout_of_receive(serve: Any, raw: Any, peers: Any) -> None:
    """A receive that has run out of time has lost nothing: what comes later is received by the next one."""
    timed_out = Event()

    def application(environ: Any, start_response: Any) -> list[bytes]:
        socket = environ["hubbub.websocket"]()
        with pytest.raises(TimeoutError):
            socket.receive(timeout=0.01)
        timed_out.set()
        socket.send(socket.receive())
        return []

    client = raw(serve(application))
    assert timed_out.wait(SECONDS)
    data = peers.frame(1, b"late")
    client.send(data[:3])
    client.send(data[3:])
    assert client.frame() == (0x81, b"late")


def test_killed_receiver(serve: Any, raw: Any, peers: Any) -> None:
    """A killed receiver takes no message with it, and hands on to the next who waits."""
    app = held()
    client = raw(serve(app.application))
    socket = app.opened.get(timeout=SECONDS)
    first, second = hubbub.spawn(socket.receive), hubbub.spawn(socket.receive)
    hubbub.sleep(0)
    first.kill()
    client.send(peers.frame(1, b"for the second"))
    assert second.get(timeout=SECONDS) == "for the second"
    app.done.set()


def test_many_receivers(serve: Any, raw: Any, peers: Any) -> None:
    """Several greenlets may receive: each message goes to one."""
    app = held()
    client = raw(serve(app.application))
    socket = app.opened.get(timeout=SECONDS)
    receivers = [hubbub.spawn(socket.receive) for _ in range(5)]
    hubbub.sleep(0)
    client.send(b"".join(peers.frame(1, b"%d" % number) for number in range(5)))
    assert sorted(receiver.get(timeout=SECONDS) for receiver in receivers) == list("01234")
    app.done.set()


@BOTH
def test_many_senders(serve: Any, raw: Any) -> None:
    """Messages of several greenlets do not mix, though the client reads late and they are large."""
    app = held()
    client = raw(serve(app.application))
    socket = app.opened.get(timeout=SECONDS)
    senders = [hubbub.spawn(socket.send, letter.encode() * 400000) for letter in "abcdefgh"]
    hubbub.sleep(0.01)
    got = [client.frame()[1] for _ in senders]
    assert all(len(set(message)) == 1 and len(message) == 400000 for message in got)
    assert {message[:1] for message in got} == {letter.encode() for letter in "abcdefgh"}
    hubbub.joinall(senders, timeout=SECONDS)
    app.done.set()


# Back-pressure ------------------------------------------------------------------------------------------------------


def test_websocket_queue_bytes_of_receiver(serve: Any, raw: Any, peers: Any) -> None:
    """While messages wait for the application no more are received, so the client must wait."""
    app = held()
    client = raw(serve(app.application, limits=Limits(websocket_queue_bytes=10000, websocket_ping_seconds=0.05)))
    socket = app.opened.get(timeout=SECONDS)
    one = peers.frame(2, bytes(9000))
    client.sock = client.client.sock
    client.sock.settimeout(0.3)
    with pytest.raises(TimeoutError):
        client.send(one * 5000)
    assert 9000 < socket.statistics().queued_received < 10000 + 9000 + 64 * 2
    assert socket.receive() == bytes(9000)
    app.done.set()


def fill(socket: Any) -> int:
    """Send messages that begin with their number, until the client, who does not read, takes no more; how many."""
    for count in itertools.count():
        try:
            socket.send(b"%06d" % count + bytes(60000), timeout=0.3)
        except TimeoutError:
            return count
    raise AssertionError


@BOTH
def test_websocket_queue_bytes_of_sender(serve: Any, raw: Any) -> None:
    """While the client does not read, senders wait, or are told at once; then all arrives in order."""
    app = held()
    client = raw(serve(app.application, limits=Limits(websocket_queue_bytes=10000)))
    socket = app.opened.get(timeout=SECONDS)
    count = fill(socket)
    with pytest.raises(websocket.QueueFull):
        socket.send_nowait(b"never sent")
    assert socket.statistics().queued_sent < 10000 + 60100
    sender = hubbub.spawn(socket.send, b"at last")
    for number in range(count):
        assert client.frame()[1][:6] == b"%06d" % number
    assert client.frame() == (0x82, b"at last")
    sender.get(timeout=SECONDS)
    app.done.set()


@BOTH
def test_killed_sender(serve: Any, raw: Any) -> None:
    """A sender that is killed while it waits has sent nothing; the messages before and after it are whole."""
    app = held()
    client = raw(serve(app.application, limits=Limits(websocket_queue_bytes=10000)))
    socket = app.opened.get(timeout=SECONDS)
    count = fill(socket)
    victim = hubbub.spawn(socket.send, b"victim")
    hubbub.sleep(0)
    victim.kill()
    survivor = hubbub.spawn(socket.send, b"survivor")
    assert [len(client.frame()[1]) for _ in range(count)] == [60006] * count
    assert client.frame() == (0x82, b"survivor")
    survivor.get(timeout=SECONDS)
    app.done.set()


@BOTH
def test_write_seconds(serve: Any, raw: Any) -> None:
    """A client that takes nothing for too long is reset, and the sender learns it."""
    app = held()
    limits = Limits(websocket_queue_bytes=10000, write_seconds=0.1, write_rate=10**9)
    raw(serve(app.application, limits=limits))
    socket = app.opened.get(timeout=SECONDS)
    with pytest.raises(websocket.ConnectionClosed) as caught:
        while True:
            socket.send(bytes(60000), timeout=SECONDS)
    assert caught.value.code == 1006
    app.done.set()


# Pings --------------------------------------------------------------------------------------------------------------


@BOTH
def test_ping_of_client(serve: Any, raw: Any, peers: Any) -> None:
    """A ping is responded to with its payload; of several at once the last (RFC 6455, 5.5.3)."""
    client = raw(serve(echo))
    client.send(peers.frame(9, b"are you there"))
    assert client.frame() == (0x8A, b"are you there")
    client.send(peers.frame(9, b"1") + peers.frame(9, b"2") + peers.frame(10, b"unasked") + peers.frame(1, b"x"))
    got = [client.frame(), client.frame()]
    assert sorted(got) == [(0x81, b"x"), (0x8A, b"2")]


@BOTH
def test_ping_while_the_application_is_busy(serve: Any, raw: Any, peers: Any) -> None:
    """Pings are responded to, and the end is seen, though the application does not receive."""
    app = held()
    client = raw(serve(app.application, limits=Limits(websocket_ping_seconds=0.05)))
    socket = app.opened.get(timeout=SECONDS)
    client.send(peers.frame(9, b"hello"))
    while client.frame() != (0x8A, b"hello"):
        pass
    client.send(peers.frame(1, b"kept") + peers.close_frame(1000))
    assert client.closing() == 1000
    assert socket.closed
    assert socket.receive() == "kept"
    with pytest.raises(websocket.ConnectionClosed):
        socket.receive()
    app.done.set()


def test_ping_by_the_application(serve: Any, raw: Any, peers: Any) -> None:
    """``ping`` waits for its pong, and for no other; it tells how long that took."""
    app = held()
    client = raw(serve(app.application))
    socket = app.opened.get(timeout=SECONDS)
    pinger = hubbub.spawn(socket.ping)
    first, payload = client.frame()
    assert first == 0x89
    client.send(peers.frame(10, b"another"))
    hubbub.sleep(0.01)
    assert not pinger.ready()
    client.send(peers.frame(10, payload))
    assert 0 < pinger.get(timeout=SECONDS) < SECONDS
    with pytest.raises(TimeoutError):
        socket.ping(timeout=0.01)
    app.done.set()


@BOTH
def test_websocket_ping_seconds(serve: Any, raw: Any, peers: Any) -> None:
    """A client that has been silent is sent a ping; one that responds is kept."""
    client = raw(serve(echo, limits=Limits(websocket_ping_seconds=0.03, websocket_pong_seconds=0.2)))
    for _ in range(10):
        first, payload = client.frame()
        assert first == 0x89
        client.send(peers.frame(10, payload))
    client.send(peers.frame(1, b"still here"))
    while client.frame() != (0x81, b"still here"):
        pass


@BOTH
def test_websocket_pong_seconds(serve: Any, raw: Any) -> None:
    """One that does not respond is given up."""
    client = raw(serve(echo, limits=Limits(websocket_ping_seconds=0.05, websocket_pong_seconds=0.05)))
    assert client.closing() in (1006, 1011)


@BOTH
def test_message_that_stalls(serve: Any, raw: Any, peers: Any) -> None:
    """A message that is begun and makes no progress for ``body_seconds`` ends the WebSocket with 1008."""
    client = raw(serve(echo, limits=Limits(body_seconds=0.1)))
    client.send(peers.frame(1, b"begun", fin=False))
    assert client.closing() == 1008


# The end ------------------------------------------------------------------------------------------------------------


def test_closed_by_client(serve: Any, peer: Any) -> None:
    """The application learns code and reason; iteration ends in good order."""
    seen = AsyncResult[Any]()

    def application(environ: Any, start_response: Any) -> list[bytes]:
        socket = environ["hubbub.websocket"]()
        assert list(socket) == ["one"]
        with pytest.raises(websocket.ConnectionClosed) as caught:
            socket.send("too late")
        seen.set((socket.close_code, socket.close_reason, caught.value.by_client))
        return []

    client = peer(serve(application))
    client.send("one")
    assert client.close(1001, "näh") == 1001
    assert seen.get(timeout=SECONDS) == (1001, "näh", True)


def test_closed_by_application(serve: Any, peer: Any) -> None:
    """Code and reason reach the client, after all messages before them; the application waits for its reply."""
    done = AsyncResult[Any]()

    def application(environ: Any, start_response: Any) -> list[bytes]:
        socket = environ["hubbub.websocket"]()
        socket.send("last")
        socket.close(4321, "enough")
        socket.close()
        done.set(socket.close_code)
        return []

    client = peer(serve(application))
    assert client.receive() == "last"
    assert client.receive() == ("close", 4321)
    assert client.receive() is None
    assert client.protocol.close_rcvd.reason == "enough"
    assert done.get(timeout=SECONDS) == 4321


@pytest.mark.parametrize(
    ("code", "reason"), [(1005, ""), (1006, ""), (999, ""), (2000, ""), (5000, ""), (1000, "x" * 124)]
)
def test_wrong_close(serve: Any, raw: Any, code: int, reason: str) -> None:
    """A code that may not be sent, and a reason that is too long, are refused, and the WebSocket stays open."""

    def application(environ: Any, start_response: Any) -> list[bytes]:
        socket = environ["hubbub.websocket"]()
        with pytest.raises(ValueError):
            socket.close(code, reason)
        socket.send("open")
        return []

    client = raw(serve(application))
    assert client.frame() == (0x81, b"open")
    assert client.closing() == 1000


@BOTH
def test_lost_client(serve: Any, raw: Any, errors: io.StringIO) -> None:
    """A client that is gone is 1006; it ends the application, and is no failure of it."""
    seen = AsyncResult[Any]()

    def application(environ: Any, start_response: Any) -> list[bytes]:
        socket = environ["hubbub.websocket"]()
        try:
            for _ in socket:
                pass
        except websocket.ConnectionClosed as error:
            seen.set(error)
            raise
        return []

    client = raw(serve(application))
    client.client.sock.close()
    error = seen.get(timeout=SECONDS)
    assert (error.code, error.by_client) == (1006, True)
    hubbub.sleep(0.01)
    assert errors.getvalue() == ""


@BOTH
def test_failed_application(serve: Any, raw: Any, errors: io.StringIO) -> None:
    """An application that fails closes with 1011, and its error is in the log."""

    def application(environ: Any, start_response: Any) -> list[bytes]:
        environ["hubbub.websocket"]()
        raise LookupError("nothing there")

    assert raw(serve(application)).closing() == 1011
    hubbub.sleep(0.01)
    assert "nothing there" in errors.getvalue()


@BOTH
def test_websocket_close_seconds(serve: Any, raw: Any) -> None:
    """A client that does not do its part of the closing holds the application no longer than that."""
    ended = Event()

    def application(environ: Any, start_response: Any) -> list[bytes]:
        environ["hubbub.websocket"]().close()
        ended.set()
        return []

    client = raw(serve(application, limits=Limits(websocket_close_seconds=0.05)))
    assert client.frame() == (0x88, b"\x03\xe8")
    assert ended.wait(SECONDS)
    assert client.closing() == 1006


@BOTH
def test_messages_during_the_closing(serve: Any, raw: Any, peers: Any) -> None:
    """What the client goes on to send until it has seen the closing is dropped, not a fault."""
    closing = Event()

    def application(environ: Any, start_response: Any) -> list[bytes]:
        socket = environ["hubbub.websocket"]()
        closing.set()
        socket.close()
        return []

    client = raw(serve(application))
    assert closing.wait(SECONDS)
    client.send(peers.frame(2, bytes(60000)) * 20 + peers.close_frame(1000))
    assert client.closing() == 1000


@BOTH
def test_stop(serve: Any, raw: Any, peers: Any) -> None:
    """A server that stops closes with 1001; what the client had sent before is received, and new ones get 503."""
    got = AsyncResult[Any]()
    ready = Event()

    def application(environ: Any, start_response: Any) -> list[bytes]:
        socket = environ["hubbub.websocket"]()
        ready.set()
        got.set((list(socket), socket.close_code))
        return []

    server = serve(application)
    client = raw(server)
    other = raw(server)
    assert ready.wait(SECONDS)
    stopping = hubbub.spawn(server.stop, 5)
    for each in (client, other):
        assert each.frame() == (0x88, b"\x03\xe9the server is stopping")
        each.send(peers.frame(1, b"on its way") + peers.close_frame(1001))
    assert got.get(timeout=SECONDS) == (["on its way"], 1001)
    stopping.get(timeout=SECONDS)
    assert not server.websockets


@BOTH
def test_killed_application(serve: Any, raw: Any) -> None:
    """An application that does not end when the server stops is killed; the client has 1001, and the event is there."""
    stream = io.StringIO()
    app = held()
    server = serve(app.application, events=EventLog(stream))
    client = raw(server)
    socket = app.opened.get(timeout=SECONDS)
    server.stop(0.05)
    assert client.frame()[1][:2] == (1001).to_bytes(2, "big")
    assert (socket.close_code, server.websockets) == (1001, set())
    closed = [json.loads(line) for line in stream.getvalue().splitlines() if '"websocket_closed"' in line]
    assert [event["code"] for event in closed] == [1001]


def test_refused_too_late(serve: Any, raw: Any, connect: Any, peers: Any) -> None:
    """A refusal after the opening closes with 1008; one in the midst of a response breaks that off."""

    def application(environ: Any, start_response: Any) -> list[bytes]:
        if environ["PATH_INFO"] == "/opened":
            environ["hubbub.websocket"]()
        else:
            start_response("200 OK", [("Content-Length", "9")])(b"begun")
        websocket.check_origin(environ, same=False)
        return []

    server = serve(application)
    assert raw(server, peers.request("/opened", Origin="http://evil")).closing() == 1008
    client = connect(server)
    client.send(peers.request("/", Origin="http://evil"))
    with pytest.raises(ConnectionResetError):
        client.rest()


def test_stop_refuses_new_ones(serve: Any, connect: Any, peers: Any) -> None:
    """While the server stops no WebSocket is opened any more."""

    def application(environ: Any, start_response: Any) -> list[bytes]:
        if "hubbub.websocket" in environ:
            return echo(environ, start_response)
        start_response("200 OK", [])
        return [b"hello"]

    server = serve(application)
    client = connect(server)
    client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    client.response()
    stopping = hubbub.spawn(server.stop, 2)
    hubbub.sleep(0)
    client.send(peers.request())
    assert client.response().status == 503
    client.sock.close()
    stopping.get(timeout=SECONDS)


def test_deadline_of_a_request(serve: Any, raw: Any, peers: Any) -> None:
    """The time for a request ends when its WebSocket is opened; the application may set another."""

    def application(environ: Any, start_response: Any) -> list[bytes]:
        socket = environ["hubbub.websocket"]()
        socket.send(socket.receive())
        environ["hubbub.set_deadline"](0.05)
        socket.receive()
        return []

    client = raw(serve(application, limits=Limits(request_seconds=0.1)))
    hubbub.sleep(0.3)
    client.send(peers.frame(1, b"after the time"))
    assert client.frame() == (0x81, b"after the time")
    assert client.closing() == 1011


def test_wait_closed(serve: Any, raw: Any, peers: Any) -> None:
    """``wait_closed`` returns when the client has closed; messages before that are kept."""
    app = held()
    client = raw(serve(app.application))
    socket = app.opened.get(timeout=SECONDS)
    with pytest.raises(TimeoutError):
        socket.wait_closed(timeout=0.01)
    waiter = hubbub.spawn(socket.wait_closed)
    client.send(peers.frame(1, b"kept") + peers.close_frame(1000))
    waiter.get(timeout=SECONDS)
    assert socket.receive() == "kept"
    app.done.set()


# Logs ---------------------------------------------------------------------------------------------------------------


def test_access_log(serve: Any, raw: Any, peers: Any) -> None:
    """A WebSocket is one line, with 101 and the size of what was sent, when it has ended."""
    log = io.StringIO()
    client = raw(serve(echo, log=log))
    client.send(peers.frame(1, b"12345") + peers.close_frame(1000))
    assert client.closing() == 1000
    client.client.rest()
    hubbub.sleep(0.01)
    assert '"GET / HTTP/1.1" 101 5 ' in log.getvalue()
    assert log.getvalue().count("\n") == 1


def test_events(serve: Any, raw: Any, peers: Any) -> None:
    """There is an event when a WebSocket is opened, and one when it has ended."""
    stream = io.StringIO()
    client = raw(serve(echo, events=EventLog(stream), request_ids=True), peers.request("/feed"))
    assert b"\r\nX-Request-ID: " in client.head
    client.send(peers.frame(1, b"12345") + peers.close_frame(1000, b"bye"))
    assert client.closing() == 1000
    hubbub.sleep(0.01)
    events = [json.loads(line) for line in stream.getvalue().splitlines()]
    opened, closed = (event for event in events if event["event"].startswith("websocket"))
    assert (opened["target"], opened["compressed"], opened["subprotocol"]) == ("/feed", False, None)
    assert (closed["event"], closed["code"], closed["reason"]) == ("websocket_closed", 1000, "bye")
    assert (closed["messages_received"], closed["messages_sent"]) == (1, 1)
    assert opened["request_id"] == closed["request_id"] is not None


# Origin and broadcast -----------------------------------------------------------------------------------------------


ORIGINS: list[tuple[str | None, list[str], bool]] = [
    (None, [], True),
    ("http://x", [], True),
    ("http://X:80", [], True),
    ("https://x", [], False),
    ("http://x:8080", [], False),
    ("http://evil", [], False),
    ("null", [], False),
    ("http://x.evil", [], False),
    ("http://x@evil", [], False),
    ("https://a.example", ["https://a.example"], True),
    ("https://a.example:443", ["https://a.example"], True),
    ("https://a.example:8443", ["https://a.example"], False),
    ("https://b.example", ["https://a.example"], False),
]


@pytest.mark.parametrize(("origin", "allowed", "passes"), ORIGINS)
def test_origin(serve: Any, connect: Any, peers: Any, origin: str | None, allowed: list[str], passes: bool) -> None:
    """Pages of the site itself and of the origins that are named may open one, others get 403."""

    def application(environ: Any, start_response: Any) -> list[bytes]:
        websocket.check_origin(environ, allowed)
        return echo(environ, start_response)

    client = connect(serve(application))
    client.send(peers.request(Origin=origin))
    assert int(client.until(b"\r\n\r\n").split()[1]) == (101 if passes else 403)


def test_allowed_origins_are_checked() -> None:
    """What is no origin is not silently allowed to nobody."""
    for wrong in ("example.com", "https://", "https://a/b"):
        with pytest.raises(ValueError, match="scheme"):
            websocket.check_origin({}, [wrong])


def test_broadcast(serve: Any, peer: Any) -> None:
    """A message reaches all, whether they compress or not, before and after messages of their own."""
    sockets: list[Any] = []

    def application(environ: Any, start_response: Any) -> list[bytes]:
        socket = environ["hubbub.websocket"]()
        sockets.append(socket)
        for message in socket:
            socket.send(message)
        return []

    server = serve(application)
    clients = [peer(server, compress=compress) for compress in (False, True, True)]
    text = "one of those that repeat themselves, themselves, themselves, and again themselves " * 3
    for number in range(5):
        for client in clients:
            client.send(text + str(number))
            assert client.receive() == text + str(number)
        assert websocket.broadcast(sockets, text) == []
        assert websocket.broadcast(sockets, "short") == []
        assert [[client.receive(), client.receive()] for client in clients] == [[text, "short"]] * 3
    assert clients[0].close() == 1000
    assert websocket.broadcast(sockets, b"x") == sockets[:1]
    with pytest.raises(TypeError):
        websocket.broadcast(sockets, 1)


def test_broadcast_to_the_slow(serve: Any, raw: Any) -> None:
    """A client that does not read is left out, and the caller is told; nobody waits for it."""
    app = held()
    raw(serve(app.application, limits=Limits(websocket_queue_bytes=1000)))
    socket = app.opened.get(timeout=SECONDS)
    while not websocket.broadcast([socket], bytes(60000)):
        pass
    assert not socket.closed
    app.done.set()


def test_tls(serve: Any, certificate: Any, peers: Any) -> None:
    """All of it over TLS, with a client that reads late."""
    from hubbub_net import socket as net_socket
    from hubbub_net import ssl

    authority, issued = certificate
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issued.configure_cert(context)
    server = serve(echo, ssl_context=context, limits=Limits(websocket_queue_bytes=10000))
    client_context = ssl.create_default_context()
    authority.configure_trust(client_context)
    sock = client_context.wrap_socket(net_socket.create_connection(server.address), server_hostname="localhost")
    sock.settimeout(SECONDS)
    client = SimpleNamespace(sock=sock, received=b"", send=sock.sendall)
    peer = peers.Peer(client, compress=True)
    sender = hubbub.spawn(lambda: [peer.send(bytes([number]) * 100000) for number in range(50)])
    hubbub.sleep(0.05)
    assert [peer.receive()[:1] for _ in range(50)] == [bytes([number]) for number in range(50)]
    sender.get(timeout=SECONDS)
    assert peer.close() == 1000
    sock.close()
