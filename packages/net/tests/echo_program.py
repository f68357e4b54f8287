"""Run under strace by test_injection.py: three megabytes through an echo server, over TCP or TLS, on a chosen loop.

Arguments: the loop, ``tcp`` or ``tls``, a file with certificate and key. Exits with 0 when they came back identical.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import hubbub
from hubbub_net import socket, ssl


def echo(listener: Any, wrap: Any) -> None:
    with wrap(listener.accept()[0]) as sock:
        while data := sock.recv(65536):
            sock.sendall(data)


def read(sock: Any, size: int) -> bytes:
    received = bytearray()
    while len(received) < size and (data := sock.recv(40000)):
        received += data
    return bytes(received)


def main(loop: str, protocol: str, chain: str) -> None:
    hubbub.configure(loop=loop)
    data = os.urandom(3_000_000)
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    server.load_cert_chain(chain)
    client.load_verify_locations(chain)
    secure = protocol == "tls"
    listener = socket.create_server(("127.0.0.1", 0))
    hubbub.spawn(echo, listener, lambda sock: server.wrap_socket(sock, server_side=True) if secure else sock)
    sock: Any = socket.create_connection(listener.getsockname())
    if secure:
        sock = client.wrap_socket(sock, server_hostname="localhost")
    reading = hubbub.spawn(read, sock, len(data))
    sock.sendall(data)
    sys.exit(reading.get(timeout=30) != data)


if __name__ == "__main__":
    main(*sys.argv[1:])
