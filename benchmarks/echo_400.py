"""400 connections in one process: all greenlets of one side send, all of the other echo, round after round."""

from __future__ import annotations

import time
from typing import Any

from shim import Api, main

OPERATIONS = 20_000
CONNECTIONS = 400


def echo(sock: Any) -> None:
    """Sends back what comes, until the other side closes."""
    while data := sock.recv(4096):
        sock.sendall(data)
    sock.close()


def ask(sock: Any, times: int) -> None:
    """Sends a message and waits for it to come back, again and again."""
    message = b"x" * 64
    for _ in range(times):
        sock.sendall(message)
        if sock.recv(4096) != message:
            raise RuntimeError("the answer is not what was sent")
    sock.close()


def run(api: Api, operations: int) -> float:
    """One operation: one message of 64 bytes there and back. Counts from when all connections are there."""
    socketpair = api.module("socket").socketpair
    greenlets = []
    for _ in range(CONNECTIONS):
        ours, theirs = socketpair()
        greenlets += [api.spawn(echo, theirs), api.spawn(ask, ours, max(1, operations // CONNECTIONS))]
    began = time.process_time()
    api.joinall(greenlets, raise_error=True)
    return time.process_time() - began


if __name__ == "__main__":
    main(run, OPERATIONS)
