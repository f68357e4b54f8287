"""The worker for gunicorn, under gunicorn."""

from __future__ import annotations

import http.client
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("gunicorn")
pytestmark = [pytest.mark.timeout(90), pytest.mark.skipif(sys.platform == "win32", reason="gunicorn needs fork")]

APPLICATION = """
import os, time
import hubbub

def app(environ, start_response):
    if environ["PATH_INFO"] == "/slow":
        hubbub.sleep(0.7)
    if environ["PATH_INFO"] == "/fail":
        raise ZeroDivisionError
    start_response("200 OK", [])
    return [f"{os.getpid()} {environ['wsgi.url_scheme']}".encode()]
"""


class Gunicorn:
    """A running gunicorn; what it logs is kept."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        command = [sys.executable, "-m", "gunicorn", "-k", "hubbub_server.gunicorn.Worker", "-b", "127.0.0.1:0"]
        self.process = subprocess.Popen(
            [*command, *arguments, "guni_app:app"],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.said = ""
        self._heard = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.says("Booting worker")
        self.port = int(self.said.partition("127.0.0.1:")[2].split()[0])

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._heard:
                self.said += line
                self._heard.notify_all()

    def says(self, text: str, count: int = 1) -> None:
        with self._heard:
            assert self._heard.wait_for(lambda: self.said.count(text) >= count, 60), self.said

    def close(self) -> int:
        if self.process.poll() is None:
            self.process.terminate()
        try:
            status = self.process.wait(40)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait()
        self._reader.join(10)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return status

    def get(self, path: str = "/") -> str:
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            connection.request("GET", path)
            return connection.getresponse().read().decode()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Gunicorn]]:
    (tmp_path / "guni_app.py").write_text(APPLICATION)
    running: list[Gunicorn] = []

    def make(*arguments: str) -> Gunicorn:
        running.append(Gunicorn(tmp_path, *arguments))
        return running[-1]

    yield make
    for process in running:
        process.close()


def test_serves_and_logs(start: Any) -> None:
    """Requests are served, and are in gunicorn's access log; failures are in its error log."""
    server = start("--access-logfile", "-")
    assert server.get().endswith(" http")
    server.says('"GET / HTTP/1.1" 200')
    assert "500" in server.get("/fail")
    server.says("ZeroDivisionError")
    assert server.close() == 0


def test_term_lets_requests_end(start: Any) -> None:
    """SIGTERM to gunicorn lets a request that runs be answered."""
    server = start()
    answers: list[str] = []
    thread = threading.Thread(target=lambda: answers.append(server.get("/slow")))
    server.get()
    thread.start()
    time.sleep(0.2)
    server.process.terminate()
    thread.join(30)
    assert answers[0].endswith(" http")
    assert server.close() == 0


def test_quit_is_quick(start: Any) -> None:
    """SIGINT to gunicorn ends it without waiting for the requests that run."""
    server = start("--graceful-timeout", "60")
    server.get()
    server.process.send_signal(signal.SIGINT)
    assert server.process.wait(40) == 0


def test_reload(start: Any) -> None:
    """SIGHUP changes the workers."""
    server = start("-w", "2")
    before = {server.get() for _ in range(10)}
    server.process.send_signal(signal.SIGHUP)
    deadline = time.monotonic() + 60
    while {server.get() for _ in range(5)} & before:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_max_requests(start: Any) -> None:
    """A worker that has served as many requests as it may is replaced."""
    server = start("--max-requests", "3")
    pids = {server.get() for _ in range(3)}
    server.says("Booting worker", 2)
    pids.add(server.get())
    assert len(pids) == 2


def test_unlimited(start: Any) -> None:
    """Limits of 0 are none, as gunicorn has it."""
    server = start("--limit-request-fields", "0", "--limit-request-line", "0", "--limit-request-field_size", "0")
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)) as connection:
        headers = {f"X-{number}": "x" * 1000 for number in range(90)}
        connection.request("GET", "/" + "x" * 20000, headers=headers)
        assert connection.getresponse().status == 200
