"""A client and an echo server in two greenlets send one byte back and forth over TCP."""

from __future__ import annotations

from typing import Any

from shim import Api, main

OPERATIONS = 10_000


def answer(listener: Any) -> None:
    """Sends back what comes on one connection, until the other side closes."""
    sock, _ = listener.accept()
    while data := sock.recv(64):
        sock.sendall(data)
    sock.close()


def run(api: Api, operations: int) -> None:
    """One operation: one byte there and back, two waits for readiness."""
    socket = api.module("socket")
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    other = api.spawn(answer, listener)
    ours = socket.create_connection(listener.getsockname())
    ours.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for _ in range(operations):
        ours.sendall(b"x")
        if ours.recv(64) != b"x":
            raise RuntimeError("the answer is not what was sent")
    ours.close()
    other.join()
    listener.close()


if __name__ == "__main__":
    main(run, OPERATIONS)
