"""Two greenlets send one byte back and forth over TLS."""

from __future__ import annotations

from typing import Any

from shim import Api, main
from support.tls import contexts

OPERATIONS = 5_000


def answer(context: Any, sock: Any) -> None:
    """Sends back what comes, until the other side closes."""
    wrapped = context.wrap_socket(sock, server_side=True)
    while data := wrapped.recv(64):
        wrapped.sendall(data)
    wrapped.close()


def run(api: Api, operations: int) -> None:
    """One operation: one byte there and back, two waits for readiness."""
    server, client = contexts(api.module("ssl"))
    ours, theirs = api.module("socket").socketpair()
    other = api.spawn(answer, server, theirs)
    wrapped = client.wrap_socket(ours)
    for _ in range(operations):
        wrapped.sendall(b"x")
        if wrapped.recv(64) != b"x":
            raise RuntimeError("the answer is not what was sent")
    wrapped.close()
    other.join()


if __name__ == "__main__":
    main(run, OPERATIONS)
