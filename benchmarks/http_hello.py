"""The CPU time that an HTTP server spends on a request of a WSGI hello world: keep-alive, 64 connections, a process.

The client is another process. Every request has the header fields of a browser, and a cookie of its own.
"""

from __future__ import annotations

import importlib
import select
import socket
import subprocess
import sys
from typing import Any

from shim import Api, main

OPERATIONS = 20_000
CONNECTIONS = 64
HEAD = (
    b"GET /hello?who=world HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\n"
    b"Accept: text/html,application/xhtml+xml;q=0.9,*/*;q=0.8\r\nAccept-Encoding: gzip, deflate, br\r\n"
    b"Accept-Language: en-US,en;q=0.5\r\nCookie: session=%016d\r\n\r\n"
)
BODY = b"Hello World!"


def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Says hello."""
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(BODY)))])
    return [BODY]


def run(api: Api, operations: int) -> None:
    """One operation: one request answered."""
    name = "hubbub_server.wsgi" if api.library == "hubbub" else "gevent.pywsgi"
    server = importlib.import_module(name).WSGIServer(("127.0.0.1", 0), application, log=None)
    server.start()
    client = subprocess.Popen([sys.executable, __file__, "client", str(server.server_port), str(operations)])
    while client.poll() is None:
        api.sleep(0.01)
    server.stop()
    if client.returncode:
        raise RuntimeError("the client failed")


def request_all(port: int, operations: int) -> None:
    """Keeps one request under way on every connection, with epoll, until enough were answered."""
    poller = select.epoll()
    connections = {}
    for _ in range(CONNECTIONS):
        sock = socket.create_connection(("127.0.0.1", port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        poller.register(sock.fileno(), select.EPOLLIN)
        connections[sock.fileno()] = sock
    sent = 0
    for sock in connections.values():
        sock.sendall(HEAD % sent)
        sent += 1
    waiting = CONNECTIONS
    while waiting:
        for fd, _ in poller.poll(30):
            answer = connections[fd].recv(65536)
            while not answer.endswith(BODY):  # a server that sends head and body apart
                answer += connections[fd].recv(65536)
            if sent < operations:
                connections[fd].sendall(HEAD % sent)
                sent += 1
            else:
                waiting -= 1


if __name__ == "__main__":
    if sys.argv[1] == "client":
        request_all(int(sys.argv[2]), int(sys.argv[3]))
    else:
        main(run, OPERATIONS)
