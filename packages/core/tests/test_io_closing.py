"""Closing a socket whose descriptor others wait for."""

from __future__ import annotations

import errno
import socket

import hubbub
from hubbub.io import Socket, wait_readable
from hubbub.lowlevel import Hub


def test_close_tells_those_who_wait_for_the_bare_descriptor(hub: Hub) -> None:
    """Closing a socket that never waited itself still gives EBADF to a greenlet that waits for its number."""
    one, other = socket.socketpair()
    sock = Socket(fileno=one.detach())
    waiting = hubbub.spawn(wait_readable, sock.fileno())
    hubbub.sleep(0)
    sock.close()
    waiting.join(timeout=5)
    other.close()
    assert isinstance(waiting.exception, OSError)
    assert waiting.exception.errno == errno.EBADF
