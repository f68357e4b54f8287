"""The CPU time that a TCP echo server spends on a request, with 100 connections. The client is another process."""

from __future__ import annotations

import select
import socket
import subprocess
import sys
from typing import Any

from shim import Api, main

OPERATIONS = 20_000
CONNECTIONS = 100
MESSAGE = b"x" * 64


def echo(sock: Any) -> None:
    """Sends back what comes, until the other side closes."""
    while data := sock.recv(65536):
        sock.sendall(data)
    sock.close()


def run(api: Api, operations: int) -> None:
    """One operation: one message of 64 bytes received and sent back."""
    listener = api.module("socket").socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(CONNECTIONS)
    port = listener.getsockname()[1]
    client = subprocess.Popen([sys.executable, __file__, "client", str(port), str(operations)])
    handlers = [api.spawn(echo, listener.accept()[0]) for _ in range(CONNECTIONS)]
    api.joinall(handlers)
    listener.close()
    if client.wait(60):
        raise RuntimeError("the client failed")


def request_all(port: int, operations: int) -> None:
    """Keeps one message under way on every connection, with epoll, until enough have come back."""
    poller = select.epoll()
    connections = {}
    for _ in range(CONNECTIONS):
        sock = socket.create_connection(("127.0.0.1", port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        poller.register(sock.fileno(), select.EPOLLIN)
        connections[sock.fileno()] = sock
    for sock in connections.values():
        sock.sendall(MESSAGE)
    left = operations - CONNECTIONS
    waiting = CONNECTIONS
    while waiting:
        for fd, _ in poller.poll(30):
            if connections[fd].recv(65536) != MESSAGE:
                raise RuntimeError("the answer is not what was sent")
            if left > 0:
                left -= 1
                connections[fd].sendall(MESSAGE)
            else:
                waiting -= 1


if __name__ == "__main__":
    if sys.argv[1] == "client":
        request_all(int(sys.argv[2]), int(sys.argv[3]))
    else:
        main(run, OPERATIONS)
