"""The command line, as processes of their own."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hubbub_server.__main__ import main
from hubbub_server._application import ApplicationError, find_application
from hubbub_server._options import make_parser
from hubbub_server._supervisor import Supervisor
from served_process import APPLICATION, began, children, free_port, get, refuses, until

pytestmark = [pytest.mark.skipif(sys.platform == "win32", reason="signals and fork")]


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


def test_term_lets_requests_end(start: Any, folder: Path) -> None:
    """SIGTERM lets a request that runs be answered."""
    port = free_port()
    process = start("site_app:app", "-b", f"127.0.0.1:{port}")
    process.says("http://")
    answers: list[str] = []
    thread = threading.Thread(target=lambda: answers.append(get(port, "/slow")))
    thread.start()
    began(folder, "/slow")
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
    """With --reuse-port every worker has a listener of its own, each of which is served; UNIX sockets are shared."""
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


def test_reload_with_websockets(start: Any, folder: Path) -> None:
    """While SIGHUP changes the workers their WebSockets are closed with 1001, and new ones reach the new code."""
    client = pytest.importorskip("websockets.sync.client")
    port = free_port()
    process = start("site_app:app", "-b", f"127.0.0.1:{port}", "-w", "1", "--no-monkey")
    assert get(port).startswith("1 ")
    address = f"ws://127.0.0.1:{port}/socket"
    with contextlib.ExitStack() as stack:
        old = [stack.enter_context(client.connect(address, proxy=None)) for _ in range(5)]
        old[0].send("hello")
        assert old[0].recv(10) == "1 hello"
        (folder / "site_app.py").write_text(APPLICATION.replace("VERSION = 1", "VERSION = 22"))
        process.signal(signal.SIGHUP)
        for each in old:
            with pytest.raises(Exception, match="1001"):
                each.recv(60)
        with client.connect(address, proxy=None) as new:
            new.send("hello")
            assert new.recv(10) == "22 hello"
            process.signal(signal.SIGTERM)
            with pytest.raises(Exception, match="1001"):
                new.recv(60)
    assert process.ends() == 0


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
    until(lambda: refuses(port))


@pytest.mark.parametrize("patched", ["--monkey", "--no-monkey"])
def test_busy_workers_end_with_their_supervisor(start: Any, folder: Path, patched: str) -> None:
    """Nor does one that computes and lets nobody else run: it says where it stands, and ends."""
    port = free_port()
    options = ["-w", "1", patched, "--stop-seconds", "0", "--stuck-seconds", "none", "--access-log", "none"]
    process = start("site_app:app", "-b", f"127.0.0.1:{port}", *options)
    get(port)
    with socket.create_connection(("127.0.0.1", port), 30) as client:
        client.sendall(b"GET /stand HTTP/1.1\r\nHost: x\r\n\r\n")
        began(folder, "/stand")
        process.process.kill()
        with contextlib.suppress(ConnectionResetError):
            assert client.recv(1000) == b""  # it was a minute's work
    process.says("site_app.py")


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
        ("--proxy-from", "localhost", "a network is like 10.0.0.0/8, 192.0.2.1, ::1, unix or *, not 'localhost'"),
        ("--forwarded-from", "10.0.0.1/8", "has host bits set"),
        ("--forwarded-fields", "x-real-ip", "the fields to believe are of x-forwarded-for, "),
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


def test_settings_reach_workers(folder: Path, start: Any) -> None:
    """What a file and the environment say holds for the workers too."""
    port = free_port()
    (folder / "x.toml").write_text(f"bind = '127.0.0.1:{port}'\nworkers = 1\nmonkey = false\nrequest-line = 40\n")
    process = start("site_app:app", "--config", "x.toml", env={"HUBBUB_SERVE_REQUEST_LINE": "20"})
    process.says("with 1 worker(s)")
    assert get(port, "/" + "x" * 30).startswith("414 URI Too Long")


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
                for number in itertools.count():
                    try:
                        connection.request("GET", "/")
                        response = connection.getresponse()
                        response.read()
                    except ConnectionResetError as error:
                        if number:  # else the kernel made the connection just before the socket was closed
                            lost.append(error)
                        return
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


@pytest.mark.parametrize("workers", [[], ["-w", "1"]], ids=["alone", "worker"])
@pytest.mark.parametrize("signals", [["SIGTERM", "SIGTERM"], ["SIGINT", "SIGTERM"], ["SIGQUIT"]], ids="+".join)
def test_ends_at_once(start: Any, folder: Path, workers: list[str], signals: list[str]) -> None:
    """Asked twice, or by SIGQUIT, it does not wait for requests that run."""
    port = free_port()
    process = start("site_app:app", "-b", f"127.0.0.1:{port}", *workers)
    get(port)
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        client.sendall(b"GET /long HTTP/1.1\r\nHost: x\r\n\r\n")
        began(folder, "/long")
        for name in signals[:-1]:
            process.signal(getattr(signal, name))
            until(lambda: refuses(port))
        process.signal(getattr(signal, signals[-1]))
        process.ends()
        assert not (folder / "ended").exists()


def test_killed_in_mid_body(start: Any) -> None:
    """A client takes no part for the whole although only the connection's end would tell, when its worker dies."""
    port = free_port()
    process = start("site_app:app", "-b", f"127.0.0.1:{port}", "-w", "1", "--no-monkey")
    get(port)
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        client.sendall(b"GET /part HTTP/1.0\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            while client.recv(1000):
                pass
    process.says("ended with status 7")


def test_manager_goes_away(start: Any, folder: Path) -> None:
    """A service manager's socket that has gone when the service stops costs no request."""
    port = free_port()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(folder / "notify"))
        environment = {"NOTIFY_SOCKET": str(folder / "notify")}
        process = start("site_app:app", "-b", f"127.0.0.1:{port}", env=environment)
        get(port)
    (folder / "notify").unlink()
    answers: list[str] = []
    thread = threading.Thread(target=lambda: answers.append(get(port, "/slow")))
    thread.start()
    began(folder, "/slow")
    process.signal(signal.SIGTERM)
    assert process.ends() == 0
    thread.join(30)
    assert answers[0].startswith("1 ")


# Logs and notices that fail ------------------------------------------------------------------------------------------


class Broken:
    """Standard output and error in a state in which nobody can write to them."""

    def __init__(self, kind: str, when: str) -> None:
        self.kind = kind
        self._reader, self.writer = os.pipe()
        self.options: dict[str, Any] = {}
        if kind == "closed":
            self.options["preexec_fn"] = lambda: (os.close(1), os.close(2))
        elif kind in ("full", "read-only"):
            with open("/dev/full" if kind == "full" else __file__, "ab" if kind == "full" else "rb") as file:
                os.dup2(file.fileno(), self.writer)
        elif when == "start":
            self.strike()

    def strike(self) -> None:
        """The reader goes away, or reads no more."""
        if self.kind == "gone":
            os.close(self._reader)
            self._reader = -1
        elif self.kind == "stuck":
            with open(f"/proc/self/fd/{self.writer}", "wb", buffering=0, opener=_not_waiting) as file:
                while file.write(b"x" * 4096):
                    pass
                while file.write(b"x"):
                    pass

    def close(self) -> None:
        os.close(self.writer)
        if self._reader >= 0:
            os.close(self._reader)


def _not_waiting(path: str, flags: int) -> int:
    return os.open(path, os.O_WRONLY | os.O_NONBLOCK)


@contextlib.contextmanager
def silenced(folder: Path, broken: Broken, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A running server whose standard output and error are ``broken``."""
    command = [sys.executable, "-m", "hubbub_server", *arguments]
    process = subprocess.Popen(command, cwd=folder, stdout=broken.writer, stderr=broken.writer, **broken.options)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        broken.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("when", ["start", "middle"])
@pytest.mark.parametrize("kind", ["closed", "full", "read-only", "gone", "stuck"])
@pytest.mark.parametrize("workers", [["--no-monkey"], [], ["-w", "2", "--no-monkey"]], ids=["plain", "patched", "two"])
def test_nobody_listens(folder: Path, workers: list[str], kind: str, when: str) -> None:
    """Whatever becomes of stdout and stderr: it starts, serves, replaces workers, reloads and ends as usual."""
    if when == "middle" and kind not in ("gone", "stuck"):
        pytest.skip("a state it is in from the start")
    port = free_port()
    broken = Broken(kind, when)
    with silenced(folder, broken, "site_app:app", "-b", f"127.0.0.1:{port}", *workers) as process:
        assert get(port).startswith("1 ")
        if when == "middle":
            broken.strike()
        for _ in range(3):
            assert get(port, "/print").startswith("1 ")
        if "-w" in workers:
            with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
                get(port, "/exit")
        before = {get(port).split()[1] for _ in range(10)}
        process.send_signal(signal.SIGHUP)
        if "-w" in workers:
            deadline = time.monotonic() + 30
            while {get(port).split()[1] for _ in range(10)} & before:
                assert time.monotonic() < deadline
        process.send_signal(signal.SIGUSR1)
        assert get(port, "/print").startswith("1 ")
        process.terminate()
        assert process.wait(30) == 0


@pytest.mark.parametrize("kind", ["no directory", "full", "fifo", "directory"])
@pytest.mark.parametrize("workers", [[], ["-w", "1"]], ids=["alone", "worker"])
def test_log_files_that_fail(start: Any, folder: Path, workers: list[str], kind: str) -> None:
    """A log file that cannot be opened or written is complained of, and no reason not to serve."""
    path = {"no directory": folder / "none" / "log", "full": Path("/dev/full")}.get(kind, folder / "log")
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    port = free_port()
    options = ["--access-log", str(path), "--error-log", str(path), "--no-monkey", *workers]
    process = start("site_app:app", "-b", f"127.0.0.1:{port}", *options)
    for _ in range(3):
        assert get(port).startswith("1 ")
    if kind != "fifo":
        process.says("cannot write to the log")
    process.signal(signal.SIGTERM)
    assert process.ends() == 0


def has_open(pid: int, path: Path) -> bool:
    """Whether a process has this file open."""
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            if path.samefile(fd):
                return True
    return False


@pytest.mark.parametrize("workers", [[], ["-w", "2"]], ids=["alone", "workers"])
def test_rotated_logs(start: Any, folder: Path, workers: list[str]) -> None:
    """After SIGUSR1 the logs are written under their names again, by the single process and by all workers."""
    port = free_port()
    log, old = folder / "log", folder / "log.1"
    process = start("site_app:app", "-b", f"127.0.0.1:{port}", "--access-log", str(log), "--no-monkey", *workers)
    get(port)
    log.rename(old)
    process.signal(signal.SIGUSR1)
    deadline = time.monotonic() + 30
    while not log.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    if Path("/proc/self/fd").exists():
        pids = [process.process.pid, *children(process.process.pid)]
        until(lambda: not any(has_open(pid, old) for pid in pids))
    else:
        time.sleep(1)
    size = old.stat().st_size
    for _ in range(20):
        get(port, "/after")
    # The line is written once the answer has been.
    until(lambda: log.read_text().count("/after") == 20)
    assert old.stat().st_size == size


def test_stale_notify_socket(start: Any, folder: Path) -> None:
    """A service manager's socket that is not there, or goes away, is no reason not to serve or to lose a request."""
    port = free_port()
    environment = {"NOTIFY_SOCKET": str(folder / "nobody")}
    for workers in ([], ["-w", "1"]):
        process = start("site_app:app", "-b", f"127.0.0.1:{port}", "--no-monkey", *workers, env=environment)
        assert get(port).startswith("1 ")
        process.says("cannot be reached")
        process.signal(signal.SIGTERM)
        assert process.ends() == 0


def test_stuck_notify_socket(start: Any, folder: Path) -> None:
    """A service manager that does not listen keeps nobody waiting."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, \
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as filler:  # fmt: skip
        manager.bind(str(folder / "notify"))
        filler.setblocking(False)
        filler.connect(str(folder / "notify"))
        with pytest.raises(BlockingIOError):
            while True:
                filler.send(b"x")
        for workers in ([], ["-w", "1"]):
            port = free_port()
            environment = {"NOTIFY_SOCKET": str(folder / "notify")}
            process = start("site_app:app", "-b", f"127.0.0.1:{port}", "--no-monkey", *workers, env=environment)
            assert get(port).startswith("1 ")
            process.signal(signal.SIGTERM)
            assert process.ends() == 0


@pytest.mark.parametrize("workers", [[], ["-w", "2"]], ids=["alone", "workers"])
def test_what_the_service_manager_hears(start: Any, folder: Path, workers: list[str]) -> None:
    """One process speaks: READY, RELOADING with its time and READY again, WATCHDOG all the while, and one STOPPING."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(60)
        manager.bind(str(folder / "notify"))
        port = free_port()
        environment = {"NOTIFY_SOCKET": str(folder / "notify"), "WATCHDOG_USEC": "400000"}
        process = start("site_app:app", "-b", f"127.0.0.1:{port}", "--no-monkey", *workers, env=environment)

        def hear(text: bytes) -> bytes:
            while True:
                said = manager.recv(200)
                assert said == b"WATCHDOG=1" or said.startswith(text), said
                if said.startswith(text):
                    return said

        hear(b"READY=1")
        hear(b"WATCHDOG=1")
        before = time.monotonic_ns() // 1000
        process.signal(signal.SIGHUP)
        said = hear(b"RELOADING=1\nMONOTONIC_USEC=")
        assert before <= int(said.rpartition(b"=")[2]) <= time.monotonic_ns() // 1000
        hear(b"READY=1")
        hear(b"WATCHDOG=1")
        process.signal(signal.SIGTERM)
        hear(b"STOPPING=1")
        assert process.ends() == 0
        manager.settimeout(0.1)
        with pytest.raises(TimeoutError):
            while manager.recv(200) == b"WATCHDOG=1":
                pass
            raise AssertionError("somebody spoke after the end")


# Processes -----------------------------------------------------------------------------------------------------------


def inheritable(pid: int) -> list[str]:
    """The descriptors of a process, but the standard ones, that its children get."""
    found = []
    for entry in Path(f"/proc/{pid}/fdinfo").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            flags = int(entry.read_text().partition("flags:")[2].split()[0], 8)
            if int(entry.name) > 2 and not flags & os.O_CLOEXEC:
                found.append(os.readlink(f"/proc/{pid}/fd/{entry.name}"))
    return found


SLOW_TO_START = APPLICATION + "\ntime.sleep(1)\n"
linux = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="processes are looked at by /proc")


@linux
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTTIN, signal.SIGUSR1])
def test_storm_of_signals(start: Any, folder: Path, number: int) -> None:
    """However many signals come, at the start or later, one generation starts at a time, and in the end all serve."""
    (folder / "site_app.py").write_text(SLOW_TO_START)
    port = free_port()
    process = start("site_app:app", "-b", f"127.0.0.1:{port}", "-w", "2", "--no-monkey", "--access-log", "none")
    process.says("listening")
    most = 0
    begun = time.monotonic()
    while time.monotonic() < begun + 5:
        process.signal(number)
        most = max(most, len(children(process.process.pid)))
        time.sleep(0.02)
    assert most <= (8 if number == signal.SIGTTIN else 4)
    (folder / "site_app.py").write_text(APPLICATION.replace("VERSION = 1", "VERSION = 99"))
    process.signal(signal.SIGHUP)
    until(lambda: get(port).startswith("99 "))
    until(lambda: len(children(process.process.pid)) == (8 if number == signal.SIGTTIN else 2))
    process.signal(signal.SIGTERM)
    assert process.ends() == 0


@linux
@pytest.mark.parametrize("options", [[], ["--reuse-port"]], ids=["shared", "reuse-port"])
def test_more_and_fewer_workers(start: Any, options: list[str]) -> None:
    """SIGTTIN adds a worker, SIGTTOU takes one away, the last one stays, and serves all that come."""
    port = free_port()
    options = [*options, "-w", "1", "--no-monkey", "--access-log", "none"]
    process = start("site_app:app", "-b", f"127.0.0.1:{port}", *options)
    get(port)
    pid = process.process.pid
    process.signal(signal.SIGTTIN)
    process.says("keeping 2 worker(s)")
    until(lambda: len(children(pid)) == 2)
    for _ in range(5):
        process.signal(signal.SIGTTOU)
        time.sleep(0.05)
    until(lambda: len(children(pid)) == 1)
    for _ in range(30):  # a listener that nobody looks after would be met soon
        assert get(port).startswith("1 ")


@linux
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1])
def test_signal_at_any_moment_of_the_start(start: Any, folder: Path, number: int) -> None:
    """A signal that comes while the supervisor and its workers start leaves no process behind and loses none."""
    (folder / "site_app.py").write_text(APPLICATION + "\ntime.sleep(0.3)\n")
    for delay in (0.05, 0.15, 0.25, 0.35, 0.5, 0.7):
        port = free_port()
        process = start("site_app:app", "-b", f"127.0.0.1:{port}", "-w", "2", "--no-monkey", "--access-log", "none")
        time.sleep(delay)
        process.signal(number)
        early = process.said == ""  # Python had not begun to run the server, perhaps
        if number in (signal.SIGHUP, signal.SIGUSR1):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.process.wait(0.5)
                assert early
                assert process.process.returncode == -number
                continue
            assert get(port).startswith("1 ")
            process.signal(signal.SIGTERM)
            early = False
        if early and number == signal.SIGINT:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.process.wait(5)
            if process.process.poll() is None:
                process.signal(number)  # CPython lost the first, in a callback of its import system
        assert process.ends() in ((0, -number, 130, 1) if early else (0,))
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), 5)


@linux
def test_crash_loop(start: Any, folder: Path) -> None:
    """Workers that die soon after they began to serve are started at ever longer intervals."""
    source = APPLICATION + "\nif os.path.exists('crash'):\n    import hubbub; hubbub.spawn_later(0.05, os._exit, 3)\n"
    (folder / "site_app.py").write_text(source)
    port = free_port()
    process = start("site_app:app", "-b", f"127.0.0.1:{port}", "-w", "2", "--no-monkey", "--access-log", "none")
    get(port)
    (folder / "crash").touch()
    for pid in children(process.process.pid):
        os.kill(pid, signal.SIGKILL)
    time.sleep(5)
    assert process.said.count("ended with status 3") <= 2 * 4
    (folder / "crash").unlink()
    assert get(port).startswith("1 ")


@linux
def test_broken_reload_again_and_again(start: Any, folder: Path) -> None:
    """Reloads of an application that does not start any more are not tried faster than one a second."""
    port = free_port()
    process = start("site_app:app", "-b", f"127.0.0.1:{port}", "-w", "2", "--no-monkey", "--access-log", "none")
    get(port)
    (folder / "site_app.py").write_text("import there_is_no_such_module\n")
    begun = time.monotonic()
    while time.monotonic() < begun + 4:
        process.signal(signal.SIGHUP)
        assert len(children(process.process.pid)) <= 4
        time.sleep(0.02)
    tries = process.said.count("reloading")
    assert tries <= 1 + time.monotonic() - begun
    assert get(port).startswith("1 ")


@linux
@pytest.mark.parametrize("workers", [["--no-monkey"], [], ["-w", "2"], ["-w", "2", "--reuse-port"]], ids=" ".join)
def test_no_descriptor_is_inherited(start: Any, folder: Path, workers: list[str], loop_name: str) -> None:
    """Every descriptor of the server's but the standard ones is closed in programs that it or the application runs."""
    source = APPLICATION.replace(
        "\n    start_response",
        "\n    if environ['PATH_INFO'] == '/fds':\n        os.system('ls -l /proc/self/fd > fds')\n    start_response",
    )
    (folder / "site_app.py").write_text(source + "\nos.system('ls -l /proc/self/fd > fds.import')\n")
    port = free_port()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(folder / "notify"))
        options = ["-b", f"127.0.0.1:{port}", "-b", f"unix:{folder}/socket", "--loop", loop_name, *workers]
        options += ["--access-log", str(folder / "log"), "--error-log", str(folder / "errors")]
        process = start("site_app:app", *options, env={"NOTIFY_SOCKET": str(folder / "notify")})
        with (
            socket.socket(socket.AF_UNIX) as client,
            contextlib.closing(http.client.HTTPConnection("127.0.0.1", port)) as other,
        ):
            get(port)
            client.connect(f"{folder}/socket")
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert client.recv(1000)
            other.request("GET", "/")
            other.getresponse().read()
            get(port, "/fds")
            for name in ("fds", "fds.import"):
                kept = [line for line in (folder / name).read_text().splitlines() if " -> " in line]
                assert [line for line in kept if "socket:" in line or "anon_inode" in line or "log" in line] == []
            pids = [process.process.pid, *children(process.process.pid)]
            assert len(pids) == (3 if "-w" in workers else 1)
            # A worker that has just been started has not come so far.
            until(lambda: not [one for pid in pids for one in inheritable(pid)], "something is inherited")


@linux
def test_systemd_sockets_are_not_inherited(start: Any, folder: Path) -> None:
    """Nor are the sockets that systemd passed, by the supervisor and its workers, and by the single process."""
    script = (
        "import os, sys\n"
        "os.dup2(int(sys.argv[1]), 3); os.set_inheritable(3, True)\n"
        "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1')\n"
        "os.execv(sys.executable, [sys.executable, '-m', 'hubbub_server', 'site_app:app', *sys.argv[2:]])\n"
    )
    for workers in (["--no-monkey"], [], ["-w", "1"]):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            command = [sys.executable, "-c", script, str(listener.fileno()), *workers]
            with subprocess.Popen(command, cwd=folder, pass_fds=[listener.fileno()], stderr=subprocess.DEVNULL) as one:
                try:
                    assert get(port).startswith("1 ")
                    for pid in (one.pid, *children(one.pid)):
                        info = Path(f"/proc/{pid}/fdinfo/3").read_text()
                        assert int(info.partition("flags:")[2].split()[0], 8) & os.O_CLOEXEC
                finally:
                    one.terminate()


@linux
def test_worker_that_stands_still(start: Any) -> None:
    """A worker whose loop does not turn is found, says where it stands, and is replaced."""
    port = free_port()
    options = ["-w", "1", "--stuck-seconds", "1", "--access-log", "none"]
    process = start("site_app:app", "-b", f"127.0.0.1:{port}", *options)
    before = get(port)
    with contextlib.suppress(http.client.RemoteDisconnected, ConnectionResetError):
        get(port, "/stand")
    process.says("has stood still")
    process.says("sigtimedwait" if sys.version_info >= (3, 99) else "site_app.py")
    assert get(port) != before


def test_request_seconds(start: Any) -> None:
    """A request that takes too long is a 503, and the error log says where it stood; others go on."""
    port = free_port()
    process = start("site_app:app", "-b", f"127.0.0.1:{port}", "--access-log", "none", "--request-seconds", "0.5")
    process.says("http://")
    assert get(port, "/long").startswith("503")
    process.says("GET '/long': the time for the request is over")
    process.says("site_app.py")
    assert get(port)


def test_proxies(start: Any) -> None:
    """--proxy-from and --forwarded-from have the log show the client, workers and file or not."""
    port = free_port()
    proxies = ["--proxy-from", "127.0.0.1", "--forwarded-from", "192.0.2.0/24", "--forwarded-fields", "forwarded"]
    process = start("site_app:app", "-b", f"127.0.0.1:{port}", "-w", "1", "--no-monkey", *proxies)
    process.says("listening")
    with socket.create_connection(("127.0.0.1", port), 30) as sock:
        sock.sendall(b"PROXY TCP4 192.0.2.7 127.0.0.1 1 2\r\nGET / HTTP/1.1\r\nHost: x\r\n")
        sock.sendall(b"Forwarded: for=203.0.113.9\r\n\r\n")
        assert sock.recv(1000).startswith(b"HTTP/1.1 200 ")
    process.says("203.0.113.9 - - [")


@linux
def test_blocking_seconds(start: Any) -> None:
    """Code that lets nobody else run is shown in the error log, with its stack, while it runs, and is left alone."""
    port = free_port()
    options = ["--error-log", "-", "--events", "-", "--no-monkey", "--blocking-seconds", "0.3"]
    process = start("site_app:app", "-b", f"127.0.0.1:{port}", *options)
    process.says("http://")
    assert get(port, "/hold")
    process.says("nothing else could run for 0.3 s, because of:")
    process.says('{"event": "blocked", "time"')
    process.says("site_app.py")


@linux
def test_stopped_supervisor_blames_nobody(start: Any) -> None:
    """A supervisor that was stopped for longer than its time limits ends no worker for it."""
    port = free_port()
    options = ["-w", "1", "--stuck-seconds", "1", "--access-log", "none", "--no-monkey"]
    process = start("site_app:app", "-b", f"127.0.0.1:{port}", *options)
    before = get(port)
    (worker,) = children(process.process.pid)
    for pid in (process.process.pid, worker):
        os.kill(pid, signal.SIGSTOP)
    time.sleep(2)
    for pid in (process.process.pid, worker):
        os.kill(pid, signal.SIGCONT)
    time.sleep(0.5)
    assert get(port) == before


@linux
@pytest.mark.skipif(os.geteuid() != 0, reason="a process of number 1 takes a namespace of its own")
@pytest.mark.parametrize("workers", [["--no-monkey"], [], ["-w", "2"]], ids=["plain", "patched", "two"])
def test_process_one(folder: Path, workers: list[str]) -> None:
    """As process 1 it reaps the orphans it inherits, leaves the application its own children, and obeys signals."""
    source = APPLICATION.replace(
        "\n    start_response",
        "\n    if environ['PATH_INFO'] == '/orphans':\n"
        "        os.system('for i in 1 2 3 4 5 6 7 8 9; do (sleep 0.2 &) ; done')\n"
        "    if environ['PATH_INFO'] == '/child':\n"
        "        import subprocess\n"
        "        start_response('200 OK', [])\n"
        "        return [str(subprocess.run(['sh', '-c', 'sleep 0.1; exit 5']).returncode).encode()]\n"
        "    start_response",
    )
    (folder / "site_app.py").write_text(source)
    port = free_port()
    server = [sys.executable, "-m", "hubbub_server", "site_app:app", "-b", f"127.0.0.1:{port}", *workers]
    command = ["unshare", "--pid", "--fork", "--kill-child", *server, "--access-log", "none"]
    with open(folder / "said", "wb") as said, subprocess.Popen(command, cwd=folder, stderr=said) as unshare:
        try:
            if unshare.poll() is not None:
                pytest.skip("no namespaces here")
            assert get(port).startswith("1 ")
            (one,) = children(unshare.pid)
            usual = len(children(one))
            get(port, "/orphans")
            assert get(port, "/child") == "5"
            until(lambda: len(children(one)) == usual, f"{children(one)}")
            os.kill(one, signal.SIGHUP)
            assert get(port).startswith("1 ")
            os.kill(one, signal.SIGTERM)
            assert unshare.wait(30) == 0
        finally:
            unshare.kill()
