"""When there is no room for another client: who goes, and who does not."""

from __future__ import annotations

import errno
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import hubbub
import pytest
from hubbub_server.http import room

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
SLOW = b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n"


class Site:
    """An application with a page that takes as long as a test wants."""

    def __init__(self) -> None:
        self.go = hubbub.Event()
        self.running = 0

    def __call__(self, environ: Any, start_response: Any) -> list[bytes]:
        if environ["PATH_INFO"] == "/slow":
            self.running += 1
            self.go.wait()
        start_response("200 OK", [])
        return [b"ok"]


@pytest.fixture
def site() -> Site:
    return Site()


def ask(client: Any, request: bytes = GET) -> int:
    client.send(request)
    status: int = client.response().status
    return status


def ended(client: Any) -> bool:
    """Whether the server has closed the connection."""
    client.sock.settimeout(0.05)
    try:
        return bool(client.sock.recv(1) == b"")
    except TimeoutError:
        return False
    finally:
        client.sock.settimeout(10.0)


def test_the_one_idle_for_longest_goes(serve: Any, connect: Any, site: Site) -> None:
    """With as many connections as there may be, the one idle for longest is closed for a new one, and only that."""
    server = serve(site, spawn=4)
    clients = [connect(server) for _ in range(4)]
    for index in (2, 0, 3, 1):  # idle in this order, not in that of their coming
        assert ask(clients[index]) == 200
        hubbub.sleep(0.01)
    assert ask(clients[2]) == 200  # and this one once more
    assert ask(connect(server)) == 200
    assert [ended(client) for client in clients] == [True, False, False, False]
    assert ask(connect(server)) == 200
    assert [ended(client) for client in clients[1:]] == [False, False, True]


def test_nobody_goes_without_need(serve: Any, connect: Any, site: Site) -> None:
    """As long as nobody waits for the place, idle connections stay."""
    server = serve(site, spawn=3)
    clients = [connect(server) for _ in range(3)]
    assert [ask(client) for client in clients] == [200] * 3
    hubbub.sleep(0.3)
    assert [ask(client) for client in clients] == [200] * 3


def test_who_has_said_nothing_is_idle(serve: Any, connect: Any, site: Site) -> None:
    """Clients that connect and are silent do not keep others out."""
    server = serve(site, spawn=4)
    for _ in range(20):
        connect(server)
    assert ask(connect(server)) == 200


def test_a_request_under_way_stays(serve: Any, connect: Any, site: Site) -> None:
    """A connection with a request under way is never closed for another, whatever part of it is under way."""
    server = serve(site, spawn=4)
    waiting, sending, receiving, idle = (connect(server) for _ in range(4))
    waiting.send(SLOW)
    sending.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhe")
    receiving.send(b"GET / HT")
    while not site.running:
        hubbub.sleep(0.01)
    for _ in range(5):
        assert ask(idle) == 200
        other = connect(server)
        assert ask(other) == 200
        assert ended(idle)
        idle = other
    receiving.send(b"TP/1.1\r\nHost: x\r\n\r\n")
    assert receiving.response().status == 200
    sending.send(b"llo")
    assert sending.response().status == 200
    site.go.set()
    assert waiting.response().status == 200


def test_when_nobody_is_idle(serve: Any, connect: Any, site: Site) -> None:
    """A client for whom there is no room waits, and is served once a connection ends or becomes idle."""
    server = serve(site, spawn=2)
    running = [connect(server) for _ in range(2)]
    for client in running:
        client.send(SLOW)
    while site.running < 2:
        hubbub.sleep(0.01)
    waiting = connect(server)
    waiting.send(GET)
    assert not ended(waiting)
    site.go.set()
    assert waiting.response().status == 200
    assert [client.response().status for client in running] == [200, 200]


def test_a_request_that_has_arrived_is_served(serve: Any, connect: Any, site: Site) -> None:
    """A connection that looks idle, but on which a request waits to be read, is not closed."""
    server = serve(site)
    quick = connect(server)
    assert ask(quick) == 200
    (connection,) = server.connections
    quick.send(GET)
    deadline = time.monotonic() + 5
    while not connection._has_arrived():  # natively: nobody runs meanwhile
        assert time.monotonic() < deadline
    assert connection.idle
    assert not connection.retire()
    assert quick.response().status == 200
    hubbub.sleep(0)
    assert connection.retire()
    assert quick.rest() == b""


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
def test_accept_that_finds_no_room(
    serve: Any, connect: Any, site: Site, failures: list[BaseException], monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """When the system has no room for a connection, one that is idle is closed, without an error report."""
    server = serve(site)
    oldest, other = connect(server), connect(server)
    assert ask(oldest) == ask(other) == 200
    real = server.do_read
    refusals = [number]

    def do_read() -> Any:
        connection = real()
        if refusals:
            connection[0].close()
            raise OSError(refusals.pop(), os.strerror(number))
        return connection

    monkeypatch.setattr(server, "do_read", do_read)
    for _ in range(2):  # the acceptor waits in the old one still
        connect(server)
    assert oldest.rest() == b""
    assert ask(other) == 200
    assert failures == []


def test_stalled_handshakes(serve: Any, connect: Any, certificate: Any, site: Site) -> None:
    """TLS handshakes that stand still count as idle after a while; those that go on do not."""
    net = pytest.importorskip("hubbub_net.ssl")
    authority, leaf = certificate
    context, trusting = net.SSLContext(net.PROTOCOL_TLS_SERVER), net.SSLContext(net.PROTOCOL_TLS_CLIENT)
    leaf.configure_cert(context)
    authority.configure_trust(trusting)
    server = serve(site, spawn=4, ssl_context=context)
    server.handshake_patience = 0.2
    began = time.monotonic()
    stalled = [connect(server) for _ in range(4)]
    client = connect(server)
    client.sock = trusting.wrap_socket(client.sock, server_hostname="localhost")
    assert ask(client) == 200
    assert 0.1 < time.monotonic() - began < 40
    assert sum(ended(one) for one in stalled) == 1


def test_memory(serve: Any, connect: Any, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """With more memory in use than may be, idle connections are closed, those idle for longest first."""
    used = [0]
    monkeypatch.setattr(room, "_memory", lambda: used[0])
    server = serve(site, max_memory=1000)
    clients = [connect(server) for _ in range(8)]
    busy = connect(server)
    busy.send(SLOW)
    for client in clients:
        assert ask(client) == 200
        hubbub.sleep(0.002)
    used[0] = 2000
    assert clients[0].rest() == b""
    used[0] = 0
    assert sum(ended(client) for client in clients[1:]) <= 2
    assert ask(clients[-1]) == 200
    site.go.set()
    assert busy.response().status == 200


def test_memory_is_measured() -> None:
    """What is compared with the limit is what the process has resident."""
    before = room._memory()
    if not before:
        pytest.skip("this system does not tell")
    block = bytearray(os.urandom(1) * 50_000_000)
    assert room._memory() - before > 40_000_000
    del block


APPLICATION = """
def app(environ, start_response):
    open(__file__).close()  # applications need descriptors too
    start_response("200 OK", [])
    return [b"ok"]
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits on descriptors")
@pytest.mark.parametrize("limited", [[], ["--max-connections", "60"]], ids=["descriptors", "max-connections"])
def test_no_descriptors(tmp_path: Path, loop_name: str, limited: list[str]) -> None:
    """Idle clients that take all descriptors there are keep nobody out, and no request fails for want of one."""
    (tmp_path / "site_app.py").write_text(APPLICATION)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    command = [sys.executable, "-m", "hubbub_server", "site_app:app", "-b", f"127.0.0.1:{port}", "--loop", loop_name]
    command += ["--no-monkey", "--access-log", "none", *limited]
    limit = 1024 if limited else 128

    def lower() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))

    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, preexec_fn=lower) as process:
        clients = []
        try:
            assert process.stderr is not None
            assert b"http://" in process.stderr.readline()
            for _ in range(300):
                client = socket.create_connection(("127.0.0.1", port), 10)
                clients.append(client)
                client.sendall(GET)
                began = time.monotonic()
                assert client.recv(1000).startswith(b"HTTP/1.1 200 OK")
                assert time.monotonic() - began < 30
            opened = len(os.listdir(f"/proc/{process.pid}/fd")) if Path("/proc/self/fd").exists() else 0
            assert opened < (100 if limited else limit)
            assert clients[0].recv(1) == b""
            clients[-1].sendall(GET)
            assert clients[-1].recv(1000).startswith(b"HTTP/1.1 200 OK")
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
            assert process.stderr.read() == b""
        finally:
            process.kill()
            for client in clients:
                client.close()
