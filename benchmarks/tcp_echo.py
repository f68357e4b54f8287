"""The CPU time that a TCP echo server spends on a message, with many connections. The client is another process."""

from __future__ import annotations

import resource
import select
import socket
import subprocess
import sys
import time
from typing import Any

from shim import Api, main

OPERATIONS = 40_000
SIZES = (100, 1_000, 8_000)
"""Connections."""
MESSAGE = b"x" * 64


def echo(sock: Any) -> None:
    """Sends back what comes, until the other side closes."""
    while data := sock.recv(65536):
        sock.sendall(data)
    sock.close()


def run(api: Api, operations: int) -> float:
    """One operation: one message of 64 bytes received and sent back. Counts from when the last connection is there."""
    listener = api.module("socket").socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(api.size + 1)
    port = listener.getsockname()[1]
    allow_descriptors()
    client = subprocess.Popen([sys.executable, __file__, "client", str(port), str(operations), str(api.size)])
    handlers = [api.spawn(echo, listener.accept()[0]) for _ in range(api.size + 1)]
    began = time.process_time()
    api.joinall(handlers)
    took = time.process_time() - began
    listener.close()
    if client.wait(60):
        raise RuntimeError("the client failed")
    return took


def allow_descriptors() -> None:
    """As many as the system lets a process have."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def connect(port: int) -> socket.socket:
    """A connection over which a first message has come back, so that the server has accepted it."""
    sock = socket.create_connection(("127.0.0.1", port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.sendall(MESSAGE)
    check(sock)
    return sock


def check(sock: socket.socket) -> None:
    """Receive a message."""
    if sock.recv(65536) != MESSAGE:
        raise RuntimeError("the answer is not what was sent")


def request_all(port: int, operations: int, size: int) -> None:
    """Keeps one message under way on every connection, with epoll, until enough have come back.

    One connection more, the last, tells the server that now they count.
    """
    poller = select.epoll()
    connections = {sock.fileno(): sock for sock in (connect(port) for _ in range(size))}
    last = connect(port)
    for fd, sock in connections.items():
        poller.register(fd, select.EPOLLIN)
        sock.sendall(MESSAGE)
    left = operations - size
    waiting = size
    while waiting:
        for fd, _ in poller.poll(30):
            check(connections[fd])
            if left > 0:
                left -= 1
                connections[fd].sendall(MESSAGE)
            else:
                waiting -= 1
    last.close()


if __name__ == "__main__":
    if sys.argv[1] == "client":
        allow_descriptors()
        request_all(int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
    else:
        main(run, OPERATIONS, SIZES)
