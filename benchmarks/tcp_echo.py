"""The CPU time that a TCP echo server spends on a request, with many connections. The client is another process."""

from __future__ import annotations

import resource
import select
import socket
import subprocess
import sys
from typing import Any

from shim import Api, main

OPERATIONS = 20_000
SIZES = (100, 1_000, 8_000)
"""Connections."""
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
    listener.listen(api.size)
    port = listener.getsockname()[1]
    allow_descriptors()
    client = subprocess.Popen([sys.executable, __file__, "client", str(port), str(operations), str(api.size)])
    handlers = [api.spawn(echo, listener.accept()[0]) for _ in range(api.size)]
    api.joinall(handlers)
    listener.close()
    if client.wait(60):
        raise RuntimeError("the client failed")


def allow_descriptors() -> None:
    """As many as the system lets a process have."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def request_all(port: int, operations: int, size: int) -> None:
    """Keeps one message under way on every connection, with epoll, until enough have come back."""
    poller = select.epoll()
    connections = {}
    for _ in range(size):
        sock = socket.create_connection(("127.0.0.1", port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        poller.register(sock.fileno(), select.EPOLLIN)
        connections[sock.fileno()] = sock
    for sock in connections.values():
        sock.sendall(MESSAGE)
    left = operations - size
    waiting = size
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
        allow_descriptors()
        request_all(int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
    else:
        main(run, OPERATIONS, SIZES)
