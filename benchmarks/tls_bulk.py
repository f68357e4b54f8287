"""One greenlet sends megabytes over TLS to another."""

from __future__ import annotations

from typing import Any

from shim import Api, main
from support.tls import contexts

OPERATIONS = 100
BLOCK = b"x" * (1 << 20)


def drain(context: Any, sock: Any, total: int) -> int:
    """Reads one connection to its end; how many bytes are missing."""
    wrapped = context.wrap_socket(sock, server_side=True)
    while data := wrapped.recv(65536):
        total -= len(data)
    wrapped.close()
    return total


def run(api: Api, operations: int) -> None:
    """One operation: one megabyte (2**20 bytes) encrypted, sent, received and decrypted."""
    server, client = contexts(api.module("ssl"))
    ours, theirs = api.module("socket").socketpair()
    other = api.spawn(drain, server, theirs, operations * len(BLOCK))
    wrapped = client.wrap_socket(ours)
    for _ in range(operations):
        wrapped.sendall(BLOCK)
    wrapped.close()
    if other.get():
        raise RuntimeError("bytes were lost")


if __name__ == "__main__":
    main(run, OPERATIONS)
