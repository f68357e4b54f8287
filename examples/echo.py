"""A TCP server that sends back what it gets: ``python echo.py``, then ``nc 127.0.0.1 7000``."""

from hubbub_server import StreamServer


def echo(sock, address):
    """Serve one connection: plain blocking code, in a greenlet of its own."""
    while data := sock.recv(65536):
        sock.sendall(data)


if __name__ == "__main__":
    StreamServer(("127.0.0.1", 7000), echo).serve_forever()
