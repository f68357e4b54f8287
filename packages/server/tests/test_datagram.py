"""Datagram servers."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import hubbub
import pytest
from hubbub.event import Event
from hubbub.io import Socket
from hubbub_server import DatagramServer


@pytest.fixture
def client(hub: Any) -> Any:
    with Socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(10)
        sock.bind(("127.0.0.1", 0))
        yield sock


def test_answers(client: Any) -> None:
    """A handler is given a datagram and its sender, and answers with sendto()."""
    with DatagramServer(("127.0.0.1", 0), lambda data, sender: server.sendto(data.upper(), sender)) as server:
        client.sendto(b"hello", server.address)
        assert client.recvfrom(100) == (b"HELLO", server.address)


def test_longest(client: Any) -> None:
    """The longest datagram there is arrives whole."""
    seen: list[int] = []
    longest = 65507  # 65535 - 20 (IP) - 8 (UDP)

    def handle(data: bytes, sender: Any) -> None:
        seen.append(len(data))
        server.sendto(b"ok", sender)

    with DatagramServer(("127.0.0.1", 0), handle) as server:
        client.sendto(b"x" * longest, server.address)
        assert client.recv(10) == b"ok"
    assert seen == [longest]


def test_unix_datagrams(hub: Any, tmp_path: Path) -> None:
    """A server of datagrams listens on a UNIX socket, and answers clients that have an address."""
    path, mine = str(tmp_path / "server"), str(tmp_path / "client")
    with Socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
        client.settimeout(10)
        client.bind(mine)
        with DatagramServer(f"unix:{path}", lambda data, sender: server.sendto(data.upper(), sender)) as server:
            client.sendto(b"hello", path)
            assert client.recvfrom(100) == (b"HELLO", path)


def test_long_unix_datagrams(hub: Any, tmp_path: Path) -> None:
    """A datagram of a UNIX socket, which may be longer than one of IP, arrives whole."""
    path = str(tmp_path / "server")
    seen: list[int] = []
    done = Event()

    def handle(data: bytes, sender: Any) -> None:
        seen.append(len(data))
        done.set()

    with Socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client, DatagramServer(f"unix:{path}", handle):
        client.sendto(b"x" * 150_000, path)
        assert done.wait(10)
    assert seen == [150_000]


def test_one_failure_is_one(hub: Any, failures: Any, client: Any) -> None:
    """A handler that fails is reported, and the next datagram is served."""

    def handle(data: bytes, sender: Any) -> None:
        if data == b"bad":
            raise ZeroDivisionError
        server.sendto(data, sender)

    with DatagramServer(("127.0.0.1", 0), handle) as server:
        client.sendto(b"bad", server.address)
        client.sendto(b"good", server.address)
        assert client.recv(10) == b"good"
    assert [type(error) for error in failures] == [ZeroDivisionError]


def test_sendto_after_close(hub: Any) -> None:
    """sendto() on a closed server is EBADF."""
    server = DatagramServer(("127.0.0.1", 0), print)
    server.start()
    address = server.address
    server.close()
    hubbub.sleep(0)
    with pytest.raises(OSError) as caught:
        server.sendto(b"x", address)
    assert caught.value.errno == 9
