"""``hubbub_net.ssl``: TLS, waiting without blocking the thread."""

from __future__ import annotations

import io
import os
import socket as plain
import ssl as stdlib
import sys
from collections.abc import Callable
from typing import Any

import hubbub
import pytest
from hubbub.io import Socket
from hubbub.lowlevel import Hub
from hubbub_net import socket, ssl

pytestmark = pytest.mark.usefixtures("tls_methods")

Serve = Callable[..., tuple[Any, ...]]
VERSIONS = [stdlib.TLSVersion.TLSv1_2, stdlib.TLSVersion.TLSv1_3]


def echo(sock: Any) -> None:
    while data := sock.recv(65536):
        sock.sendall(data)


def read_all(sock: Any) -> bytes:
    parts = []
    while data := sock.recv(65536):
        parts.append(data)
    return b"".join(parts)


def pair(certificates: Any, server: Any = None, client: Any = None, **options: Any) -> tuple[Any, Any]:
    """The server's and the client's end of a TLS connection over a pair of sockets."""
    one, other = socket.socketpair()
    server = certificates.server if server is None else server
    client = certificates.client if client is None else client
    wrapping = hubbub.spawn(server.wrap_socket, one, server_side=True)
    mine = client.wrap_socket(other, server_hostname="localhost", **options)
    return wrapping.get(timeout=10), mine


def fill(sock: Any) -> int:
    """Send until the kernel takes no more."""
    limit = sock.gettimeout()
    sock.settimeout(0.0)
    sent = 0
    try:
        while True:
            sent += sock.send(b"x" * 65536)
    except stdlib.SSLWantWriteError:
        return sent
    finally:
        sock.settimeout(limit)


# The module -----------------------------------------------------------------------------------------------------------


def test_every_public_name_of_the_standard_library_is_there() -> None:
    """Whatever ``ssl`` defines in the running interpreter can be had from ``hubbub_net.ssl``."""
    assert not [name for name in dir(stdlib) if not name.startswith("_") and not hasattr(ssl, name)]


def test_contexts_and_sockets_are_those_of_the_standard_library(hub: Hub, certificates: Any) -> None:
    """``isinstance`` against the standard library's classes holds, and default contexts are of our class."""
    context = ssl.create_default_context()
    assert type(context) is ssl.SSLContext
    assert isinstance(context, stdlib.SSLContext)
    theirs = stdlib.create_default_context()
    for name in ("verify_mode", "check_hostname", "options", "verify_flags", "minimum_version", "protocol"):
        assert getattr(context, name) == getattr(theirs, name)
    one, other = pair(certificates)
    with one, other:
        assert isinstance(one, ssl.SSLSocket)
        assert isinstance(one, stdlib.SSLSocket)


def test_every_way_to_a_context_is_cooperative(hub: Hub) -> None:
    """Contexts from the module's functions, private ones that programs use included, are of our class."""
    made = [ssl.create_default_context(), ssl._create_unverified_context(), ssl._create_default_https_context()]
    assert {type(context) for context in made} == {ssl.SSLContext}
    assert made[1].verify_mode == stdlib.CERT_NONE


@pytest.mark.skipif(not hasattr(stdlib, "wrap_socket"), reason="this Python has no ssl.wrap_socket")
@pytest.mark.filterwarnings("ignore:ssl:DeprecationWarning")
def test_wrap_socket_of_the_module(hub: Hub, certificates: Any) -> None:
    """The deprecated function ``ssl.wrap_socket`` is cooperative where the interpreter still has it."""
    one, other = socket.socketpair()

    def serve() -> Any:
        return ssl.wrap_socket(one, certfile=certificates.chain, server_side=True)

    wrapping = hubbub.spawn(serve)
    with (
        ssl.wrap_socket(other, ca_certs=certificates.file, cert_reqs=stdlib.CERT_REQUIRED) as client,
        wrapping.get() as server,
    ):
        server.sendall(b"hello")
        assert client.recv(10) == b"hello"
    with pytest.raises(ValueError):
        ssl.wrap_socket(other, server_side=True)


def test_a_socket_of_core_can_be_wrapped(hub: Hub, certificates: Any) -> None:
    """``wrap_socket`` takes a ``hubbub.io.Socket``, which is what servers accept."""
    one, other = (Socket(fileno=sock.detach()) for sock in plain.socketpair())
    reading = hubbub.spawn(one.recv, 1)  # it knows the loop already
    hubbub.sleep(0)
    reading.kill()
    wrapping = hubbub.spawn(certificates.server.wrap_socket, one, server_side=True)
    with certificates.client.wrap_socket(other, server_hostname="localhost") as client, wrapping.get() as server:
        reader = hubbub.spawn(server.recv, 10)
        client.sendall(b"hello")
        assert reader.get(timeout=5) == b"hello"


# Connections ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_bulk_data_in_both_directions_at_once(hub: Hub, certificates: Any, version: Any) -> None:
    """One greenlet writes two megabytes while another reads them back from an echoing peer."""
    certificates.client.minimum_version = certificates.client.maximum_version = version
    server, client = pair(certificates)
    data = os.urandom(2 << 20)
    with server, client:
        assert client.version() == version.name.replace("_", ".")
        hubbub.spawn(echo, server)
        writer = hubbub.spawn(client.sendall, data)
        received = bytearray()
        while len(received) < len(data):
            received += client.recv(65536)
        assert received == data
        writer.get(timeout=5)


def test_others_run_while_a_handshake_waits(hub: Hub, certificates: Any) -> None:
    """A peer that is slow to answer a handshake keeps only its own greenlet waiting."""
    one, other = socket.socketpair()
    with one, other:
        wrapping = hubbub.spawn(certificates.server.wrap_socket, one, server_side=True)
        hubbub.sleep(0.001)
        assert not wrapping.dead
        client = certificates.client.wrap_socket(other, server_hostname="localhost")
        with wrapping.get(timeout=5), client:
            pass


def test_a_plain_socket_of_the_standard_library_can_be_wrapped(hub: Hub, certificates: Any) -> None:
    """``wrap_socket`` takes a socket that is not cooperative; what it returns is."""
    one, other = plain.socketpair()
    wrapping = hubbub.spawn(certificates.server.wrap_socket, one, server_side=True)
    with certificates.client.wrap_socket(other, server_hostname="localhost") as client, wrapping.get() as server:
        reader = hubbub.spawn(server.recv, 10)
        client.sendall(b"hello")
        assert reader.get(timeout=5) == b"hello"


def test_a_socket_that_was_told_to_block_can_be_wrapped(hub: Hub, certificates: Any) -> None:
    """After ``setblocking(True)``, which counts for the descriptor when it is detached, the handshake blocks nobody."""
    one, other = socket.socketpair()
    one.setblocking(True)
    other.setblocking(True)
    wrapping = hubbub.spawn(certificates.server.wrap_socket, one, server_side=True)
    with certificates.client.wrap_socket(other, server_hostname="localhost") as client, wrapping.get() as server:
        assert not os.get_blocking(client.fileno())
        assert not os.get_blocking(server.fileno())


def test_connect_on_a_wrapped_socket(hub: Hub, serve: Serve, certificates: Any) -> None:
    """A client socket wrapped before it is connected shakes hands in ``connect``."""

    def serve_tls(sock: socket.socket) -> None:
        with certificates.server.wrap_socket(sock, server_side=True) as wrapped:
            echo(wrapped)

    address = serve(serve_tls)
    with certificates.client.wrap_socket(socket.socket(), server_hostname="localhost") as client:
        client.connect(address)
        client.sendall(b"hello")
        assert client.recv(10) == b"hello"


def test_accept_on_a_wrapped_listener(hub: Hub, certificates: Any) -> None:
    """``accept`` of a wrapped listener returns a connection whose handshake is done."""
    with certificates.server.wrap_socket(socket.create_server(("127.0.0.1", 0)), server_side=True) as listener:
        accepting = hubbub.spawn(listener.accept)
        with (
            socket.create_connection(listener.getsockname()) as sock,
            certificates.client.wrap_socket(sock, server_hostname="localhost") as client,
        ):
            server, address = accepting.get(timeout=5)
            with server:
                assert address == client.getsockname()
                server.sendall(b"welcome")
                assert client.recv(10) == b"welcome"


def test_makefile(hub: Hub, certificates: Any) -> None:
    """``makefile`` works on TLS connections."""
    server, client = pair(certificates)
    with server, client, client.makefile("rwb") as file:
        hubbub.spawn(echo, server)
        file.write(b"one\ntwo\n")
        file.flush()
        assert [file.readline(), file.readline()] == [b"one\n", b"two\n"]


def test_recv_into_and_read(hub: Hub, certificates: Any) -> None:
    """``recv_into`` and ``read`` fill a buffer and wait for its data."""
    server, client = pair(certificates)
    with server, client:
        buffer = bytearray(10)
        for call in (lambda: client.recv_into(buffer), lambda: client.read(5, buffer)):
            reader: hubbub.Greenlet = hubbub.spawn(call)
            hubbub.sleep(0)
            server.send(b"hello")
            assert reader.get(timeout=5) == 5
            assert buffer[:5] == b"hello"


def test_sendfile(hub: Hub, certificates: Any, tmp_path: Any) -> None:
    """``sendfile`` encrypts what it sends."""
    data = os.urandom(300_000)
    (tmp_path / "file").write_bytes(data)
    server, client = pair(certificates)
    with server, client, (tmp_path / "file").open("rb") as file:
        reader = hubbub.spawn(read_all, server)
        assert client.sendfile(file, 1000) == len(data) - 1000
        client.shutdown(plain.SHUT_WR)
        assert reader.get(timeout=5) == data[1000:]


def test_sendfile_reads_large_blocks(hub: Hub, certificates: Any) -> None:
    """A file of a megabyte takes a few reads, not one for every 8 KiB."""
    sizes = []

    class File(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            sizes.append(size)
            return super().read(size)

    server, client = pair(certificates)
    with server, client:
        reader = hubbub.spawn(read_all, server)
        assert client.sendfile(File(b"x" * (1 << 20)), 5, 1 << 19) == 1 << 19
        client.shutdown(plain.SHUT_RDWR)
        assert reader.get(timeout=5) == b"x" * (1 << 19)
    assert len(sizes) < 10


# Reads that wait first ------------------------------------------------------------------------------------------------


class Counting:
    """OpenSSL's half of a connection; counts what is attempted, and what is so in vain."""

    def __init__(self, sslobj: Any) -> None:
        self._sslobj = sslobj
        self.in_vain = 0

    def read(self, *args: Any) -> Any:
        try:
            return self._sslobj.read(*args)
        except stdlib.SSLWantReadError:
            self.in_vain += 1
            raise

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sslobj, name)


def tcp_pair(certificates: Any) -> tuple[Any, Any]:
    """As :func:`pair`, over TCP."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        other = socket.create_connection(listener.getsockname())
        one, _ = listener.accept()
    wrapping = hubbub.spawn(certificates.server.wrap_socket, one, server_side=True)
    mine = certificates.client.wrap_socket(other, server_hostname="localhost")
    return wrapping.get(timeout=10), mine


def converse(server: Any, client: Any, rounds: int) -> None:
    """One message at a time."""
    echoing = hubbub.spawn(echo, server)
    for number in range(rounds):
        client.sendall(b"%d" % number)
        assert client.recv(100) == b"%d" % number
    echoing.kill()


def test_conversations_hardly_read_in_vain(hub: Hub, certificates: Any) -> None:
    """In a conversation of single messages few reads are tried before there is something."""
    server, client = tcp_pair(certificates)
    with server, client:
        wire = client._tls_reader.wire
        wire.sslobj = Counting(wire.sslobj)
        converse(server, client, 200)
        assert wire.sslobj.in_vain < 30


@pytest.mark.parametrize("rounds", range(0, 9, 2))
def test_a_read_that_waits_first_misses_nothing(hub: Hub, certificates: Any, rounds: int) -> None:
    """After a conversation many records that come at once are all read, by few reads with room for all."""
    server, client = tcp_pair(certificates)
    with server, client:
        converse(server, client, rounds)
        for number in range(40):
            server.sendall(bytes([number]) * 1000)
        hubbub.sleep(0.01)
        client.settimeout(5)
        parts = []
        while sum(map(len, parts)) < 40_000:
            parts.append(client.recv(1 << 20))
        assert b"".join(parts) == b"".join(bytes([number]) * 1000 for number in range(40))
        assert len(parts) < 5
        client.settimeout(0.01)
        with pytest.raises(TimeoutError, match="read"):
            client.recv(1)


def test_a_conversation_that_goes_on_in_another_thread(hub: Hub, certificates: Any) -> None:
    """What one thread has learnt of a peer's habits keeps no reader of another thread from what has come."""
    server, client = tcp_pair(certificates)
    with server, client:
        converse(server, client, 50)
        client.settimeout(5)

        def elsewhere() -> int:
            received = 0
            try:
                while received < 40_000:
                    received += len(client.recv(1 << 20))
                return received
            finally:
                hubbub.get_hub().destroy()

        for _ in range(40):
            server.sendall(b"x" * 1000)
        assert hub.threadpool.spawn(elsewhere).get(timeout=10) == 40_000


# The end of a connection ----------------------------------------------------------------------------------------------


def test_unwrap_goes_back_to_plain_text(hub: Hub, certificates: Any) -> None:
    """After ``unwrap`` on both sides the connection carries plain bytes."""
    server, client = pair(certificates)
    with server, client:
        unwrapping = hubbub.spawn(server.unwrap)
        bare = client.unwrap()
        other = unwrapping.get(timeout=5)
        bare.sendall(b"plain")
        assert other.recv(10) == b"plain"
        assert other.version() is None
        with pytest.raises(ValueError):
            bare.unwrap()


def test_shutdown_sends_close_notify(hub: Hub, certificates: Any) -> None:
    """A peer that minds truncation sees a clean end after ``shutdown(SHUT_RDWR)``."""
    server, client = pair(certificates)
    server.suppress_ragged_eofs = False
    with server, client:
        client.sendall(b"all there is")
        client.shutdown(plain.SHUT_RDWR)
        assert read_all(server) == b"all there is"


@pytest.mark.parametrize("version", VERSIONS)
def test_shutdown_loses_nothing_that_has_come(hub: Hub, certificates: Any, version: Any) -> None:
    """What the peer sends before it sees the end can be read after ``shutdown(SHUT_WR)``."""
    certificates.client.minimum_version = certificates.client.maximum_version = version
    server, client = pair(certificates)
    with server, client:
        server.sendall(b"early ")
        server.sendall(b"and more " * 5000)
        client.shutdown(plain.SHUT_WR)
        server.sendall(b"and late")
        server.shutdown(plain.SHUT_RDWR)
        assert read_all(client) == b"early " + b"and more " * 5000 + b"and late"


@pytest.mark.parametrize("suppress", [True, False])
def test_ragged_eof(hub: Hub, certificates: Any, suppress: bool) -> None:
    """A connection cut without close_notify is an empty read, or an error where ``suppress_ragged_eofs`` is False."""
    server, client = pair(certificates, suppress_ragged_eofs=suppress)
    with client:
        server.sendall(b"half a ")
        server.close()
        assert client.recv(100) == b"half a "
        if suppress:
            assert client.recv(100) == b""
            assert client.recv_into(bytearray(10)) == 0
        elif sys.version_info < (3, 11, 4):
            pytest.skip("with OpenSSL 3 that Python cannot tell (gh-95494)")
        else:
            with pytest.raises(stdlib.SSLEOFError):
                client.recv(100)


# Time limits and modes ------------------------------------------------------------------------------------------------


def test_time_limits(hub: Hub, certificates: Any) -> None:
    """Reads, writes and ``unwrap`` that take too long are TimeoutError that say which it was."""
    server, client = pair(certificates)
    with server, client:
        client.settimeout(0.02)
        with pytest.raises(TimeoutError, match="read"):
            client.recv(1)
        with pytest.raises(TimeoutError, match="shutdown"):
            client.unwrap()
    server, client = pair(certificates)
    with server, client:
        client.settimeout(0.02)
        with pytest.raises(TimeoutError, match="write"):
            client.sendall(b"x" * (1 << 26))


@pytest.mark.parametrize("limit", [None, 5.0])
def test_a_time_limit_of_somebody_else_comes_out(hub: Hub, certificates: Any, limit: float | None) -> None:
    """A TimeoutError thrown into a read or a write by a Timeout around it stays what it is."""
    server, client = pair(certificates)
    with server, client:
        client.settimeout(limit)
        for call in (lambda: client.recv(1), lambda: client.sendall(b"x" * (1 << 24))):
            error = TimeoutError("mine")
            with pytest.raises(TimeoutError) as caught, hubbub.Timeout(0.01, error):
                call()
            assert caught.value is error


def test_a_handshake_that_times_out_leaves_nothing(hub: Hub, certificates: Any) -> None:
    """A handshake with a silent peer ends in TimeoutError and the descriptor is closed."""
    one, other = socket.socketpair()
    with other:
        one.settimeout(0.02)
        number = one.fileno()
        with pytest.raises(TimeoutError, match="handshake"):
            certificates.server.wrap_socket(one, server_side=True)
        with pytest.raises(OSError):
            os.fstat(number)


def test_a_killed_handshake_leaves_nothing(hub: Hub, certificates: Any) -> None:
    """A greenlet that is killed in a handshake closes the descriptor."""
    one, other = socket.socketpair()
    with other:
        number = one.fileno()
        wrapping = hubbub.spawn(certificates.server.wrap_socket, one, server_side=True)
        hubbub.sleep(0)
        wrapping.kill()
        with pytest.raises(OSError):
            os.fstat(number)


def test_nonblocking_mode(hub: Hub, certificates: Any) -> None:
    """A socket that does not wait raises the standard library's SSLWantReadError and SSLWantWriteError."""
    server, client = pair(certificates)
    with server, client:
        client.setblocking(False)
        with pytest.raises(stdlib.SSLWantReadError):
            client.recv(1)
        with pytest.raises(stdlib.SSLWantWriteError):
            for _ in range(1000):
                client.send(b"x" * 65536)


def test_nonblocking_handshake(hub: Hub, certificates: Any) -> None:
    """``do_handshake`` on a socket that does not wait raises SSLWantReadError, or waits with ``block=True``."""
    one, other = socket.socketpair()
    one.setblocking(False)
    with pytest.raises(ValueError):
        certificates.server.wrap_socket(one.dup(), server_side=True)
    server = certificates.server.wrap_socket(one, server_side=True, do_handshake_on_connect=False)
    with server:
        with pytest.raises(stdlib.SSLWantReadError):
            server.do_handshake()
        waiting = hubbub.spawn(server.do_handshake, block=True)
        with certificates.client.wrap_socket(other, server_hostname="localhost"):
            waiting.get(timeout=5)
        assert server.gettimeout() == 0.0


# Several greenlets ----------------------------------------------------------------------------------------------------


def test_close_wakes_reader_and_writer(hub: Hub, certificates: Any) -> None:
    """``close`` ends the waits of greenlets that read and write, with OSError or ValueError, and no hang."""
    server, client = pair(certificates)
    with server:
        fill(client)
        waiters = [hubbub.spawn(client.recv, 1), hubbub.spawn(client.sendall, b"x" * 65536)]
        waiters.append(hubbub.spawn(client.sendall, b"queued behind the other"))
        hubbub.sleep(0)
        client.close()
        for waiter in waiters:
            waiter.join(timeout=5)
            assert isinstance(waiter.exception, (OSError, ValueError))


def test_writers_take_turns(hub: Hub, certificates: Any) -> None:
    """Greenlets that write more than fits, at once, all get their bytes through in one piece."""
    server, client = pair(certificates)
    with server, client:
        size = 3_000_000
        letters = b"abcd"
        writers = [hubbub.spawn(client.sendall, bytes([letter]) * size) for letter in letters]
        received = bytearray()
        while len(received) < size * len(letters):
            received += server.recv(65536)
        hubbub.joinall(writers, timeout=5, raise_error=True)
        assert received == b"".join(bytes([letter]) * size for letter in letters)


# What TLS is for ------------------------------------------------------------------------------------------------------


def test_a_wrong_name_or_authority_is_refused(hub: Hub, serve: Serve, certificates: Any) -> None:
    """A certificate for another name, or of an unknown authority, is SSLCertVerificationError."""

    def serve_tls(sock: socket.socket) -> None:
        with pytest.raises(OSError):
            certificates.server.wrap_socket(sock, server_side=True)

    address = serve(serve_tls)
    for context, name in ((certificates.client, "other.test"), (ssl.create_default_context(), "localhost")):
        with socket.create_connection(address) as sock, pytest.raises(stdlib.SSLCertVerificationError):
            context.wrap_socket(sock, server_hostname=name)


def test_alpn_and_sni(hub: Hub, certificates: Any) -> None:
    """The protocol is agreed on, and the server's callback sees the name, before the handshake ends."""
    names: list[str | None] = []
    certificates.server.set_alpn_protocols(["http/1.1", "own"])
    certificates.server.sni_callback = lambda sock, name, context: names.append(name)
    certificates.client.set_alpn_protocols(["own"])
    server, client = pair(certificates)
    with server, client:
        assert client.selected_alpn_protocol() == server.selected_alpn_protocol() == "own"
    assert names == ["localhost"]


def test_client_certificates(hub: Hub, certificates: Any, leaf: Any) -> None:
    """A server that requires a certificate gets the client's."""
    certificates.server.verify_mode = stdlib.CERT_REQUIRED
    certificates.authority.configure_trust(certificates.server)
    leaf.configure_cert(certificates.client)
    server, client = pair(certificates)
    with server, client:
        client.sendall(b"x")
        server.recv(1)
        assert ("DNS", "localhost") in server.getpeercert()["subjectAltName"]


@pytest.mark.parametrize("version", VERSIONS)
def test_session_reuse(hub: Hub, certificates: Any, version: Any) -> None:
    """A session given to ``wrap_socket`` is resumed."""
    certificates.client.minimum_version = certificates.client.maximum_version = version
    server, client = pair(certificates)
    with server, client:
        server.sendall(b"x")
        assert client.recv(1) == b"x"
        session = client.session
    server, client = pair(certificates, session=session)
    with server, client:
        assert client.session_reused
        assert server.session_reused


def test_memory_bio(hub: Hub, certificates: Any) -> None:
    """``wrap_bio`` makes TLS without a socket, as in the standard library."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = certificates.server.wrap_bio(to_server, to_client, server_side=True)
    client = certificates.client.wrap_bio(to_client, to_server, server_hostname="localhost")
    done: set[Any] = set()
    while len(done) < 2:
        for side in (client, server):
            try:
                side.do_handshake()
                done.add(side)
            except stdlib.SSLWantReadError:
                continue
    client.write(b"hello")
    assert server.read(10) == b"hello"


def test_get_server_certificate(hub: Hub, serve: Serve, certificates: Any, leaf: Any) -> None:
    """``get_server_certificate`` fetches the certificate cooperatively, and verifies it if asked to."""

    def serve_tls(sock: socket.socket) -> None:
        try:
            certificates.server.wrap_socket(sock, server_side=True).close()
        except OSError:
            pass

    address = serve(serve_tls)
    expected = leaf.cert_chain_pems[0].bytes().decode().split()
    assert ssl.get_server_certificate(address).split() == expected
    assert ssl.get_server_certificate(address, ca_certs=certificates.file, timeout=5).split() == expected
    with pytest.raises(stdlib.SSLError):
        ssl.get_server_certificate(address, ca_certs=certificates.chain)
