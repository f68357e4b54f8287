"""The worker for gunicorn, under gunicorn."""

from __future__ import annotations

import base64
import http.client
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from served_process import Speaking, began

pytest.importorskip("gunicorn")
pytestmark = [pytest.mark.skipif(sys.platform == "win32", reason="gunicorn needs fork")]

APPLICATION = """
import os, time
import hubbub

def app(environ, start_response):
    if environ["PATH_INFO"] == "/slow":
        open("began-slow-1", "w").close()
        hubbub.sleep(0.7)
    if environ["PATH_INFO"] == "/fail":
        raise ZeroDivisionError
    if environ["PATH_INFO"] == "/stuck":
        time.sleep(60)
    if environ["PATH_INFO"] == "/told":
        start_response("200 OK", [("X-Told", "answer")])
        return [b"told"]
    if environ["PATH_INFO"] in ("/evil", "/clear"):
        if environ["PATH_INFO"] == "/clear":
            environ.clear()
        environ["REMOTE_ADDR"] = environ["site"] = 'x\\n10.0.0.1 "GET\\x1b[2J\\x9b'
        environ["HTTP_X"] = 5
        start_response("200 OK", [("X-Told", "a\\x9bb")])
        return [b"evil"]
    start_response("200 OK", [])
    if environ["PATH_INFO"] == "/other":
        return [str(environ.get("HTTP_X_OTHER")).encode()]
    if "/where" in (environ["PATH_INFO"], environ["SCRIPT_NAME"]) or environ["PATH_INFO"] == "/app/where":
        return [f"{environ['wsgi.url_scheme']} {environ['SCRIPT_NAME']} {environ['PATH_INFO']}".encode()]
    return [f"{os.getpid()} {environ['wsgi.url_scheme']}".encode()]
"""


class Gunicorn(Speaking):
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
        assert self.process.stdout is not None
        self.listen(self.process.stdout)
        self.says("Booting worker")
        self.port = int(self.said.partition("127.0.0.1:")[2].split()[0])

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


def test_term_lets_requests_end(start: Any, tmp_path: Path) -> None:
    """SIGTERM to gunicorn lets a request that runs be answered."""
    server = start()
    answers: list[str] = []
    thread = threading.Thread(target=lambda: answers.append(server.get("/slow")))
    server.get()
    thread.start()
    began(tmp_path, "/slow")
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


def _ask(server: Gunicorn, *fields: str, path: str = "/where") -> tuple[int, str]:
    """Status and body of a request with these fields, written as they stand."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as sock:
        lines = "".join(f"{field}\r\n" for field in fields)
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n{lines}Connection: close\r\n\r\n".encode())
        answer = b""
        while data := sock.recv(65536):
            answer += data
    head, _, body = answer.decode().partition("\r\n\r\n")
    return int(head.split()[1]), body


def test_believes_trusted_proxies(start: Any) -> None:
    """A proxy in forwarded_allow_ips (by default the loopback addresses) tells the scheme and SCRIPT_NAME."""
    server = start()
    assert _ask(server) == (200, "http  /where")
    assert _ask(server, "X-Forwarded-Proto: https") == (200, "https  /where")
    assert _ask(server, "X-Forwarded-Proto: http") == (200, "http  /where")
    assert _ask(server, "X-Forwarded-Proto: https", "X-Forwarded-Ssl: off")[0] == 400
    assert _ask(server, "SCRIPT_NAME: /app", path="/app/where") == (200, "http /app /where")
    assert _ask(server, "Script-Name: /app", path="/app/where") == (200, "http  /app/where")
    assert _ask(server, "SCRIPT_NAME: /other", path="/app/where")[0] == 500
    assert _ask(server, "X_Other: dropped", path="/other") == (200, "None")


def test_believes_nobody_else(start: Any) -> None:
    """What a client says that is not in forwarded_allow_ips changes nothing."""
    server = start("--forwarded-allow-ips", "192.0.2.0/24")
    assert _ask(server, "X-Forwarded-Proto: https", "SCRIPT_NAME: /where") == (200, "http  /where")
    assert _ask(server, "X-Forwarded-Proto: https", "X-Forwarded-Ssl: off") == (200, "http  /where")


def test_header_map(start: Any) -> None:
    """The setting header_map says what becomes of fields with an underscore in their names."""
    server = start("--header-map", "refuse")
    assert _ask(server, "X_Other: refused")[0] == 400
    assert _ask(server, "SCRIPT_NAME: /where") == (200, "http /where ")
    server = start("--header-map", "dangerous")
    assert _ask(server, "X_Other: kept", path="/other") == (200, "kept")


CONFIGURATION = """
def pre_request(worker, req):
    worker.log.info("before %s %s %s", req.method, req.path, dict(req.headers)["HOST"])

def post_request(worker, req, environ, resp):
    worker.log.info("after %s %s %s %s", req.uri, environ["PATH_INFO"], resp.status, resp.sent)

accesslog = "-"
access_log_format = "A %(m)s %(U)s %(q)s %(s)s %(b)s %({x-asked}i)s %({x-told}o)s %({path_info}e)s %(h)s"
"""


def test_hooks_and_log_atoms(start: Any, tmp_path: Path) -> None:
    """pre_request and post_request are called around each request, and the access log has gunicorn's atoms."""
    (tmp_path / "conf.py").write_text(CONFIGURATION)
    server = start("-c", "conf.py")
    assert _ask(server, "X-Asked: question", path="/told?a=b") == (200, "told")
    server.says("before GET /told x")
    server.says("after /told?a=b /told 200 OK 4")
    server.says("A GET /told a=b 200 4 question answer /told 127.0.0.1")
    assert "500" in _ask(server, path="/fail")[1]
    server.says("after /fail /fail 500 Internal Server Error")


def test_field_limit(start: Any) -> None:
    """A header field longer than limit_request_field_size is refused."""
    server = start("--limit-request-field_size", "100")
    assert _ask(server, "X-Long: " + "x" * 92)[0] == 200
    assert _ask(server, "X-Long: " + "x" * 93)[0] == 431
    assert _ask(server, "Cookie: " + "x" * 93)[0] == 431


def test_stuck_worker_is_replaced(start: Any) -> None:
    """A worker that says nothing for longer than the setting timeout is ended, and another takes its place."""
    server = start("--timeout", "2")
    first = server.get()
    with closing(socket.create_connection(("127.0.0.1", server.port), timeout=30)) as sock:
        sock.sendall(b"GET /stuck HTTP/1.1\r\nHost: x\r\n\r\n")
        server.says("WORKER TIMEOUT")
        server.says("Booting worker", 2)
        assert server.get() != first
        time.sleep(2.5)  # a worker that is well is left alone
    assert server.said.count("WORKER TIMEOUT") == 1


def test_names_settings_without_effect(start: Any) -> None:
    """A setting that does nothing here is named in the error log."""
    server = start("--strip-header-spaces")
    server.says("strip_header_spaces=True does nothing")
    assert "permit_obsolete_folding" not in server.said


def test_nothing_is_forged(start: Any, tmp_path: Path) -> None:
    """What a client or an application says makes no line of gunicorn's access log, and costs no connection."""
    log = tmp_path / "log"
    form = "%(h)s|%(u)s|%({site}e)s|%({x}i)s|%({x-told}o)s|%(r)s|"
    server = start("--access-logfile", str(log), "--access-logformat", form)
    user = base64.b64encode(b"me\n10.0.0.1\x1b[2J:word").decode()
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)) as connection:
        for path in ("/evil", "/clear", "/evil"):
            connection.request("GET", path, headers={"Authorization": f"Basic {user}"})
            assert connection.getresponse().read() == b"evil"
    server.close()
    lines = log.read_bytes().split(b"\n")[:-1]
    assert len(lines) == 3
    assert not any(line.startswith(b"10") for line in lines)
    assert not re.search(b"[\x00-\x09\x0b-\x1f\x7f]|\xc2[\x80-\x9f]", b"\n".join(lines))
    assert lines[0].split(b"|")[1] == b"me\\x0a10.0.0.1\\x1b[2J"
    assert all(line.split(b"|")[2].startswith(b"x\\x0a10.0.0.1") for line in lines)
