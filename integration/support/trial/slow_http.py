"""An HTTP server for scripts, and the program that it is in a process of its own.

``GET /delay/0.2`` is answered after that time, and ``POST /echo/0.2`` then with its body, PUT with nothing; the answer
says how many requests the connection has carried. Connections are kept. ``GET /meet/NAME/41`` is answered when 41 of
that path are there at once, which no clock decides; after two minutes with status 500.
"""

from __future__ import annotations

import ssl
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

from trial.servers import HOST, python_server, scratch

__all__ = ["slow_http", "slow_https"]


@contextmanager
def slow_http() -> Iterator[str]:
    """Run it meanwhile; its URL without a slash at the end."""
    with python_server(__file__) as port:
        yield f"http://{HOST}:{port}"


@contextmanager
def slow_https() -> Iterator[tuple[str, Path]]:
    """Run it meanwhile with TLS; its URL, and the file of the authority that vouches for it. Needs trustme."""
    import trustme

    authority = trustme.CA()
    with scratch({}) as folder:
        authority.cert_pem.write_to_path(str(folder / "authority.pem"))
        authority.issue_cert(HOST, "localhost").private_key_and_cert_chain_pem.write_to_path(str(folder / "server.pem"))
        with python_server(__file__, str(folder / "server.pem")) as port:
            yield f"https://{HOST}:{port}", folder / "authority.pem"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    carried = 0
    meetings: ClassVar[dict[str, threading.Barrier]] = {}
    making = threading.Lock()

    def do_GET(self) -> None:  # the name that the standard library calls
        if self.path.startswith("/meet/"):
            self._answer(b"met", 200 if self._met() else 500)
            return
        self._answer(b"done", wait=True)

    def _met(self) -> bool:
        with self.making:
            meeting = self.meetings.setdefault(self.path, threading.Barrier(int(self.path.rpartition("/")[2])))
        try:
            meeting.wait(120)
        except threading.BrokenBarrierError:
            return False
        return True

    def do_POST(self) -> None:  # the same
        self._answer(self.rfile.read(int(self.headers["Content-Length"])), wait=True)

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(b"", wait=True)

    def _answer(self, body: bytes, status: int = 200, *, wait: bool = False) -> None:
        self.carried += 1
        if wait:
            time.sleep(float(self.path.rpartition("/")[2]))
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Carried", str(self.carried))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    request_queue_size = 128


def _main(port: int, certificate: str | None = None) -> None:
    server = _Server((HOST, port), _Handler)
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.serve_forever()


if __name__ == "__main__":
    _main(int(sys.argv[1]), *sys.argv[2:])
