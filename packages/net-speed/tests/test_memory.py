"""No reference is lost or kept too long, also when memory is short."""

from __future__ import annotations

import gc
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme

Pair = Callable[[], tuple[Any, Any]]


@pytest.mark.usefixtures("methods")
def test_nothing_is_left(pair: Pair) -> None:
    """Thousands of reads and writes leave no object and no memory behind."""
    server, client = pair()
    buffer = bytearray(40_000)

    def talk(count: int) -> None:
        for _ in range(count):
            client.sendall(b"x" * 100)
            assert len(server.recv(1000)) == 100
            client.sendall(b"y" * 40_000)
            received = server.recv_into(buffer)
            while received < 40_000:
                received += len(server.recv(65536))
            client.sendall(b"z" * 200)
            for _ in range(2):
                assert len(server.recv(100)) == 100
            server.settimeout(0.0)
            with pytest.raises(OSError):
                server.recv(1)
            server.settimeout(10)

    talk(50)
    gc.collect()
    objects = len(gc.get_objects())
    tracemalloc.start()
    try:
        talk(10)
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        talk(1000)
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert len(gc.get_objects()) - objects < 100
    assert grown < 20_000  # one lost object a round would be at least 24,000


@pytest.mark.usefixtures("methods")
def test_nobody_else_refers_to_a_connection(pair: Pair) -> None:
    """Nothing but the socket refers to the parts of its connection, also after reads that have found nothing."""
    server, client = pair()
    before = sys.getrefcount(server._tls_reader), sys.getrefcount(server._tls_reader.wire.incoming)
    client.sendall(b"x" * 40_000)
    received = 0
    while received < 40_000:
        received += len(server.recv(65536))
    server.settimeout(0.0)
    for _ in range(2):
        try:
            server.recv(10)
        except OSError:
            pass
    after = sys.getrefcount(server._tls_reader), sys.getrefcount(server._tls_reader.wire.incoming)
    assert after == before


SHORT = """
import _testcapi, sys
import hubbub
from hubbub_net import acceleration, socket, ssl

server_context, client_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
server_context.load_cert_chain(sys.argv[1])
client_context.load_verify_locations(sys.argv[2])
assert acceleration.accelerate()
failed = [0]

def pair():
    one, other = socket.socketpair()
    shaking = hubbub.spawn(server_context.wrap_socket, one, server_side=True)
    client = client_context.wrap_socket(other, server_hostname="localhost")
    return shaking.get(), client

def short(number, function, *args):
    "What a function returns, of whose allocations one fails; None if it is out of memory."
    _testcapi.set_nomemory(number, number + 1)
    try:
        return function(*args)
    except (MemoryError, ssl.SSLError):
        failed[0] += 1
    finally:
        _testcapi.remove_mem_hooks()

data = bytes(range(256)) * 200
buffer = bytearray(len(data))
for number in range(60):
    for kind in range(4):
        server, client = pair()
        with server, client:
            if kind < 3:
                client.sendall(data)
                server.settimeout(0.0)  # to wait is the business of others
                if kind == 0:
                    got = short(number, server._tls_reader.read, server, 65536)
                elif kind == 1:
                    got = short(number, server._tls_reader.read_into, server, memoryview(buffer))
                    if got is not None:
                        got = buffer[:got]
                else:
                    assert server.recv(100) == data[:100]
                    got = short(number, server._tls_reader.read, server, 65536)
                assert got is None or got and data[100 * (kind == 2):].startswith(got), (number, kind)
            else:
                client.settimeout(0.0)
                sent = short(number, client._tls_writer.write, client, data)
                if sent is not None:
                    assert sent == len(data)
                    server.settimeout(10.0)
                    got = b""
                    while len(got) < len(data):
                        got += server.recv(65536)
                    assert got == data
            assert not server._tls_reader.wire.readers.held
            assert not client._tls_reader.wire.writers.held
assert failed[0] > 20, failed
print("sound")
"""


@pytest.mark.unsanitized
def test_short_of_memory(tmp_path: Path) -> None:
    """Each allocation may fail: then there is an error, no crash, and nobody is left with the turn."""
    pytest.importorskip("_testcapi")
    authority = trustme.CA()
    chain, trust = tmp_path / "chain.pem", tmp_path / "trust.pem"
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(chain)
    authority.cert_pem.write_to_path(trust)
    command = [sys.executable, "-c", SHORT, str(chain), str(trust)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.stdout == "sound\n", done.stderr
