"""What rude peers, crowded tables and odd records may do: nothing is lost, nothing is left, others go on."""

from __future__ import annotations

import errno
import gc
import os
import resource
import shutil
import socket as plain
import ssl as stdlib
import struct
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

import hubbub
import pytest
from hubbub.lowlevel import Hub
from hubbub_net import select, selectors, socket, ssl

pytestmark = pytest.mark.usefixtures("tls_methods")

Serve = Callable[..., tuple[Any, ...]]
RESET = struct.pack("ii", 1, 0)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def until(condition: Callable[[], bool]) -> None:
    """Lets others run until it is so, for five seconds at most."""
    with hubbub.Timeout(5):
        while not condition():
            hubbub.sleep(0.001)


def client_hello() -> bytes:
    """The first flight of a TLS client."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(stdlib.SSLWantReadError):
        client.do_handshake()
    hello: bytes = outgoing.read()
    return hello


@contextmanager
def tls_echo(certificates: Any, limit: float | None = None) -> Iterator[tuple[Any, list[BaseException]]]:
    """A TLS server that keeps what went wrong in handshakes; yields its address and that list."""
    failures: list[BaseException] = []
    handlers: list[hubbub.Greenlet] = []

    def handle(sock: socket.socket) -> None:
        sock.settimeout(limit)
        try:
            wrapped = certificates.server.wrap_socket(sock, server_side=True)
        except OSError as error:
            failures.append(error)
            return
        finally:
            sock.close()
        with wrapped:
            try:
                while data := wrapped.recv(65536):
                    wrapped.sendall(data)
            except OSError as error:
                failures.append(error)

    def accept() -> None:
        while True:
            handlers.append(hubbub.spawn(handle, listener.accept()[0]))

    with socket.create_server(("127.0.0.1", 0), backlog=1000) as listener:
        accepting = hubbub.spawn(accept)
        try:
            yield listener.getsockname(), failures
        finally:
            accepting.kill()
            hubbub.killall(handlers)


def converse(certificates: Any, address: Any) -> None:
    """One polite TLS client."""
    with (
        socket.create_connection(address, timeout=10) as sock,
        certificates.client.wrap_socket(sock, server_hostname="localhost") as client,
    ):
        client.sendall(b"hello")
        assert client.recv(10) == b"hello"


# Stalled and wrong handshakes -----------------------------------------------------------------------------------------


def test_stalled_handshakes_disturb_nobody_and_end(hub: Hub, certificates: Any) -> None:
    """Hundreds of clients that send nothing, or half of a hello, neither delay others nor outlive the time limit."""
    hello = client_hello()
    before = descriptors()
    with tls_echo(certificates, limit=2.0) as (address, failures):
        stalled = []
        for number in range(300):
            sock = socket.create_connection(address)
            sock.sendall((b"", hello[:3], hello[: len(hello) // 2])[number % 3])
            stalled.append(sock)
        waits = []
        for _ in range(5):
            started = monotonic()
            converse(certificates, address)
            waits.append(monotonic() - started)
        assert min(waits) < 1.5
        for sock in stalled:
            sock.settimeout(10)
            try:
                while sock.recv(100):
                    pass
            except ConnectionError:
                pass
            sock.close()
        assert [type(failure) for failure in failures] == [TimeoutError] * 300
        failures.clear()
    assert descriptors() == before


def test_plain_http_at_a_tls_port(hub: Hub, certificates: Any) -> None:
    """A plain request to a TLS server is an SSLError there, at once, and the connection ends."""
    with tls_echo(certificates) as (address, failures), socket.create_connection(address, timeout=5) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        try:
            while sock.recv(100):
                pass
        except ConnectionError:
            pass
        assert [type(error) for error in failures] == [stdlib.SSLError]


def test_tls_at_a_plain_port(hub: Hub, serve: Serve, certificates: Any) -> None:
    """A TLS client of a plain server gets an SSLError, at once, and closes its descriptor."""

    def answer(sock: socket.socket) -> None:
        sock.recv(5)
        sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    address = serve(answer)
    before = descriptors()
    with pytest.raises(stdlib.SSLError), socket.create_connection(address, timeout=5) as sock:
        certificates.client.wrap_socket(sock, server_hostname="localhost")
    until(lambda: descriptors() <= before)


def malformed() -> dict[str, bytes]:
    """First flights that no server should survive badly."""
    hello = client_hello()
    return {
        "unknown content type": b"\x63" + hello[1:],
        "wrong version": hello[:1] + b"\x09\x09" + hello[3:],
        "record too long": hello[:3] + b"\xff\xff" + b"x" * 70000,
        "record of no bytes": b"\x16\x03\x01\x00\x00" * 40,
        "hello shorter than it says": hello[:5] + hello[5:6] + b"\x00\xff\xff" + hello[9:],
        "cut off": hello[:-10],
        "fatal alert": b"\x15\x03\x01\x00\x02\x02\x28",
        "data before the handshake": b"\x17\x03\x03\x00\x10" + b"x" * 16,
        "change of cipher first": b"\x14\x03\x03\x00\x01\x01" * 40,
        "hello twice": hello + hello,
        "great hello": b"\x16\x03\x01\x40\x00\x01\x03\xff\xfc" + b"\x03\x03" + b"x" * 16378,
        "noise": bytes(range(256)) * 20,
    }


def test_malformed_records_leave_nothing(hub: Hub, certificates: Any) -> None:
    """A server meets each broken first flight with an error, keeps no descriptor, and serves the next client."""
    with tls_echo(certificates, limit=5.0) as (address, failures):
        converse(certificates, address)
        hubbub.sleep(0.01)
        before = descriptors()
        for name, flight in malformed().items():
            seen = len(failures)
            with socket.create_connection(address, timeout=10) as sock:
                try:
                    sock.sendall(flight)
                    sock.shutdown(plain.SHUT_WR)
                    while sock.recv(1000):
                        pass
                except OSError:  # the server was faster
                    pass
            until(lambda seen=seen: len(failures) > seen)
            assert len(failures) == seen + 1, name
            assert isinstance(failures[-1], OSError), name
        failures.clear()
        hubbub.sleep(0.01)
        assert descriptors() == before
        converse(certificates, address)


@pytest.mark.parametrize("behaviour", ["raises", "sleeps", "refuses"])
def test_sni_callbacks(hub: Hub, certificates: Any, behaviour: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A callback that raises, waits or refuses concerns its own connection only."""
    held = hubbub.Event()

    def callback(sock: Any, name: str | None, context: Any) -> int | None:
        if name != "127.0.0.1":
            return None
        if behaviour == "raises":
            raise ValueError("in the callback")
        if behaviour == "sleeps":
            held.wait(timeout=10)
            return None
        return int(stdlib.ALERT_DESCRIPTION_UNRECOGNIZED_NAME)

    unraisable: list[Any] = []
    before, sys.unraisablehook = sys.unraisablehook, unraisable.append
    try:
        certificates.server.sni_callback = callback
        # An address is not sent as a name, so the client asks for one that is not checked.
        certificates.client.check_hostname = False

        def odd(address: Any) -> None:
            with socket.create_connection(address, timeout=10) as sock:
                sock = client_with_name(certificates, sock)
                sock.close()

        with tls_echo(certificates) as (address, failures):
            certificates.server.sni_callback = lambda sock, name, context: callback(
                sock, "127.0.0.1" if name == "odd.test" else name, context
            )
            trying = hubbub.spawn(odd, address)
            converse(certificates, address)
            if behaviour != "sleeps":
                trying.join(timeout=5)
            assert trying.dead == (behaviour != "sleeps")
            held.set()
            trying.join(timeout=5)
            assert trying.successful() == (behaviour == "sleeps")
            if behaviour != "sleeps":
                assert isinstance(trying.exception, stdlib.SSLError)
            assert len(unraisable) == (behaviour == "raises")
            failures.clear()
    finally:
        sys.unraisablehook = before
        unraisable.clear()


def client_with_name(certificates: Any, sock: Any) -> Any:
    return certificates.client.wrap_socket(sock, server_hostname="odd.test")


# Records --------------------------------------------------------------------------------------------------------------


def test_records_in_pieces_of_one_byte(hub: Hub, certificates: Any) -> None:
    """A TLS stream that arrives one byte at a time, handshake and data alike, is understood."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = certificates.client.wrap_bio(incoming, outgoing, server_hostname="localhost")

    def pump(sock: socket.socket, call: Callable[[], Any]) -> Any:
        while True:
            try:
                result = call()
                waiting = False
            except stdlib.SSLWantReadError:
                waiting = True
            for octet in outgoing.read():
                sock.sendall(bytes([octet]))
                hubbub.sleep(0)
            if not waiting:
                return result
            incoming.write(sock.recv(65536))

    with tls_echo(certificates) as (address, failures), socket.create_connection(address, timeout=10) as sock:
        sock.setsockopt(plain.IPPROTO_TCP, plain.TCP_NODELAY, 1)
        pump(sock, client.do_handshake)
        pump(sock, lambda: client.write(b"piece by piece"))
        assert pump(sock, lambda: client.read(100)) == b"piece by piece"
        assert not failures


def damaged(record: bytes) -> dict[str, bytes]:
    """Wrong things to send in the place of an encrypted record."""
    length = len(record) - 5
    return {
        "changed": record[:-1] + bytes([record[-1] ^ 1]),
        "shortened": record[:3] + (length - 1).to_bytes(2, "big") + record[5:-1],
        "lengthened": record[:3] + (length + 1).to_bytes(2, "big") + record[5:] + b"x",
        "longer than allowed": record[:3] + b"\xff\xff" + b"x" * 0xFFFF,
        "empty": record[:3] + b"\0\0",
        "of an unknown type": b"\x63" + record[1:],
        "of another version": record[:1] + b"\x09\x09" + record[3:],
        "plain alert": b"\x15\x03\x03\x00\x02\x02\x28",
        "plain text": b"GET / HTTP/1.1\r\n\r\n",
        "sent twice": record + record,
    }


@pytest.mark.parametrize("version", [stdlib.TLSVersion.TLSv1_2, stdlib.TLSVersion.TLSv1_3])
def test_damaged_records_end_their_connection_only(hub: Hub, certificates: Any, version: Any) -> None:
    """A record that was tampered with is an SSLError to the reader, and neither data nor a descriptor stays behind."""
    certificates.client.maximum_version = version

    def next_record(sock: socket.socket) -> bytes:
        """Shake hands; the record to be sent next."""
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = certificates.client.wrap_bio(incoming, outgoing, server_hostname="localhost")
        while True:
            try:
                client.do_handshake()
                break
            except stdlib.SSLWantReadError:
                sock.sendall(outgoing.read())
                incoming.write(sock.recv(65536))
        if outgoing.pending:
            sock.sendall(outgoing.read())
        client.write(b"once")
        return outgoing.read()

    with tls_echo(certificates, limit=5.0) as (address, failures):
        converse(certificates, address)
        hubbub.sleep(0.01)
        before = descriptors()
        for name in damaged(b"xxxxxx"):
            seen = len(failures)
            with socket.create_connection(address, timeout=10) as sock:
                try:
                    sock.sendall(damaged(next_record(sock))[name])
                    while sock.recv(65536):
                        pass
                except OSError:  # the server was faster
                    pass
            until(lambda seen=seen: len(failures) > seen)
            assert len(failures) == seen + 1, name
            assert isinstance(failures[-1], stdlib.SSLError), name
        failures.clear()
        hubbub.sleep(0.01)
        assert descriptors() == before
        converse(certificates, address)


def test_short_reads_keep_no_exceptions(hub: Hub, certificates: Any) -> None:
    """Thousands of TLS reads that had to wait leave no exception objects and no memory behind."""
    with (
        tls_echo(certificates) as (address, _),
        socket.create_connection(address, timeout=10) as sock,
        certificates.client.wrap_socket(sock, server_hostname="localhost") as client,
    ):

        def exchange(times: int) -> None:
            for _ in range(times):
                client.sendall(b"x")
                assert client.recv(1) == b"x"

        exchange(200)
        gc.collect()
        gc.disable()
        tracemalloc.start()
        try:
            exchange(100)
            before = tracemalloc.get_traced_memory()[0]
            exchange(2000)
            assert tracemalloc.get_traced_memory()[0] - before < 20_000
        finally:
            tracemalloc.stop()
            gc.enable()
        assert not [found for found in gc.get_objects() if isinstance(found, stdlib.SSLWantReadError)]


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command")
@pytest.mark.parametrize(("version", "command"), [("-tls1_2", b"R\n"), ("-tls1_3", b"K\n" * 50)])
def test_renegotiation_and_key_updates(hub: Hub, certificates: Any, version: str, command: bytes) -> None:
    """Renegotiation by a TLS 1.2 client ends that connection only; key updates of TLS 1.3 go on."""
    with tls_echo(certificates) as (address, _):
        child = subprocess.Popen(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{address[1]}", version],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert child.stdin is not None
        assert child.stdout is not None
        output = b""
        try:
            child.stdin.write(b"before\n")
            while b"\nbefore\n" not in output:
                socket.wait_read(child.stdout.fileno(), timeout=10)
                output += os.read(child.stdout.fileno(), 65536)
            for line in command.splitlines(keepends=True):
                child.stdin.write(line)
                hubbub.sleep(0.002)
            hubbub.sleep(0.05)
            try:
                child.stdin.write(b"after\n")
            except BrokenPipeError:
                pass
            while b"\nafter\n" not in output:
                socket.wait_read(child.stdout.fileno(), timeout=10)
                data = os.read(child.stdout.fileno(), 65536)
                if not data:
                    break
                output += data
            assert (b"\nafter\n" in output) == (version == "-tls1_3")
            converse(certificates, address)
        finally:
            child.kill()
            child.stdin.close()
            child.stdout.close()
            child.wait()


# Descriptors ----------------------------------------------------------------------------------------------------------


@pytest.mark.timeout(240)
def test_ten_thousand_rude_connections(hub: Hub, serve: Serve) -> None:
    """10,000 connections opened, used and reset leave descriptors and memory where they were."""

    def answer(sock: socket.socket) -> None:
        try:
            while data := sock.recv(1000):
                sock.sendall(data)
        except ConnectionError:
            pass

    address = serve(answer)

    def be_rude(number: int) -> None:
        sock = socket.create_connection(address)
        sock.sendall(b"hello")
        if number % 2:
            assert sock.recv(10) == b"hello"
        if number % 3:
            sock.setsockopt(plain.SOL_SOCKET, plain.SO_LINGER, RESET)
        sock.close()

    def batch(count: int) -> None:
        hubbub.joinall([hubbub.spawn(be_rude, number) for number in range(count)], raise_error=True)
        while len(hub.loop.handles) > known:
            hubbub.sleep(0.001)
        gc.collect()

    known = len(hub.loop.handles) + 1  # the listener comes to it
    for _ in range(4):
        batch(100)
    before = descriptors()
    tracemalloc.start()
    try:
        batch(100)
        memory = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        for _ in range(95):
            batch(100)
        tracemalloc.start()
        batch(100)
        assert tracemalloc.get_traced_memory()[0] < memory + 300_000
    finally:
        tracemalloc.stop()
    assert descriptors() == before


def test_no_connection_is_left_half_closed(hub: Hub, serve: Serve) -> None:
    """After a storm of clients that vanish no connection of the server's is left in CLOSE_WAIT."""

    def drain(sock: socket.socket) -> None:
        try:
            while sock.recv(1000):
                pass
        except ConnectionError:
            pass

    address = serve(drain)

    def vanish() -> None:
        socket.create_connection(address).close()

    hubbub.joinall([hubbub.spawn(vanish) for _ in range(200)], raise_error=True)
    deadline = monotonic() + 5
    while half_closed(address[1]) and monotonic() < deadline:
        hubbub.sleep(0.01)
    assert half_closed(address[1]) == 0


def half_closed(port: int) -> int:
    with open("/proc/net/tcp") as table:
        rows = [line.split() for line in table][1:]
    return sum(1 for row in rows if row[1].endswith(f":{port:04X}") and row[3] == "08")


def test_accept_survives_a_full_table_of_descriptors(hub: Hub) -> None:
    """``accept`` raises EMFILE when there is no descriptor left, and works again when there is."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as client:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        hoard: list[int] = []
        client.setblocking(False)
        client.connect_ex(listener.getsockname())
        highest = max(int(name) for name in os.listdir("/proc/self/fd"))
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, hard))
            with pytest.raises(OSError) as caught:  # the holes are filled until it fails
                while True:
                    hoard.append(os.dup(0))
            assert caught.value.errno == errno.EMFILE
            for _ in range(3):
                with pytest.raises(OSError) as caught:
                    listener.accept()
                assert caught.value.errno == errno.EMFILE
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for fd in hoard:
                os.close(fd)
        sock, _ = listener.accept()
        sock.close()


def test_a_descriptor_closed_behind_our_back(hub: Hub) -> None:
    """A descriptor closed by ``os.close`` while it is waited for ends no process, and its number can be used again."""
    one, other = os.pipe()
    watcher = hub.loop.io(one, 1)
    watcher.start(lambda: None)
    with selectors.DefaultSelector() as selector:
        selector.register(one, selectors.EVENT_READ)
        assert selector.select(0.001) == []
        os.close(one)
        os.close(other)
        hubbub.sleep(0.01)
        assert selector.select(0.001) == []
    watcher.close()
    mine, peer = socket.socketpair()
    with mine, peer:
        reader = hubbub.spawn(mine.recv, 10)
        hubbub.sleep(0.01)
        peer.sendall(b"hello")
        assert reader.get(timeout=5) == b"hello"


def test_a_large_write_to_a_silent_peer_blocks_nobody(hub: Hub, certificates: Any, ticks: list[int]) -> None:
    """Silent TLS clients and writers to peers that do not read leave the thread to others."""
    one, other = socket.socketpair()
    with one, other, tls_echo(certificates) as (address, _), socket.create_connection(address):
        writing = hubbub.spawn(one.sendall, b"x" * (1 << 24))
        before = ticks[0]
        until(lambda: ticks[0] - before >= 2)
        assert not writing.dead
        writing.kill()


def test_selecting_often_leaves_nothing(hub: Hub) -> None:
    """Thousands of waits in ``select`` for the same file given twice leave no memory behind."""
    one, other = socket.socketpair()
    with one, other:

        def repeat(times: int) -> None:
            for _ in range(times):
                hubbub.spawn(other.send, b"x")
                assert select.select([one, one], [], []) == ([one, one], [], [])
                one.recv(1)

        repeat(200)
        gc.collect()
        tracemalloc.start()
        try:
            repeat(100)
            gc.collect()
            before = tracemalloc.get_traced_memory()[0]
            repeat(2000)
            gc.collect()
            assert tracemalloc.get_traced_memory()[0] - before < 20_000
        finally:
            tracemalloc.stop()
