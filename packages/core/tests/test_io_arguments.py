"""Arguments of sockets that count at a second attempt as at the first."""

from __future__ import annotations

import socket

import hubbub
import pytest
from hubbub.io import Socket
from hubbub.lowlevel import Hub


def pair() -> tuple[Socket, Socket]:
    one, other = socket.socketpair()
    return Socket(fileno=one.detach()), Socket(fileno=other.detach())


@pytest.mark.skipif(not hasattr(socket, "SOCK_NONBLOCK"), reason="this system has no SOCK_NONBLOCK")
def test_a_socket_made_nonblocking_never_waits(hub: Hub) -> None:
    """SOCK_NONBLOCK in the type means a time limit of 0."""
    with Socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
        assert sock.gettimeout() == 0.0
        assert not sock.getblocking()
        assert sock.type == socket.SOCK_DGRAM
    with Socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        assert sock.gettimeout() is None


def test_iterators_of_buffers(hub: Hub) -> None:
    """``recvmsg_into`` and ``sendmsg`` take iterators of buffers, also when they have to wait first."""
    one, other = pair()
    with one, other:
        buffers = [bytearray(2), bytearray(3)]
        reading = hubbub.spawn(one.recvmsg_into, iter(buffers))
        hubbub.sleep(0)
        other.sendmsg(iter([b"he", b"llo"]))
        assert reading.get(timeout=5)[0] == 5
        assert buffers == [b"he", b"llo"]
        one.settimeout(0)
        filled = 0
        with pytest.raises(BlockingIOError):
            while True:
                filled += one.send(b"x" * 65536)
        one.settimeout(None)
        writing = hubbub.spawn(one.sendmsg, iter([b"a", b"b"]))
        hubbub.sleep(0)
        assert not writing.dead
        received = b""
        while not received.endswith(b"ab"):
            received = received[-2:] + other.recv(65536)
        assert writing.get(timeout=5) == 2
