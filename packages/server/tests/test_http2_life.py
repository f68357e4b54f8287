"""HTTP/2: the beginning and the end of connections, proxies, other clients."""

from __future__ import annotations

import io
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hubbub
import pytest
from hubbub_server import Limits, WSGIServer
from hubbub_server.events import EventLog
from hubbub_server.http import room

NO_STREAM = 2**31 - 1
GOAWAY = 7


def slow(environ: Any, start_response: Any) -> list[bytes]:
    """Takes a moment."""
    hubbub.sleep(0.1 if environ["PATH_INFO"] == "/" else float(environ["PATH_INFO"][1:]))
    start_response("200 OK", [])
    return [b"done"]


def test_stop(serve: Any, http2: Any) -> None:
    """A server that stops says so, serves what is on its way, says what was the last of that, and ends when it has."""
    server = serve(slow, http2=True)
    busy, idle = http2(server), http2(server)
    busy.request(1, path="/1.2")
    idle.still_there()
    busy.still_there()
    stopping = hubbub.spawn(server.stop, 5.0)
    for peer in (busy, idle):
        while not peer.goaways:
            assert peer.next() is not None
        assert peer.goaways == [(NO_STREAM, 0)]
    busy.request(3)  # it has not seen the first GOAWAY yet
    busy.send(b"\0\0\x08\x06\x01\0\0\0\0" + busy.pings[-1])
    busy.until(GOAWAY)
    assert busy.goaways[-1] == (3, 0)
    busy.request(5)
    assert busy.answer(5).reset == 7  # REFUSED_STREAM
    assert [busy.answer(stream).body for stream in (1, 3)] == [b"done", b"done"]
    idle.rest()
    busy.rest()
    assert {code for peer in (busy, idle) for _, code in peer.goaways} == {0}
    assert stopping.get(timeout=5) is None


def test_stop_while_requests_run(serve: Any, http2: Any) -> None:
    """Clients who take nothing after a GOAWAY lose no request that ends in half of the time for the stop: it is said
    when no request runs. Those who are never idle are told when that time is over."""
    server = serve(slow, http2=True, limits=Limits(header_seconds=0.2))
    patient, busy = http2(server), http2(server)
    patient.request(1, path="/1.2")
    busy.request(1, path="/9")
    patient.still_there()
    busy.still_there()
    stopping = hubbub.spawn(server.stop, 4.0)
    assert patient.answer(1).body == b"done"
    assert patient.goaways == []
    patient.rest()
    assert patient.goaways[0] == (NO_STREAM, 0)
    while not busy.goaways:
        assert busy.next() is not None
    assert 1 not in busy.answers
    stopping.get(timeout=10)


def test_stop_without_an_answer(serve: Any, http2: Any) -> None:
    """A client that does not answer the PING is waited for as long as an idle one of HTTP/1.1, and no longer."""
    server = serve(slow, http2=True)
    peer = http2(server)
    peer.request(1, path="/1.0")
    peer.still_there()
    began = time.monotonic()
    stopping = hubbub.spawn(server.stop, 100.0)
    assert peer.answer(1).body == b"done"
    peer.rest()
    assert [last for last, _ in peer.goaways[:2]] == [NO_STREAM, 1]
    stopping.get(timeout=40)
    assert time.monotonic() - began < 40


def test_stop_kills(serve: Any, http2: Any) -> None:
    """What has not ended in time is killed: 503 if nothing was sent, and all of it is over."""

    def application(environ: Any, start_response: Any) -> Any:
        write = start_response("200 OK", [])
        if environ["PATH_INFO"] == "/begun":
            write(b"x")
        hubbub.sleep(30)
        return []

    server = serve(application, http2=True)
    peer = http2(server)
    peer.request(1, path="/begun")
    peer.request(3)
    peer.until(0, 1)
    stopping = hubbub.spawn(server.stop, 0.1)
    assert peer.answer(3).status == 503
    assert peer.answer(1).reset == 8
    peer.rest()
    stopping.get(timeout=5)
    assert not server.handlers


def test_requests_per_connection(serve: Any, http2: Any) -> None:
    """After so many requests the connection ends in good order."""
    peer = http2(serve(http2=True, limits=Limits(requests_per_connection=3)))
    for stream in (1, 3, 5):
        assert peer.goaways == []
        peer.request(stream)
        assert peer.answer(stream).body == b"hello"
    peer.until(GOAWAY)
    peer.send(b"\0\0\x08\x06\x01\0\0\0\0" + peer.pings[-1])
    peer.rest()
    assert [last for last, _ in peer.goaways][:2] == [NO_STREAM, 5]


def test_client_that_is_gone(serve: Any, http2: Any) -> None:
    """When a client is gone, whoever reads or writes for it learns it, and nothing is left."""
    outcome: list[str] = []

    def application(environ: Any, start_response: Any) -> Any:
        try:
            if environ["REQUEST_METHOD"] == "POST":
                environ["wsgi.input"].read()
            write = start_response("200 OK", [])
            while True:
                write(b"x" * 10000)
        except ConnectionError as error:
            outcome.append(str(error))
            raise

    server = serve(application, http2=True)
    peer = http2(server)
    peer.request(1, "POST", end=False)
    peer.request(3)
    peer.until(0, 3)
    peer.sock.close()
    with hubbub.Timeout(5):
        while server.handlers:
            hubbub.sleep(0.01)
    assert len(outcome) == 2
    assert all("closed the connection" in text for text in outcome)


def test_room(serve: Any, http2: Any, connect: Any) -> None:
    """An idle connection gives way to a new client; one with a request does not."""
    server = serve(slow, http2=True, spawn=2)
    idle, busy = http2(server), http2(server)
    idle.request(1)
    assert idle.answer(1).body == b"done"
    busy.request(1, path="/0.5")
    busy.still_there()
    client = connect(server)
    client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert client.response().body == b"done"
    idle.rest()
    assert idle.goaways == [(1, 0)]
    assert busy.answer(1).body == b"done"


def test_memory(serve: Any, http2: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With more memory in use than may be, connections without streams say goodbye and go; one with a request stays."""
    used = [0]
    monkeypatch.setattr(room, "_memory", lambda: used[0])
    server = serve(slow, http2=True, max_memory=1000)
    busy, *idle = (http2(server) for _ in range(3))
    for peer in idle:
        peer.request(1, path="/0")
        assert peer.answer(1).body == b"done"
    busy.request(1, path="/1.5")
    busy.still_there()
    used[0] = 2000
    for peer in idle:
        peer.rest()
        assert peer.goaways == [(1, 0)]
    assert busy.answer(1).body == b"done"


def secure_peer(certificate: Any, server: Any, http2: Any, protocols: list[str]) -> Any:
    ssl = pytest.importorskip("hubbub_net.ssl")
    context = ssl.create_default_context()
    certificate[0].configure_trust(context)
    context.set_alpn_protocols(protocols)
    sock = hubbub.io.Socket()
    sock.settimeout(10)
    sock.connect(server.address)
    return context.wrap_socket(sock, server_hostname="localhost")


def secure(serve: Any, certificate: Any, protocols: list[str], application: Any = slow) -> WSGIServer:
    ssl = pytest.importorskip("hubbub_net.ssl")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate[1].configure_cert(context)
    context.set_alpn_protocols(protocols)
    made: WSGIServer = serve(application, http2=True, ssl_context=context)
    return made


def test_tls(serve: Any, http2: Any, certificate: Any) -> None:
    """Over TLS the client chooses by ALPN; a large response comes whole, and the scheme is https."""

    def application(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("X-Scheme", environ["wsgi.url_scheme"])])
        return [b"x" * 300000]

    server = secure(serve, certificate, ["h2", "http/1.1"], application)
    peer = http2(server, sock=secure_peer(certificate, server, http2, ["h2", "http/1.1"]), settings={4: 1 << 20})
    assert peer.sock.selected_alpn_protocol() == "h2"
    peer.request(1)
    peer.open_windows(1, 1 << 20)
    answer = peer.answer(1)
    assert (answer.headers["x-scheme"], answer.body) == ("https", b"x" * 300000)
    old = secure_peer(certificate, server, http2, ["http/1.1"])
    old.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert old.recv(100).startswith(b"HTTP/1.1 200 OK")
    old.close()


def test_tls_without_the_preface(serve: Any, http2: Any, certificate: Any) -> None:
    """Who has chosen HTTP/2 must speak it."""
    server = secure(serve, certificate, ["h2"])
    peer = http2(server, sock=secure_peer(certificate, server, http2, ["h2"]), begins=False)
    peer.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    peer.rest()
    assert peer.goaways == [(0, 1)]


def test_proxy_protocol(serve: Any, http2: Any) -> None:
    """The header of a proxy comes before the preface, and its client is the client of all streams."""

    def application(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [f"{environ['REMOTE_ADDR']} {environ['hubbub.peer'][0]}".encode()]

    peer = http2(serve(application, http2=True, proxy_from=["127.0.0.0/8"]), begins=False)
    peer.send(b"PROXY TCP4 192.0.2.1 192.0.2.2 1000 80\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + peer.settings({}))
    for stream in (1, 3):
        peer.request(stream)
        assert peer.answer(stream).body == b"192.0.2.1 127.0.0.1"


def test_forwarded(serve: Any, http2: Any) -> None:
    """Fields of a proxy that is believed are heeded for each stream; what is not valid is refused."""

    def application(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [f"{environ['REMOTE_ADDR']} {environ['wsgi.url_scheme']}".encode()]

    peer = http2(serve(application, http2=True, forwarded_from=["127.0.0.1"]))
    peer.request(1, x_forwarded_for="192.0.2.1", x_forwarded_proto="https")
    peer.request(3, x_forwarded_proto="gopher")
    assert peer.answer(1).body == b"192.0.2.1 https"
    assert peer.answer(3).status == 400


def test_events(serve: Any, http2: Any) -> None:
    """Events of requests and failures name their stream."""

    def application(environ: Any, start_response: Any) -> list[bytes]:
        if environ["PATH_INFO"] == "/fails":
            raise ValueError("failed")
        start_response("200 OK", [])
        return [b"ok"]

    stream = io.StringIO()
    peer = http2(serve(application, http2=True, events=EventLog(stream), log=None))
    peer.request(1)
    peer.request(3, path="/fails")
    for number in (1, 3):
        peer.answer(number)
    events = [json.loads(line) for line in stream.getvalue().splitlines()]
    found = {(event["event"], event.get("stream")) for event in events}
    assert {("request", 1), ("request", 3), ("exception", 3)} <= found


def test_fields_of_lent_request(serve: Any, http2: Any) -> None:
    """An adapter for another interface finds the fields as they were sent, and the end of the client."""
    seen: list[Any] = []

    class Application:
        wants_request = True

        def __call__(self, environ: Any, start_response: Any) -> list[bytes]:
            request = environ["hubbub.request"]
            seen.append(request.fields())
            seen.append(request.read())
            seen.append(request.body_done)
            seen.append(request.wait_end())
            start_response("200 OK", [])
            return []

    peer = http2(serve(Application(), http2=True))
    peer.request(1, "POST", end=False, a="b", c="d")
    peer.data(1, b"body", end=True)
    with hubbub.Timeout(5):
        while len(seen) < 3:
            hubbub.sleep(0.01)
        peer.send(b"\0\0\4\x03\0\0\0\0\1\0\0\0\x08")
        while len(seen) < 4:
            hubbub.sleep(0.01)
    assert seen == [[(b"host", b"x"), (b"a", b"b"), (b"c", b"d")], b"body", True, True]


def test_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without h2 the error says what to install; and without the option nothing of it is loaded."""
    code = (
        "import sys; sys.modules['h2'] = None\n"
        "from hubbub_server import WSGIServer\n"
        "WSGIServer(('127.0.0.1', 0), print)\n"
        "assert 'hpack' not in sys.modules\n"
        "try: WSGIServer(('127.0.0.1', 0), print, http2=True)\n"
        "except ImportError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "HTTP/2 needs the package h2: install hubbub-server[http2]\n"


SITE = """
import os
import hubbub_monkey

def app(environ, start_response):
    import time
    time.sleep(float(environ["QUERY_STRING"] or 0))
    start_response("200 OK", [])
    return [f"{os.getpid()} {environ['SERVER_PROTOCOL']}".encode()]
"""


def test_reload(tmp_path: Path) -> None:
    """hubbub-serve serves HTTP/2, and loses no request of it when its workers are replaced."""
    httpx = pytest.importorskip("httpx")
    (tmp_path / "site_app.py").write_text(SITE)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "hubbub_server", "site_app:app", "-b", f"127.0.0.1:{port}", "-w", "1", "--http2"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            _ask_until_replaced(httpx, f"http://127.0.0.1:{port}/?0.01", process)
        finally:
            process.send_signal(signal.SIGTERM)
            process.stderr.close()
            process.wait(20)


def _ask_until_replaced(httpx: Any, url: str, process: Any) -> None:
    with httpx.Client(http1=False, http2=True, timeout=20) as client:
        deadline = time.monotonic() + 60
        while True:
            try:
                first = client.get(url).text
                break
            except httpx.ConnectError:
                assert time.monotonic() < deadline
                time.sleep(0.1)
        assert first.endswith(" HTTP/2")
        process.send_signal(signal.SIGHUP)
        answer = first
        while answer == first:
            assert time.monotonic() < deadline
            try:
                answer = client.get(url).text
            except httpx.RemoteProtocolError as error:
                # A notice that this is to be the last connection, to which httpx has not listened before it sent its
                # request: it gives up although all streams are served.
                assert "error_code:0, last_stream_id:2147483647" in str(error)  # noqa: PT017


def test_asgi(serve: Any, http2: Any) -> None:
    """An ASGI application is served in the same way, streams being its requests."""
    asgi = pytest.importorskip("hubbub_asyncio.asgi")
    gone: list[str] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        assert scope["http_version"] == "2"
        body = (await receive())["body"]
        if scope["path"] == "/wait":
            gone.append((await receive())["type"])
            return
        fields = [(b"x-host", dict(scope["headers"])[b"host"])]
        await send({"type": "http.response.start", "status": 200, "headers": fields})
        await send({"type": "http.response.body", "body": body + b"!", "more_body": True})
        await send({"type": "http.response.body", "body": b"?"})

    peer = http2(serve(asgi.ASGI(application), http2=True))
    peer.request(1, path="/wait")
    peer.request(3, "POST", end=False)
    peer.data(3, b"body", end=True)
    answer = peer.answer(3)
    assert (answer.headers["x-host"], answer.body) == ("x", b"body!?")
    peer.send(b"\0\0\4\x03\0\0\0\0\1\0\0\0\x08")
    with hubbub.Timeout(5):
        while not gone:
            hubbub.sleep(0.01)
    assert gone == ["http.disconnect"]


def test_asgi_websocket(serve: Any, http2: Any, peers: Any) -> None:
    """An ASGI application has WebSockets over HTTP/2 as it has them over HTTP/1.1, and learns of their ends."""
    asgi = pytest.importorskip("hubbub_asyncio.asgi")
    seen: list[Any] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope["type"], scope["http_version"], scope["path"], scope["subprotocols"]))
        seen.append((await receive())["type"])
        await send({"type": "websocket.accept", "subprotocol": "chat"})
        while (event := await receive())["type"] == "websocket.receive":
            await send(
                {"type": "websocket.send", **({"text": event["text"]} if event.get("text") else {"bytes": b"b"})}
            )
        seen.append((event["type"], event["code"]))

    opening = peers.request("/room", Sec_WebSocket_Protocol="other, chat")
    client = peers.Raw(peers.Tunnel(http2(serve(asgi.ASGI(application), http2=True))), opening)
    assert b"sec-websocket-protocol: chat\r\n" in client.head
    client.send(peers.frame(1, b"hello") + peers.frame(2, b"x"))
    assert [client.frame(), client.frame()] == [(0x81, b"hello"), (0x82, b"b")]
    client.send(peers.close_frame(1000))
    assert client.closing() == 1000
    with hubbub.Timeout(5):
        while len(seen) < 3:
            hubbub.sleep(0.001)
    assert seen == [
        ("websocket", "2", "/room", ["other", "chat"]), "websocket.connect", ("websocket.disconnect", 1000)
    ]  # fmt: skip


def mutated(source: random.Random, data: bytes, encode: Callable[[int], bytes]) -> bytes:
    """``data`` with something changed, taken out, put in or repeated."""
    made = bytearray(data)
    for _ in range(source.randrange(1, 4)):
        place = source.randrange(len(made) + 1)
        match source.randrange(5):
            case 0:
                made[place : place + 1] = bytes([source.randrange(256)])
            case 1:
                del made[place : place + source.randrange(20)]
            case 2:
                made[place:place] = encode(source.randrange(10))
            case 3:
                made[place:place] = made[place : place + source.randrange(40)]
            case _:
                made[place:place] = source.randbytes(source.randrange(12))
    return bytes(made)


def test_fuzz(serve: Any, http2: Any, errors: io.StringIO, failures: list[BaseException]) -> None:
    """Whatever is sent, the server ends the connection or goes on: nothing fails, nothing is left, others go on."""
    seed = int(os.environ.get("HUBBUB_HTTP2_SEED", "9113"))
    rounds = int(os.environ.get("HUBBUB_HTTP2_ROUNDS", "150"))
    source = random.Random(seed)
    limits = Limits(linger_seconds=0.02, header_seconds=0.3, body_seconds=0.3, idle_seconds=0.3, write_seconds=0.3)

    def application(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        return [environ["wsgi.input"].read() + b"x" * 70000]

    server = serve(application, http2=True, limits=limits)
    peer = http2(server, begins=False)
    block = peer.block_of([(":method", "POST"), (":scheme", "http"), (":authority", "x"), (":path", "/"), ("a", "b")])

    def encode(kind: int) -> bytes:
        stream = source.choice([0, 1, 1, 3, 3, 5, 2])
        payload = block if kind in (1, 9) else source.randbytes(source.choice([0, 4, 5, 6, 8, 12]))
        flags = source.choice([0, 1, 4, 5, source.randrange(256)])
        return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload

    good = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + peer.settings({3: 100}) + b"".join(
        len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload
        for kind, flags, stream, payload in (
            *((1, 4, 1, block), (0, 0, 1, b"body"), (1, 5, 3, block), (8, 0, 0, b"\0\1\0\0"), (8, 0, 3, b"\0\1\0\0")),
            *((6, 0, 0, b"12345678"), (0, 1, 1, b"more"), (3, 0, 3, b"\0\0\0\x08"), (1, 5, 5, block), (4, 1, 0, b"")),
        )
    )  # fmt: skip
    peer.sock.close()
    for _ in range(rounds):
        client = hubbub.io.Socket()
        client.settimeout(5)
        client.connect(server.address)
        try:
            client.sendall(mutated(source, good, encode))
            client.shutdown(socket.SHUT_WR)
            while client.recv(65536):
                pass
        except ConnectionError:
            pass  # a reset is as good an end as any
        finally:
            client.close()
    with hubbub.Timeout(5):
        while server.handlers:
            hubbub.sleep(0.01)
    assert errors.getvalue() == "", seed
    assert failures == [], seed
    other = http2(server)
    other.request(1, "POST", end=False)
    other.data(1, b"still there", end=True)
    other.open_windows(1, 100000)
    assert other.answer(1).body[:11] == b"still there"
