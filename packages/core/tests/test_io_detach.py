"""hubbub.io.Socket.detach: what becomes of the descriptor."""

import os
import socket

import pytest
from hubbub.io import Socket


@pytest.mark.parametrize(("flag", "blocks"), [(None, False), (True, True), (False, False)])
def test_blocking_after_detach(hub, flag, blocks):
    """A detached descriptor blocks if its socket was told to block, and only then."""
    left, right = socket.socketpair()
    made = Socket(fileno=left.detach())
    if flag is not None:
        made.setblocking(flag)
    fd = made.detach()
    assert os.get_blocking(fd) is blocks
    os.close(fd)
    right.close()


def test_socket_that_blocks_still_cooperates(hub):
    """setblocking(True) changes nothing for the socket itself: it waits cooperatively."""
    left, right = (Socket(fileno=one.detach()) for one in socket.socketpair())
    left.setblocking(True)
    hub.loop.run_callback(right.send, b"x")
    assert left.recv(1) == b"x"
    left.close()
    right.close()
