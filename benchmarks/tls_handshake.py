"""TLS handshakes, both sides in one process."""

from __future__ import annotations

from typing import Any

from shim import Api, main
from support.tls import contexts

OPERATIONS = 300


def serve(context: Any, sock: Any) -> None:
    """The server's side of one handshake."""
    context.wrap_socket(sock, server_side=True).close()


def run(api: Api, operations: int) -> None:
    """One operation: one full handshake of TLS 1.3."""
    socket = api.module("socket")
    server, client = contexts(api.module("ssl"))
    for _ in range(operations):
        ours, theirs = socket.socketpair()
        other = api.spawn(serve, server, theirs)
        client.wrap_socket(ours).close()
        other.get()


if __name__ == "__main__":
    main(run, OPERATIONS)
