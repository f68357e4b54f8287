"""Stream servers: TCP, UNIX sockets, TLS."""

from __future__ import annotations

import errno
import os
import pwd
import socket
import ssl
import stat
from pathlib import Path
from typing import Any

import hubbub
import pytest
from hubbub.io import Socket
from hubbub.pool import Pool
from hubbub_server import StreamServer
from hubbub_server.baseserver import BaseServer


def echo(sock: Any, address: Any) -> None:
    while data := sock.recv(65536):
        sock.sendall(data)


def test_echo(hub: Any, connect: Any) -> None:
    """What a client sends reaches the handler, and what the handler sends reaches the client."""
    with StreamServer(("127.0.0.1", 0), echo) as server, connect(server) as client:
        client.send(b"ping")
        assert client.until(b"ping") == b"ping"


def test_closes_after_the_handler(hub: Any, connect: Any) -> None:
    """The connection is closed when the handler has returned."""
    with StreamServer(("127.0.0.1", 0), lambda sock, address: sock.sendall(b"bye")) as server:
        assert connect(server).rest() == b"bye"


def test_closes_after_a_failure(hub: Any, failures: Any, connect: Any) -> None:
    """A handler that fails is reported once, and its connection is closed."""
    with StreamServer(("127.0.0.1", 0), lambda sock, address: 1 // 0) as server:
        assert connect(server).rest() == b""
    assert [type(error) for error in failures] == [ZeroDivisionError]


def test_address_of_the_client(hub: Any, connect: Any) -> None:
    """The handler is told the address of the client."""
    seen: list[Any] = []
    with StreamServer(("127.0.0.1", 0), lambda sock, address: seen.append(address)) as server:
        client = connect(server)
        mine = client.sock.getsockname()
        client.rest()
    assert seen == [mine]


def test_unix(hub: Any, connect: Any, tmp_path: Path) -> None:
    """A server listens on a UNIX socket, and takes the place of one whose process has gone."""
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(path)
    with StreamServer(f"unix:{path}", echo) as server:
        client = connect(path)
        client.send(b"ping")
        assert client.until(b"ping") == b"ping"
        client.sock.close()  # the server waits for it at the end
        assert server.server_port is None


def test_unix_in_use(hub: Any, tmp_path: Path) -> None:
    """A UNIX socket that somebody listens on is not taken away."""
    path = str(tmp_path / "socket")
    with StreamServer(f"unix:{path}", echo), pytest.raises(OSError) as caught:
        StreamServer(f"unix:{path}", echo).start()
    assert caught.value.errno == errno.EADDRINUSE


def test_port_in_use(hub: Any) -> None:
    """A port in use is named in the error, and the server ends closed."""
    with StreamServer(("127.0.0.1", 0), echo) as first:
        second = StreamServer(first.address, echo)
        with pytest.raises(OSError, match=str(first.server_port)) as caught:
            second.start()
    assert caught.value.errno == errno.EADDRINUSE
    assert second.closed


@pytest.mark.parametrize(
    ("written", "family", "address"),
    [
        (("127.0.0.1", 80), socket.AF_INET, ("127.0.0.1", 80)),
        (("127.0.0.1", "80"), socket.AF_INET, ("127.0.0.1", 80)),
        (("", 80), socket.AF_INET6, ("", 80)),
        (("::1", 80), socket.AF_INET6, ("::1", 80)),
        (("fe80::1", 80, 0, 2), socket.AF_INET6, ("fe80::1", 80, 0, 2)),
        (80, socket.AF_INET6, ("", 80)),
        ("80", socket.AF_INET6, ("", 80)),
        (":80", socket.AF_INET, ("", 80)),
        ("*:80", socket.AF_INET, ("", 80)),
        ("localhost:80", socket.AF_INET, ("localhost", 80)),
        ("127.0.0.1:0", socket.AF_INET, ("127.0.0.1", 0)),
        ("[::1]:80", socket.AF_INET6, ("::1", 80)),
        ("[::]:80", socket.AF_INET6, ("::", 80)),
        ("unix:/run/x", socket.AF_UNIX, "/run/x"),
        ("unix:relative", socket.AF_UNIX, "relative"),
    ],
)
def test_addresses(hub: Any, written: Any, family: int, address: Any) -> None:
    """Addresses are understood in all the forms in which people write them."""
    server = StreamServer(written, echo)
    assert (server.family, server.address) == (family, address)


@pytest.mark.parametrize(
    ("written", "kind"),
    [
        ("nonsense", ValueError), ("127.0.0.1", ValueError), ("::1:80", ValueError), ("[::1]", ValueError),
        ("x:65536", ValueError), ("x:-1", ValueError), ("x: 80", ValueError), ("x:80\n", ValueError), ("", ValueError),
        ("unix:", ValueError), (65536, ValueError), (-1, ValueError), (("x",), ValueError), ((1, 80), ValueError),
        (("x", None), ValueError), (("x", "y"), ValueError), (True, TypeError), (None, TypeError), (b"x:80", TypeError),
        (["x", 80], TypeError),
    ],
)  # fmt: skip
def test_bad_addresses(hub: Any, written: Any, kind: type[Exception]) -> None:
    """What is no address is refused at once, and the error shows what was given."""
    with pytest.raises(kind) as caught:
        StreamServer(written, echo)
    assert "unix:" in str(caught.value) or repr(written) in str(caught.value)


@pytest.mark.parametrize("written", ["127.0.0.1:0", "localhost:0", ("127.0.0.1", 0), 0, ":0"])
def test_listens_where_it_is_told(hub: Any, connect: Any, written: Any) -> None:
    """A name is looked up; a bare port is reached over IPv4, whatever else it is reached over."""
    with StreamServer(written, echo) as server, connect(("127.0.0.1", server.server_port)) as client:
        assert server.server_port != 0
        client.send(b"ping")
        assert client.until(b"ping") == b"ping"


def test_reuse_port(hub: Any) -> None:
    """With reuse_port two servers listen on one port; without, the second is refused."""
    if not hasattr(socket, "SO_REUSEPORT"):
        pytest.skip("there is no SO_REUSEPORT")
    with StreamServer(("127.0.0.1", 0), echo, reuse_port=True) as first:
        with StreamServer(first.address, echo, reuse_port=True) as second:
            assert second.address == first.address
        with pytest.raises(OSError):
            StreamServer(first.address, echo).start()


class Flooded(BaseServer):
    """A server to which somebody always connects."""

    accepted = 0

    def do_read(self) -> tuple[Any, ...]:
        self.accepted += 1
        return (self.accepted,)


@pytest.mark.parametrize("spawn", ["default", None])
def test_accepting_is_fair(hub: Any, spawn: Any) -> None:
    """Others get their turn after max_accept connections, however many more wait."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = Flooded(listener, lambda number: None, spawn)
        server.max_accept = 10
        server.start()
        counts = []
        while len(counts) < 5 or not counts[-1]:
            hubbub.sleep(0)
            counts.append(server.accepted)
        server.stop()
    assert all(count % server.max_accept == 0 for count in counts)


def test_listening_socket(hub: Any, connect: Any) -> None:
    """A listening socket of the standard library is taken over, and closed with the server."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = StreamServer(listener, echo)
    with server, connect(server) as client:
        client.send(b"ping")
        assert client.until(b"ping") == b"ping"
    assert listener.fileno() == -1


def test_pool_limits(hub: Any, connect: Any) -> None:
    """With spawn=1 a second client is served when the first has left."""
    order: list[str] = []

    def handle(sock: Any, address: Any) -> None:
        order.append("begin")
        echo(sock, address)
        order.append("end")

    with StreamServer(("127.0.0.1", 0), handle, spawn=1) as server:
        first, second = connect(server), connect(server)
        first.send(b"1")
        first.until(b"1")
        second.send(b"2")
        hubbub.sleep(0.02)
        assert server.full
        assert order == ["begin"]
        first.sock.close()
        second.until(b"2")
        assert order == ["begin", "end", "begin"]
        second.sock.close()


@pytest.mark.parametrize("spawn", [hubbub.spawn_raw, hubbub.spawn, Pool, None], ids=str)
def test_spawn_forms(hub: Any, connect: Any, spawn: Any) -> None:
    """Handlers run in raw greenlets, in a pool, by a callable, or one after the other."""
    if spawn is Pool:
        spawn = Pool(3)
    with StreamServer(("127.0.0.1", 0), echo, spawn=spawn) as server:
        client = connect(server)
        client.send(b"ping")
        client.until(b"ping")
        client.sock.close()


@pytest.mark.parametrize("spawn", ["other", 1.5, True, object(), 0, -1], ids=repr)
def test_bad_spawn(hub: Any, spawn: object) -> None:
    """A spawn policy that means nothing, or with which nobody would be served, is refused."""
    with pytest.raises((TypeError, ValueError), match="spawn"):
        StreamServer(("127.0.0.1", 0), echo, spawn=spawn)


def test_stop_waits(hub: Any, connect: Any) -> None:
    """stop() lets handlers finish."""

    def handle(sock: Any, address: Any) -> None:
        hubbub.sleep(0.02)
        sock.sendall(b"done")

    server = StreamServer(("127.0.0.1", 0), handle)
    server.start()
    client = connect(server)
    hubbub.sleep(0.005)
    server.stop(5)
    assert client.rest() == b"done"


def test_stop_serves_the_backlog(hub: Any, connect: Any) -> None:
    """Connections that the kernel has accepted when stop() is called are served."""
    server = StreamServer(("127.0.0.1", 0), lambda sock, address: sock.sendall(b"done"))
    server.start()
    clients = [connect(server) for _ in range(20)]
    server.stop(5)
    assert [client.rest() for client in clients] == [b"done"] * 20


def test_stop_kills(hub: Any, connect: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Handlers that do not end in time are killed, and that is reported."""
    server = StreamServer(("127.0.0.1", 0), echo)
    server.start()
    client = connect(server)
    client.send(b"1")
    client.until(b"1")
    server.stop(0.01)
    assert client.rest() == b""
    assert "1 handler(s) still running" in capsys.readouterr().err


def test_serve_forever_ends(hub: Any) -> None:
    """serve_forever() returns after stop() from elsewhere."""
    server = StreamServer(("127.0.0.1", 0), echo)
    hubbub.spawn_later(0.01, server.stop)
    server.serve_forever()
    assert server.closed
    assert not server.started


def test_start_twice(hub: Any) -> None:
    """A second start() does nothing; start() after close() is an error."""
    server = StreamServer(("127.0.0.1", 0), echo)
    server.start()
    address = server.address
    server.start()
    assert server.address == address
    server.stop()
    with pytest.raises(RuntimeError):
        server.start()


class Failing(Socket):
    """A listener whose accept fails a few times."""

    failures: list[int]

    def accept(self) -> Any:
        if self.failures:
            number = self.failures.pop()
            raise OSError(number, os.strerror(number))
        return super().accept()

    def _adopt(self, fd: int) -> Any:
        return Socket(self.family, self.type, self.proto, fileno=fd)


@pytest.mark.parametrize("failure", ["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "ECONNABORTED", "EPERM"])
def test_accept_recovers(hub: Any, failures: Any, connect: Any, failure: str) -> None:
    """The listener survives a failure of accept(); a lack of resources is reported, a lost client is not."""
    listener = Failing(socket.AF_INET, socket.SOCK_STREAM)
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    listener.failures = [getattr(errno, failure)] * 2
    with StreamServer(listener, echo) as server:
        client = connect(server)
        client.send(b"ping")
        client.until(b"ping")
        client.sock.close()
    expected = [] if failure in ("ECONNABORTED", "EPERM") else [getattr(errno, failure)] * 2
    assert [error.errno for error in failures] == expected


def test_fatal_error_closes(hub: Any, failures: Any) -> None:
    """A listener that is none any more closes the server."""
    listener = Failing(socket.AF_INET, socket.SOCK_STREAM)
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    listener.failures = [errno.EBADF]
    server = StreamServer(listener, echo)
    server.serve_forever()
    assert server.closed


def test_descriptors_run_out(hub: Any, failures: Any, connect: Any) -> None:
    """With no descriptors left the server waits, and serves those who waited when there are some."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with StreamServer(("127.0.0.1", 0), echo) as server:
        hubbub.sleep(0)
        clients = [connect(server) for _ in range(5)]
        used = len(os.listdir("/proc/self/fd"))
        resource.setrlimit(resource.RLIMIT_NOFILE, (used - 1, hard))
        try:
            hubbub.sleep(0.05)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for client in clients:
            client.send(b"ping")
            assert client.until(b"ping") == b"ping"
            client.sock.close()


def test_plain_context_is_refused() -> None:
    """A context whose sockets would block is refused, and the error says what to use."""
    with pytest.raises(TypeError, match=r"hubbub_net\.ssl"):
        StreamServer(("127.0.0.1", 0), echo, ssl_context=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))


def test_tls_socket_is_refused() -> None:
    """A TLS socket is no listener."""

    class Wrapped(socket.socket):
        def do_handshake(self) -> None: ...

    with Wrapped() as listener, pytest.raises(TypeError, match="ssl_context"):
        StreamServer(listener, echo)


def contexts(certificate: Any) -> tuple[Any, Any]:
    """A server's and a client's TLS context."""
    net = pytest.importorskip("hubbub_net.ssl")
    authority, leaf = certificate
    server = net.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    leaf.configure_cert(server)
    client = net.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(client)
    return server, client


def test_tls(hub: Any, connect: Any, certificate: Any) -> None:
    """With ssl_context the handler gets a TLS socket whose handshake is done."""
    context, trusting = contexts(certificate)
    with StreamServer(("127.0.0.1", 0), echo, ssl_context=context) as server:
        client = connect(server)
        client.sock = trusting.wrap_socket(client.sock, server_hostname="localhost")
        client.send(b"ping")
        assert client.until(b"ping") == b"ping"
        client.sock.close()


def test_tls_ends_with_close_notify(hub: Any, connect: Any, certificate: Any) -> None:
    """The end of a TLS connection is announced, so that a client can tell it from a cut."""
    context, trusting = contexts(certificate)
    with StreamServer(("127.0.0.1", 0), lambda sock, _: sock.sendall(b"bye"), ssl_context=context) as server:
        client = connect(server)
        client.sock = trusting.wrap_socket(client.sock, server_hostname="localhost", suppress_ragged_eofs=False)
        assert client.rest() == b"bye"


def test_tls_stalled_handshakes(hub: Any, connect: Any, certificate: Any) -> None:
    """Clients that stall their handshakes hold nobody up, and are dropped."""
    context, trusting = contexts(certificate)
    with StreamServer(("127.0.0.1", 0), echo, ssl_context=context, handshake_timeout=0.2) as server:
        stalled = [connect(server) for _ in range(30)]
        for client in stalled[:10]:
            client.send(b"\x16\x03\x01")
        good = connect(server)
        good.sock = trusting.wrap_socket(good.sock, server_hostname="localhost")
        good.send(b"ping")
        assert good.until(b"ping") == b"ping"
        for client in stalled:
            assert client.rest() == b""
        good.sock.close()


def test_plain_text_to_a_tls_port(hub: Any, failures: Any, connect: Any, certificate: Any) -> None:
    """A client that does not speak TLS is dropped without a traceback."""
    context, _ = contexts(certificate)
    with StreamServer(("127.0.0.1", 0), echo, ssl_context=context) as server:
        client = connect(server)
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        try:
            assert b"HTTP" not in client.rest()
        except ConnectionResetError:
            assert client.sock.fileno() >= 0
    assert failures == []


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no UNIX sockets")
@pytest.mark.parametrize("mode", ["660", "0600", "777", "000"])
def test_mode_of_a_unix_socket(hub: Any, tmp_path: Path, mode: str) -> None:
    """The file of a UNIX socket has the mode that the address says, whatever the umask."""
    old = os.umask(0o027)
    try:
        with StreamServer(f"unix:{tmp_path}/socket?mode={mode}", echo):
            assert stat.S_IMODE(os.stat(tmp_path / "socket").st_mode) == int(mode, 8)
        with StreamServer(f"unix:{tmp_path}/other", echo):
            assert stat.S_IMODE(os.stat(tmp_path / "other").st_mode) == 0o750
    finally:
        os.umask(old)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away")
def test_owner_of_a_unix_socket(hub: Any, tmp_path: Path) -> None:
    """Its owner and group are those that the address says, by name or number."""
    with StreamServer(f"unix:{tmp_path}/socket?mode=660&user=nobody&group=12345", echo):
        status = os.stat(tmp_path / "socket")
    assert (status.st_uid, status.st_gid) == (pwd.getpwnam("nobody").pw_uid, 12345)


@pytest.mark.parametrize(
    "option",
    ["mode=", "mode=9", "mode=66", "mode=rw", "mode=6600", "x=1", "mode", "&", "user=", "user=there is no such user"],
)
def test_bad_options_of_a_unix_socket(option: str) -> None:
    """An option that cannot be understood is refused, with what there is."""
    with pytest.raises(ValueError, match=r"mode=660|there is no user"):
        StreamServer(f"unix:/tmp/x?{option}", echo)


def test_unix_socket_that_cannot_be_given_away(hub: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the owner cannot be set the server does not start, and leaves no file."""

    def refuse(*args: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "chown", refuse)
    with pytest.raises(PermissionError):
        StreamServer(f"unix:{tmp_path}/socket?user=0", echo).start()
    assert not (tmp_path / "socket").exists()
