"""``hubbub-serve`` as a process, for tests, and the application that it serves there."""

from __future__ import annotations

import atexit
import contextlib
import http.client
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

APPLICATION = """
import os, time

def app(environ, start_response):
    if environ["PATH_INFO"] in ("/slow", "/long", "/stand", "/hold"):
        open(f"began{environ['PATH_INFO'].replace('/', '-')}-{os.getpid()}", "w").close()
    if environ["PATH_INFO"] == "/exit":
        os._exit(7)
    if environ["PATH_INFO"] == "/slow":
        time.sleep(0.5)
    if environ["PATH_INFO"] == "/part":
        start_response("200 OK", [])(b"a part")
        os._exit(7)
    if environ["PATH_INFO"] == "/long":
        time.sleep(25)
        open("ended", "w").close()
    if environ["PATH_INFO"] == "/print":
        import sys
        print("printed" * 100)
        print("said", file=sys.stderr)
        import logging
        logging.getLogger("site").error("logged")
        sys.stdout.flush()
    if environ["PATH_INFO"] == "/stand":
        import signal
        signal.sigtimedwait([], 60)  # whatever is patched, this waits and lets nobody else run
    if environ["PATH_INFO"] == "/socket":
        websocket = environ["hubbub.websocket"]()
        for message in websocket:
            websocket.send(f"{VERSION} {message}")
        return []
    if environ["PATH_INFO"] == "/hold":
        import signal
        signal.sigtimedwait([], 2)
    start_response("200 OK", [])
    return [f"{VERSION} {os.getpid()} {environ['wsgi.multiprocess']} {environ['wsgi.url_scheme']}".encode()]

VERSION = 1
number = 5
import logging
logging.basicConfig()

def make():
    return app
"""


class Speaking:
    """A program that writes lines, which are kept."""

    def listen(self, lines: Iterable[str]) -> None:
        """Read what it writes, from now on."""
        self.said = ""
        self._heard = threading.Condition()
        self._reader = threading.Thread(target=self._read, args=(lines,), daemon=True)
        self._reader.start()

    def _read(self, lines: Iterable[str]) -> None:
        for line in lines:
            with self._heard:
                self.said += line
                self._heard.notify_all()

    def says(self, text: str, count: int = 1) -> None:
        """Wait until ``text`` was said so many times."""
        with self._heard:
            assert self._heard.wait_for(lambda: self.said.count(text) >= count, 60), self.said


class Process(Speaking):
    """A running ``hubbub-serve`` whose errors are read line by line."""

    def __init__(self, folder: Path, *arguments: str, env: dict[str, str] | None = None, **options: Any) -> None:
        command = [sys.executable, "-m", "hubbub_server", *arguments]
        self.process = subprocess.Popen(
            command, cwd=folder, stderr=subprocess.PIPE, text=True, env={**os.environ, **(env or {})}, **options
        )
        assert self.process.stderr is not None
        self.listen(self.process.stderr)

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def ends(self) -> int:
        """Wait for the end; the exit status."""
        status = self.process.wait(60)
        self._reader.join(10)
        return status

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._reader.join(10)
        assert not self._reader.is_alive(), "a worker outlived its supervisor"
        assert self.process.stderr is not None
        self.process.stderr.close()


_held: list[socket.socket] = []
atexit.register(lambda: [holder.close() for holder in _held])


def free_port() -> int:
    """A port that the system gives nobody else who lets it choose: it is bound, but nobody listens yet."""
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("127.0.0.1", 0))
    _held.append(holder)
    port: int = holder.getsockname()[1]
    return port


def get(port: int, path: str = "/", context: ssl.SSLContext | None = None) -> str:
    """The body of a page, once the server is there."""
    deadline = time.monotonic() + 60
    while True:
        connection: http.client.HTTPConnection
        if context is None:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        else:
            connection = http.client.HTTPSConnection("localhost", port, timeout=30, context=context)
        with contextlib.closing(connection):
            try:
                connection.request("GET", path)
                return connection.getresponse().read().decode()
            except ConnectionRefusedError:
                if time.monotonic() > deadline:
                    raise
        time.sleep(0.05)


def refuses(port: int) -> bool:
    """Whether nobody listens: a server that was told to end has begun to."""
    try:
        socket.create_connection(("127.0.0.1", port), 30).close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:
        pass  # it was in the kernel's queue when the socket was closed
    return False


def children(pid: int) -> list[int]:
    """The children of a process, those that have ended and were not reaped included."""
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def began(folder: Path, path: str, workers: int = 1) -> None:
    """Wait until so many workers are in a request for one of the pages that take time."""
    until(lambda: len(list(folder.glob(f"began{path.replace('/', '-')}-*"))) >= workers, f"nobody asks for {path}")


def until(true: Callable[[], object], what: str = "") -> None:
    """Wait, a long time if need be."""
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)
