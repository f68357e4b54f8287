"""One greenlet sends megabytes over TCP to another."""

from __future__ import annotations

from typing import Any

from shim import Api, main

OPERATIONS = 500
BLOCK = b"x" * (1 << 20)


def drain(listener: Any, total: int) -> int:
    """Reads one connection to its end; how many bytes are missing."""
    sock, _ = listener.accept()
    while data := sock.recv(65536):
        total -= len(data)
    sock.close()
    return total


def run(api: Api, operations: int) -> None:
    """One operation: one megabyte (2**20 bytes) sent and received."""
    socket = api.module("socket")
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    other = api.spawn(drain, listener, operations * len(BLOCK))
    ours = socket.create_connection(listener.getsockname())
    for _ in range(operations):
        ours.sendall(BLOCK)
    ours.close()
    if other.get():
        raise RuntimeError("bytes were lost")
    listener.close()


if __name__ == "__main__":
    main(run, OPERATIONS)
