"""A connection whose last reference dies in the hub says goodbye over the network."""

from __future__ import annotations

import hubbub
from hubbub import sleep, spawn
from hubbub.lowlevel import Hub
from hubbub_net import socket


class Connection:
    """As a client of a database has it: who forgets it has it closed properly."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def __del__(self) -> None:
        self._sock.sendall(b"goodbye")
        answers.append(self._sock.recv(100))
        self._sock.close()


answers: list[bytes] = []


def test_goodbye_from_the_hub(hub: Hub) -> None:
    """The destructor sends, waits for the answer while the loop turns on, and closes."""
    answers.clear()
    mine, theirs = socket.socketpair()

    def serve() -> bytes:
        said = theirs.recv(100)
        sleep(0.005)
        theirs.sendall(b"farewell")
        rest: bytes = theirs.recv(100)
        theirs.close()
        return said + rest

    server = spawn(serve)
    hub.loop.run_callback([Connection(mine)].clear)
    del mine
    with hubbub.Timeout(20):
        assert server.get() == b"goodbye"
    assert answers == [b"farewell"]
