"""TLS with OpenSSL: reads of several records, writes of several flights, and threads."""

from __future__ import annotations

import hashlib
import os
import ssl
import sys
import threading
from collections.abc import Callable
from typing import Any

import hubbub
import pytest
from hubbub_net import acceleration, socket
from hubbub_net import ssl as ours

RECORD = 1 << 14
Pair = Callable[[], tuple[Any, Any]]
pytestmark = pytest.mark.usefixtures("methods")


def records(sock: Any, *texts: bytes) -> list[bytes]:
    """What would be sent for ``texts``, a record each."""
    wire = sock._tls_reader.wire
    found = []
    for text in texts:
        wire.sslobj.write(text)
        found.append(wire.outgoing.read())
    return found


def put(sock: Any, ciphertext: bytes) -> None:
    """Into the kernel, by the way of no TLS."""
    assert os.write(sock.fileno(), ciphertext) == len(ciphertext)


@pytest.mark.parametrize("size", [1, 100, 4096, RECORD - 1, RECORD, RECORD + 1, 65536, 100_000, 1 << 20])
def test_reads_of_any_size(pair: Pair, size: int) -> None:
    """What is written comes out whole, in pieces of whatever size, as new bytes or into a buffer."""
    server, client = pair()
    data = os.urandom(min(300 * size, 700_000))
    writing = hubbub.spawn(client.sendall, data)
    received = bytearray()
    buffer = bytearray(size)
    while len(received) < len(data):
        piece = server.recv(size)
        assert 0 < len(piece) <= size
        received += piece
        if len(received) < len(data):
            count = server.recv_into(buffer)
            assert 0 < count <= size
            received += buffer[:count]
    assert received == data
    writing.get(timeout=10)


def test_all_that_has_come_in_one_piece(pair: Pair) -> None:
    """A read with room returns all records that are there, as one object that is its own."""
    server, client = pair()
    texts = [os.urandom(RECORD), os.urandom(RECORD), os.urandom(10), os.urandom(5000)]
    for _ in range(2):
        put(client, b"".join(records(client, *texts)))
        data = server.recv(1 << 20)
        assert type(data) is bytes
        assert data == b"".join(texts)
        likewise = b"".join(texts)
        assert sys.getrefcount(data) == sys.getrefcount(likewise)
        assert hash(data) == hash(b"".join(texts))
        assert not server.has_ahead()
    buffer = bytearray(1 << 20)
    put(client, b"".join(records(client, *texts)))
    assert server.recv_into(buffer) == len(b"".join(texts))
    assert buffer.startswith(b"".join(texts))
    buffer.extend(b"resizable again")
    assert not server.has_ahead()


@pytest.mark.parametrize("into", [False, True])
@pytest.mark.parametrize("good", [0, 1, 2, 3])
def test_an_error_in_the_middle(pair: Pair, good: int, into: bool) -> None:
    """A read of several records of which one is bad returns those before; the next read has the error, and only it."""
    server, client = pair()

    def read() -> bytes:
        if not into:
            data: bytes = server.recv(65536)
            return data
        buffer = bytearray(65536)
        return bytes(buffer[: server.recv_into(buffer)])

    texts = [os.urandom(RECORD) for _ in range(4)]
    parts = records(client, *texts)
    bad = bytearray(parts[good])
    bad[-1] ^= 1
    put(client, b"".join([*parts[:good], bytes(bad), *parts[good + 1 :]]))
    if good:
        assert read() == b"".join(texts[:good])
        assert server.has_ahead()
    with pytest.raises(ssl.SSLError, match=r"(?i)mac|decrypt|record") as caught:
        read()
    assert not isinstance(caught.value, ssl.SSLWantReadError)
    assert not server._tls_reader.wire.readers.held


def test_the_end_in_the_middle(pair: Pair) -> None:
    """A read of several records behind which the peer has said goodbye returns those; the next one is empty."""
    server, client = pair()
    texts = [os.urandom(RECORD) for _ in range(2)]
    parts = records(client, *texts)
    with pytest.raises(ssl.SSLWantReadError):
        client._tls_reader.wire.sslobj.shutdown()
    put(client, b"".join(parts) + client._tls_reader.wire.outgoing.read())
    assert server.recv(1 << 20) == b"".join(texts)
    assert server.recv(1 << 20) == b""
    assert server.recv(1 << 20) == b""


def test_nothing_has_come(pair: Pair) -> None:
    """A read that may not wait, or not for long, says so as in Python, and leaves the turn to the next."""
    server, client = pair()
    server.settimeout(0.0)
    for _ in range(2):
        with pytest.raises(ssl.SSLWantReadError, match=r"did not complete \(read\)"):
            server.recv(10)
        with pytest.raises(ssl.SSLWantReadError, match=r"did not complete \(read\)"):
            server.recv_into(bytearray(10))
    server.settimeout(0.001)
    with pytest.raises(TimeoutError, match="The read operation timed out"):
        server.recv(10)
    with pytest.raises(TimeoutError, match="The read operation timed out"):
        server.recv_into(bytearray(10))
    with pytest.raises(hubbub.Timeout), hubbub.Timeout(0.001):
        server.settimeout(10)
        server.recv(10)
    client.sendall(b"late")
    assert server.recv(10) == b"late"


def test_a_killed_reader_loses_nothing(pair: Pair) -> None:
    """A reader that is killed while it waits leaves its turn, and what comes then, to the next one."""
    server, client = pair()
    first, second = hubbub.spawn(server.recv, 100), hubbub.spawn(server.recv, 100)
    hubbub.sleep(0)
    first.kill()
    client.sendall(b"for the second")
    assert second.get(timeout=10) == b"for the second"
    assert not server._tls_reader.wire.readers.held


def test_the_kernel_is_full(pair: Pair) -> None:
    """A write that does not fit is finished when there is room; one that may not wait goes on where it ended."""
    server, client = pair()
    data = os.urandom(1 << 22)
    client.settimeout(0.0)
    with pytest.raises(ssl.SSLWantWriteError, match=r"did not complete \(write\)"):
        client.send(data)
    assert 0 < client._tls_writer._owed < len(data)
    received = bytearray()
    while len(received) < len(data):
        received += server.recv(65536)
        try:
            sent = client.send(data)
        except ssl.SSLWantWriteError:
            continue
        assert sent == len(data)
        break
    while len(received) < len(data):
        received += server.recv(65536)
    assert received == data


def test_a_broken_connection(pair: Pair) -> None:
    """A write to a peer that is gone, or behind the own end, raises what it raises in Python."""
    server, client = pair()
    server.shutdown(socket.SHUT_WR)
    with pytest.raises(BrokenPipeError):
        server.send(b"x")
    socket.socket.shutdown(client, socket.SHUT_RDWR)
    for data in (b"x", bytes(100_000)):
        with pytest.raises(ssl.SSLEOFError) as caught:
            client.send(data)
        assert isinstance(caught.value.__cause__, BrokenPipeError)


def test_interrupted_receives(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """``recv`` of the cooperative socket is looked up at each read, so that what replaces it is called."""
    server, client = pair()
    asked = []

    def recv(sock: Any, count: int, flags: int = 0) -> bytes:
        asked.append(count)
        return original(sock, count, flags)

    original = socket.socket.recv
    monkeypatch.setattr(socket.socket, "recv", recv)
    client.sendall(b"x")
    assert server.recv(1) == b"x"
    assert len(asked) == 1


def test_changed_in_the_middle(methods: str, pair: Pair) -> None:
    """The methods may be exchanged while a greenlet waits in them, and with something left over."""
    server, client = pair()
    reading = hubbub.spawn(server.recv, 5)
    hubbub.sleep(0)
    acceleration.slow_down()
    if methods == "python":
        assert acceleration.accelerate()
    put(client, b"".join(records(client, b"a" * 3, b"b" * RECORD, b"c" * RECORD)))
    assert reading.get(timeout=10) == b"aaabb"
    assert server.recv(1 << 20) == b"b" * (RECORD - 2) + b"c" * RECORD


def exchange(contexts: tuple[ours.SSLContext, ours.SSLContext], seed: int, found: dict[int, bool]) -> None:
    """Four megabytes each way, in a hub of its own; a record says whose it is by its bytes."""
    server_context, client_context = contexts
    one, other = socket.socketpair()
    shaking = hubbub.spawn(server_context.wrap_socket, one, server_side=True)
    with client_context.wrap_socket(other, server_hostname="localhost") as client, shaking.get(timeout=30) as server:
        data = {
            sock: hashlib.shake_128(b"%d %d" % (seed, at)).digest(1 << 22) for at, sock in enumerate((server, client))
        }

        def read(sock: Any) -> bytes:
            received = bytearray()
            buffer = bytearray(50_000)
            while len(received) < 1 << 22:
                received += sock.recv(65536)
                if len(received) < 1 << 22:
                    received += buffer[: sock.recv_into(buffer)]
            return bytes(received)

        readers = [hubbub.spawn(read, sock) for sock in (client, server)]
        writers = [hubbub.spawn(sock.sendall, data[sock]) for sock in (server, client)]
        results = [reader.get(timeout=60) for reader in readers]
        hubbub.joinall(writers, timeout=60)
        found[seed] = results == [data[server], data[client]]
    hubbub.get_hub().destroy()


def test_threads(contexts: tuple[ours.SSLContext, ours.SSLContext]) -> None:
    """Connections of several native threads, whose OpenSSL calls give up the GIL, never get one another's bytes."""
    found: dict[int, bool] = {}
    interval = sys.getswitchinterval()
    threads = [threading.Thread(target=exchange, args=(contexts, seed, found)) for seed in range(3)]
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
    finally:
        sys.setswitchinterval(interval)
    assert found == {0: True, 1: True, 2: True}
