"""The command line, as processes of their own."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hubbub_server.__main__ import main
from hubbub_server._application import ApplicationError, find_application
from hubbub_server._options import make_parser
from hubbub_server._supervisor import Supervisor

pytestmark = [pytest.mark.timeout(90), pytest.mark.skipif(sys.platform == "win32", reason="signals and fork")]

APPLICATION = """
import os, time

def app(environ, start_response):
    if environ["PATH_INFO"] == "/exit":
        os._exit(7)
    if environ["PATH_INFO"] == "/slow":
        time.sleep(0.5)
    start_response("200 OK", [])
    return [f"{VERSION} {os.getpid()} {environ['wsgi.multiprocess']} {environ['wsgi.url_scheme']}".encode()]

VERSION = 1
number = 5

def make():
    return app
"""


class Process:
    """A running ``hubbub-serve`` whose errors are read line by line."""

    def __init__(self, folder: Path, *arguments: str, env: dict[str, str] | None = None, **options: Any) -> None:
        command = [sys.executable, "-m", "hubbub_server", *arguments]
        self.process = subprocess.Popen(
            command, cwd=folder, stderr=subprocess.PIPE, text=True, env={**os.environ, **(env or {})}, **options
        )
        self.said = ""
        self._heard = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._heard:
                self.said += line
                self._heard.notify_all()

    def says(self, text: str, count: int = 1) -> None:
        """Wait until ``text`` was said so many times."""
        with self._heard:
            assert self._heard.wait_for(lambda: self.said.count(text) >= count, 60), self.said

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


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
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


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "site_app.py").write_text(APPLICATION)
    (tmp_path / "broken_app.py").write_text("import there_is_no_such_module\n")
    return tmp_path


@pytest.fixture
def start(folder: Path) -> Iterator[Callable[..., Process]]:
    running: list[Process] = []

    def make(*arguments: str, **options: Any) -> Process:
        process = Process(folder, *arguments, **options)
        running.append(process)
        return process

    yield make
    for process in running:
        process.close()


def test_serves(start: Any, loop_name: str) -> None:
    """One process serves, says where, writes the access log, and ends on SIGTERM with status 0."""
    port = free_port()
    process = start("site_app:app", "-b", f"127.0.0.1:{port}", "--loop", loop_name)
    process.says(f"http://127.0.0.1:{port}")
    assert get(port).split()[2:] == ["False", "http"]
    process.says('"GET / HTTP/1.1" 200')
    process.signal(signal.SIGTERM)
    assert process.ends() == 0


def test_ctrl_c(start: Any) -> None:
    """SIGINT ends it with status 0, without a traceback."""
    port = free_port()
    process = start("site_app", "-b", f"127.0.0.1:{port}", "--no-monkey", "--access-log", "none")
    process.says("http://")
    assert get(port)
    process.signal(signal.SIGINT)
    assert process.ends() == 0
    assert "Traceback" not in process.said
    assert "GET" not in process.said


def test_term_lets_requests_end(start: Any) -> None:
    """SIGTERM lets a request that runs be answered."""
    port = free_port()
    process = start("site_app:app", "-b", f"127.0.0.1:{port}")
    process.says("http://")
    answers: list[str] = []
    thread = threading.Thread(target=lambda: answers.append(get(port, "/slow")))
    thread.start()
    time.sleep(0.2)
    process.signal(signal.SIGTERM)
    assert process.ends() == 0
    thread.join(30)
    assert answers[0].startswith("1 ")


def test_unix_socket(start: Any, folder: Path) -> None:
    """It serves on a UNIX socket."""
    process = start("site_app:app", "-b", f"unix:{folder}/socket", "--no-monkey")
    process.says("unix:")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(30)
        sock.connect(f"{folder}/socket")
        sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert sock.recv(1000).startswith(b"HTTP/1.1 200 OK")


def test_tls_and_new_certificate(start: Any, folder: Path) -> None:
    """With a certificate it serves TLS; SIGHUP takes the certificate that is in the file now."""
    trustme = pytest.importorskip("trustme")
    old, new = trustme.CA(), trustme.CA()
    file = folder / "certificate.pem"

    def put(authority: Any) -> ssl.SSLContext:
        leaf = authority.issue_cert("localhost")
        file.write_bytes(leaf.private_key_and_cert_chain_pem.bytes())
        context = ssl.create_default_context()
        authority.configure_trust(context)
        return context

    context = put(old)
    port = free_port()
    process = start("site_app:app", "-b", f"127.0.0.1:{port}", "--certfile", str(file), "--no-monkey")
    process.says("https://")
    assert get(port, context=context).endswith("https")
    context = put(new)
    process.signal(signal.SIGHUP)
    deadline = time.monotonic() + 30
    while True:
        try:
            assert get(port, context=context).endswith("https")
            break
        except ssl.SSLCertVerificationError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_bad_certificate_is_not_taken(start: Any, folder: Path) -> None:
    """After SIGHUP with a certificate whose key does not fit, or none at all, the old one is served on."""
    trustme = pytest.importorskip("trustme")
    authority = trustme.CA()
    good, other = authority.issue_cert("localhost"), authority.issue_cert("localhost")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    certificate.write_bytes(good.cert_chain_pems[0].bytes())
    key.write_bytes(good.private_key_pem.bytes())
    context = ssl.create_default_context()
    authority.configure_trust(context)
    port = free_port()
    files = ["--certfile", str(certificate), "--keyfile", str(key)]
    process = start("site_app:app", "-b", f"127.0.0.1:{port}", *files, "--no-monkey")
    process.says("https://")
    for content in (other.cert_chain_pems[0].bytes(), b"", b"nonsense"):
        certificate.write_bytes(content)
        process.signal(signal.SIGHUP)
        process.says("keeping the old certificate")
        assert get(port, context=context).endswith("https")


def test_workers(start: Any) -> None:
    """Workers share the work, a dead one is replaced, SIGHUP changes all, SIGTERM ends all with status 0."""
    port = free_port()
    process = start("site_app:app", "-b", f"127.0.0.1:{port}", "-w", "2", "--no-monkey")
    first = get(port).split()
    assert first[2] == "True"
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        get(port, "/exit")
    process.says("ended with status 7")
    before = {get(port).split()[1] for _ in range(20)}
    process.signal(signal.SIGHUP)
    process.says("reloading")
    deadline = time.monotonic() + 60
    while {get(port).split()[1] for _ in range(10)} & before:
        assert time.monotonic() < deadline
    process.signal(signal.SIGTERM)
    assert process.ends() == 0


def test_reuse_port(start: Any, folder: Path) -> None:
    """With --reuse-port every worker has a listener of its own, nobody else has one, and UNIX sockets are shared."""
    port = free_port()
    path = folder / "socket"
    places = ["-b", f"127.0.0.1:{port}", "-b", f"unix:{path}"]
    process = start("site_app:app", *places, "--workers", "2", "--reuse-port", "--no-monkey")
    deadline = time.monotonic() + 60
    found: list[str] = []
    while len(set(found)) < 2 or len(found) < 30:  # a listener that nobody looks after would be met soon
        assert time.monotonic() < deadline
        found.append(get(port).split()[1])
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(10)
        client.connect(str(path))
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert client.recv(1000).startswith(b"HTTP/1.1 200")
    process.signal(signal.SIGTERM)
    assert process.process.wait(30) == 0


def test_reload_refuses_nobody(start: Any, folder: Path) -> None:
    """While SIGHUP changes the workers no request is refused or lost, and the new code serves in the end."""
    port = free_port()
    process = start("site_app:app", "-b", f"127.0.0.1:{port}", "-w", "1", "--no-monkey")
    assert get(port).startswith("1 ")
    (folder / "site_app.py").write_text(APPLICATION.replace("VERSION = 1", "VERSION = 22"))
    process.signal(signal.SIGHUP)
    deadline = time.monotonic() + 60
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        with contextlib.closing(connection):
            connection.request("GET", "/")
            if connection.getresponse().read().startswith(b"22 "):
                break
        assert time.monotonic() < deadline


def test_bad_reload_keeps_the_old(start: Any, folder: Path) -> None:
    """New workers that do not start are given up, and the old ones serve on."""
    port = free_port()
    process = start("site_app:app", "-b", f"127.0.0.1:{port}", "-w", "1", "--no-monkey")
    assert get(port).startswith("1 ")
    (folder / "site_app.py").write_text("import there_is_no_such_module\n")
    process.signal(signal.SIGHUP)
    process.says("keeping the old ones")
    assert get(port).startswith("1 ")
    process.signal(signal.SIGTERM)
    assert process.ends() == 0


def test_workers_that_cannot_start(start: Any) -> None:
    """If no worker starts the supervisor gives up with status 1, the reason shown."""
    process = start("broken_app:app", "-b", "127.0.0.1:0", "-w", "2", "--no-monkey")
    assert process.ends() == 1
    assert "there_is_no_such_module" in process.said


def test_worker_that_cannot_be_started(capsys: pytest.CaptureFixture[str]) -> None:
    """A worker that the system will not start is tried again later if there were workers before, else an error."""
    supervisor = Supervisor(make_parser().parse_args(["site_app:app", "--workers", "2"]), ["/there/is/no/such/program"])
    with pytest.raises(FileNotFoundError):
        supervisor._fill()
    supervisor._ever_ready = True
    before = time.monotonic()
    supervisor._fill()
    assert "cannot start a worker" in capsys.readouterr().err
    assert supervisor._not_before > before
    assert supervisor.workers == []
    supervisor._fill()  # not yet
    assert capsys.readouterr().err == ""


def test_workers_end_with_their_supervisor(start: Any) -> None:
    """Workers do not outlive a supervisor that was killed."""
    port = free_port()
    process = start("site_app:app", "-b", f"127.0.0.1:{port}", "-w", "1", "--no-monkey", "--stop-seconds", "1")
    assert get(port)
    process.process.kill()
    process.process.wait(10)
    deadline = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 10).close()
        except ConnectionRefusedError:
            break
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_reload_on_change(start: Any, folder: Path) -> None:
    """With --reload a changed module is served soon."""
    port = free_port()
    process = start("site_app:app", "-b", f"127.0.0.1:{port}", "--reload", "--no-monkey")
    assert get(port).startswith("1 ")
    (folder / "site_app.py").write_text(APPLICATION.replace("VERSION = 1", "VERSION = 333"))
    process.says("a module changed")
    assert get(port).startswith("333 ")


def test_systemd(start: Any, folder: Path) -> None:
    """Listening sockets of systemd are served, and systemd is told when that begins and ends."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        notified.settimeout(60)
        notified.bind(str(folder / "notify"))
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            script = (
                "import os, sys\n"
                f"os.dup2({listener.fileno()}, 3); os.set_inheritable(3, True)\n"
                "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1')\n"
                "os.execv(sys.executable, [sys.executable, '-m', 'hubbub_server', 'site_app:app', '--no-monkey'])\n"
            )
            environment = {**os.environ, "NOTIFY_SOCKET": str(folder / "notify")}
            with subprocess.Popen(
                [sys.executable, "-c", script],
                cwd=folder,
                env=environment,
                pass_fds=[listener.fileno()],
                stderr=subprocess.DEVNULL,
            ) as process:
                try:
                    assert notified.recv(100) == b"READY=1"
                    assert get(port).startswith("1 ")
                finally:
                    process.terminate()
                assert notified.recv(100) == b"STOPPING=1"
                assert process.wait(30) == 0


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("no_such_module_here:app", "no module 'no_such_module_here'"),
        ("site_app:nothing", r"has no 'nothing'; callable there: app, make"),
        ("site_app:number", "it is 5, which cannot be called"),
        ("site_app:app.nothing", "has no 'app.nothing'"),
        (":app", "names no module"),
    ],
)
def test_bad_applications(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str) -> None:
    """An application that is not there is an error that names the module, the attribute and what was found."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    monkeypatch.delitem(sys.modules, "site_app", raising=False)
    with pytest.raises(ApplicationError, match=text):
        find_application(name)


def test_failing_import_is_shown(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that is there and fails to import shows its own error."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    with pytest.raises(ModuleNotFoundError, match="there_is_no_such_module"):
        find_application("broken_app:app")


def test_factory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With --factory the attribute makes the application."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    monkeypatch.delitem(sys.modules, "site_app", raising=False)
    assert find_application("site_app:make", factory=True).__name__ == "app"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["site_app:app", "--loop", "nonsense", "--no-monkey"], "nonsense"),
        (["site_app:app", "-b", "nonsense", "--no-monkey"], "nonsense"),
        (["site_app:app", "--certfile", "/nonsense", "--no-monkey"], "'/nonsense': [Errno 2] No such file"),
        (["site_app:app", "--certfile", "site_app.py", "--no-monkey"], "cannot use the certificate 'site_app.py'"),
        (["site_app.py:app", "--no-monkey"], "leave the .py out"),
        (["no_such_module_here:app", "--no-monkey"], "no_such_module_here"),
    ],
)
def test_errors_are_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], text: str
) -> None:
    """What cannot be done is one line that says what, and exit status 1."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    assert main(arguments) == 1
    said = capsys.readouterr().err
    assert text in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("option", "value", "text"),
    [
        ("--workers", "0", "a whole number from 1 up, not '0'"),
        ("--workers", "two", "a whole number from 1 up, not 'two'"),
        ("--backlog", "-1", "a whole number from 0 up, not '-1'"),
        ("--stop-seconds", "-1", "a number of seconds from 0 up, not '-1'"),
        ("--stop-seconds", "nan", "a number of seconds from 0 up, not 'nan'"),
        ("--request-line", "1.5", "a whole number above 0, not '1.5'"),
        ("--header-seconds", "0", "a number above 0 or none, not '0'"),
        ("--linger-seconds", "none", "a number above 0, not 'none'"),
    ],
)
def test_bad_numbers(capsys: pytest.CaptureFixture[str], option: str, value: str, text: str) -> None:
    """A number that makes no sense is refused with what would make sense."""
    with pytest.raises(SystemExit):
        make_parser().parse_args(["site_app:app", f"{option}={value}"])
    assert text in capsys.readouterr().err


def test_port_in_use(start: Any) -> None:
    """A port in use is named, and the exit status is 1."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        process = start("site_app:app", "-b", f"127.0.0.1:{port}", "--no-monkey")
        assert process.ends() == 1
    assert str(port) in process.said
    assert "Traceback" not in process.said


def test_limits_are_options(folder: Path, start: Any) -> None:
    """Every limit is an option."""
    port = free_port()
    process = start("site_app:app", "-b", f"127.0.0.1:{port}", "--request-line", "20", "--no-monkey")
    process.says("http://")
    assert get(port, "/" + "x" * 30).startswith("414 URI Too Long")


@pytest.mark.parametrize("workers", [[], ["-w", "2"]], ids=["alone", "workers"])
def test_term_under_load(start: Any, workers: list[str]) -> None:
    """SIGTERM under load loses no request: connections end only where the answer before said so."""
    port = free_port()
    process = start("site_app:app", "-b", f"127.0.0.1:{port}", "--no-monkey", "--access-log", "none", *workers)
    get(port)
    answered: list[int] = []
    lost: list[BaseException] = []

    def crawl() -> None:
        while True:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            with contextlib.closing(connection):
                try:
                    connection.connect()
                except OSError:
                    return  # nobody listens any more
                while True:
                    try:
                        connection.request("GET", "/")
                        response = connection.getresponse()
                        response.read()
                    except (OSError, http.client.HTTPException) as error:
                        lost.append(error)
                        return
                    answered.append(response.status)
                    if response.getheader("Connection") == "close":
                        break

    crawlers = [threading.Thread(target=crawl) for _ in range(8)]
    for crawler in crawlers:
        crawler.start()
    time.sleep(0.5)
    process.signal(signal.SIGTERM)
    assert process.ends() == 0
    for crawler in crawlers:
        crawler.join(60)
    assert not lost
    assert set(answered) == {200}


def test_stopped_process(start: Any) -> None:
    """A process that was stopped for longer than its time limits goes on with the connections it had."""
    port = free_port()
    process = start("site_app:app", "-b", f"127.0.0.1:{port}", "--no-monkey", "--idle-seconds", "1")
    get(port)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    with contextlib.closing(connection):
        connection.request("GET", "/")
        connection.getresponse().read()
        process.signal(signal.SIGSTOP)
        time.sleep(1.5)
        process.signal(signal.SIGCONT)
        connection.request("GET", "/")
        assert connection.getresponse().read().startswith(b"1 ")
