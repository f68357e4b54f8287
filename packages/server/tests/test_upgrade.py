"""SIGUSR2: another program takes the place of a running supervisor."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hubbub_server
import pytest
from hubbub_server import _supervisor, _upgrade
from hubbub_server._options import make_parser
from hubbub_server._sockets import Sockets
from hubbub_server._worker import Adopted, Worker
from served_process import APPLICATION, children, free_port, get, until

linux = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="processes are looked at by /proc")
pytestmark = [pytest.mark.skipif(sys.platform == "win32", reason="signals and fork"), linux]

SOURCE = Path(hubbub_server.__file__).parent


@pytest.fixture
def code(folder: Path) -> Path:
    """The server's own code in the folder in which it runs, where a test can change it."""
    return Path(shutil.copytree(SOURCE, folder / "hubbub_server", ignore=shutil.ignore_patterns("__pycache__")))


def change(code: Path, old: str, new: str, module: str = "_supervisor.py") -> None:
    text = (code / module).read_text()
    assert old in text
    (code / module).write_text(text.replace(old, new))


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def test_new_code_takes_over(start: Any, folder: Path, code: Path) -> None:
    """The new program runs in the same process, has the sockets and the figures of the old, and starts new workers."""
    port, own = free_port(), free_port()
    options = ["-b", f"127.0.0.1:{port}", "-w", "2", "--no-monkey", "--access-log", "none", "--status", f":{own}"]
    process = start("site_app:app", *options)
    assert get(port).startswith("1 ")
    for _ in range(5):
        get(port)
    process.signal(signal.SIGTTIN)
    process.says("keeping 3 worker(s)")
    until(lambda: len(children(process.process.pid)) == 3)
    before = set(children(process.process.pid))
    change(code, '"has taken over"', '"is newer than the other"')
    (folder / "site_app.py").write_text(APPLICATION.replace("VERSION = 1", "VERSION = 22"))
    process.signal(signal.SIGUSR2)
    process.says("is newer than the other")
    until(lambda: get(port).startswith("22 "))
    until(lambda: len(children(process.process.pid)) == 3 and not before & set(children(process.process.pid)))
    found = json.loads(get(own, "/-/status"))
    assert found["pid"] == process.process.pid
    assert (found["upgrades"], found["failed_upgrades"]) == (1, 0)
    assert found["total"]["requests"] >= 6
    process.signal(signal.SIGTERM)
    assert process.ends() == 0


BROKEN: dict[str, tuple[str, Callable[[Path, Path], object]]] = {
    "code": (
        "there_is_no_such_module",
        lambda folder, code: change(code, "import select\n", "import there_is_no_such_module\n"),
    ),
    "settings": (
        "settings.toml",
        lambda folder, code: (folder / "settings.toml").write_text("workers = 'none of them'\n"),
    ),
    "address": ("Address already in use", lambda folder, code: None),
    "no workers": (
        "no workers are asked for any more",
        lambda folder, code: (folder / "settings.toml").write_text("monkey = false\n"),
    ),
    "hangs": (
        "it does not start",
        lambda folder, code: change(code, "import select\n", "import time; time.sleep(100)\n"),
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_old_code_goes_on(start: Any, folder: Path, code: Path, kind: str) -> None:
    """A new program that does not start is given up: the old one and its workers go on, and obey as before."""
    port = free_port()
    said, spoil = BROKEN[kind]
    settings = f"bind = ['127.0.0.1:{port}']\nworkers = 1\nmonkey = false\n"
    (folder / "settings.toml").write_text(settings)
    if kind == "hangs":
        change(code, "_SECONDS = 60.0", "_SECONDS = 10.0", "_upgrade.py")
    process = start("site_app:app", "--config", "settings.toml", "--access-log", "none")
    before = get(port)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        if kind == "address":
            other = f"'127.0.0.1:{taken.getsockname()[1]}'"
            (folder / "settings.toml").write_text(settings.replace("]", f", {other}]"))
        spoil(folder, code)
        process.signal(signal.SIGUSR2)
        process.says("this one goes on")
    assert said in process.said
    assert get(port) == before
    (folder / "settings.toml").write_text(settings)
    shutil.copytree(SOURCE, code, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    process.signal(signal.SIGHUP)
    until(lambda: get(port) != before)
    process.signal(signal.SIGUSR2)
    process.says("has taken over")
    process.signal(signal.SIGTERM)
    assert process.ends() == 0


def test_application_that_does_not_start(start: Any, folder: Path) -> None:
    """If the new program starts and its workers do not, the workers of the old one serve on under it."""
    port = free_port()
    process = start("site_app:app", "-b", f"127.0.0.1:{port}", "-w", "1", "--no-monkey", "--access-log", "none")
    before = get(port)
    (folder / "site_app.py").write_text("import there_is_no_such_module\n")
    process.signal(signal.SIGUSR2)
    process.says("has taken over")
    process.says("keeping the old ones")
    assert get(port) == before
    os.kill(int(before.split()[1]), signal.SIGKILL)
    process.says("ended with status -9")  # it is looked after like any other
    (folder / "site_app.py").write_text(APPLICATION)
    assert get(port).startswith("1 ")


def test_addresses_change(start: Any, folder: Path) -> None:
    """An address that is new is listened to, one that is left out no more, and the others never stop."""
    stays, goes, comes = free_port(), free_port(), free_port()
    path = folder / "socket"
    settings = "workers = 1\nmonkey = false\nbind = ['127.0.0.1:{}', '127.0.0.1:{}', 'unix:socket']\n"
    (folder / "settings.toml").write_text(settings.format(stays, goes))
    process = start("site_app:app", "--config", "settings.toml", "--access-log", "none")
    get(goes)
    inode = path.stat().st_ino
    (folder / "settings.toml").write_text(settings.format(comes, stays))
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", stays, timeout=30)) as kept:
        kept.request("GET", "/")
        kept.getresponse().read()
        process.signal(signal.SIGUSR2)
        kept.request("GET", "/")
        assert kept.getresponse().status == 200
    assert get(comes).startswith("1 ")
    assert get(stays).startswith("1 ")

    def refused() -> bool:
        try:
            socket.create_connection(("127.0.0.1", goes), 10).close()
        except ConnectionRefusedError:
            return True
        return False

    until(refused)
    assert path.stat().st_ino == inode


@pytest.mark.parametrize("options", [[], ["--reuse-port"]], ids=["shared", "reuse-port"])
def test_no_request_is_lost(start: Any, options: list[str]) -> None:
    """While the program is replaced again and again no connection is refused and no request is cut, and no
    descriptor stays open."""
    port, own = free_port(), free_port()
    options = [*options, "-w", "2", "--no-monkey", "--access-log", "none", "--status", f":{own}"]
    process = start("site_app:app", "-b", f"127.0.0.1:{port}", *options)
    until(lambda: get(own, "/-/health") == "ok\n")
    get(port)
    pid = process.process.pid
    usual = descriptors(pid)
    lost: list[BaseException] = []
    over = threading.Event()

    def crawl(path: str) -> None:
        while not over.is_set():
            with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
                try:
                    connection.request("GET", path)
                    assert connection.getresponse().read()
                except (OSError, http.client.HTTPException) as error:
                    lost.append(error)

    crawlers = [threading.Thread(target=crawl, args=(path,)) for path in ("/", "/", "/slow", "/slow")]
    for crawler in crawlers:
        crawler.start()
    for number in range(1, 4):
        process.signal(signal.SIGUSR2)
        process.says("has taken over", number)
        until(lambda: json.loads(get(own, "/-/status"))["workers_serving"] == 2)
    over.set()
    for crawler in crawlers:
        crawler.join(30)
    assert not lost
    until(lambda: len(children(pid)) == 2)
    until(lambda: descriptors(pid) <= usual, f"{descriptors(pid)} descriptors, and {usual} before")
    assert json.loads(get(own, "/-/status"))["upgrades"] == 3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGTTIN])
def test_signals_meanwhile(start: Any, folder: Path, number: int) -> None:
    """A signal that comes at any moment of an upgrade is obeyed, by the old program or the new one."""
    port = free_port()
    log = folder / "log"
    process = start("site_app:app", "-b", f"127.0.0.1:{port}", "-w", "1", "--no-monkey", "--access-log", str(log))
    get(port)
    for count, delay in enumerate((0.05, 0.2, 0.4), 1):
        process.signal(signal.SIGUSR2)
        time.sleep(delay)
        if log.exists():
            log.rename(folder / "log.1")
        process.signal(number)
        if number == signal.SIGTERM:
            assert process.ends() == 0
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port), 5)
            process = start("site_app:app", "-b", f"127.0.0.1:{port}", "-w", "1", "--no-monkey")
            get(port)
            continue
        assert get(port).startswith("1 ")
        if number == signal.SIGUSR1:
            until(log.exists)
        process.says("has taken over", count)
        if number == signal.SIGTTIN:
            process.says(f"keeping {min(count + 1, 5)} worker(s)")


def test_the_service_manager_hears(start: Any, folder: Path) -> None:
    """It hears of an upgrade as of a reload, from the same process, whose watchdog goes on."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(60)
        manager.bind(str(folder / "notify"))
        environment = {"NOTIFY_SOCKET": str(folder / "notify"), "WATCHDOG_USEC": "400000"}
        options = ["-b", f"127.0.0.1:{free_port()}", "-w", "1", "--no-monkey"]
        process = start("site_app:app", *options, env=environment)

        def hear(*texts: bytes) -> None:
            for text in texts:
                while (said := manager.recv(200)) == b"WATCHDOG=1" != text:
                    pass
                assert said.startswith(text)

        hear(b"READY=1", b"WATCHDOG=1")
        process.signal(signal.SIGUSR2)
        hear(b"RELOADING=1\nMONOTONIC_USEC=", b"RELOADING=1\nMONOTONIC_USEC=", b"READY=1", b"WATCHDOG=1")
        process.signal(signal.SIGTERM)
        hear(b"STOPPING=1")
        assert process.ends() == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="a process of number 1 takes a namespace of its own")
def test_process_one(folder: Path) -> None:
    """Process 1 of a container stays process 1, and goes on to reap."""
    port = free_port()
    source = APPLICATION.replace(
        "\n    start_response",
        "\n    if environ['PATH_INFO'] == '/orphans':\n"
        "        os.system('for i in 1 2 3 4 5; do (sleep 0.2 &) ; done')\n    start_response",
    )
    (folder / "site_app.py").write_text(source)
    server = [sys.executable, "-m", "hubbub_server", "site_app:app", "-b", f"127.0.0.1:{port}", "-w", "1"]
    command = ["unshare", "--pid", "--fork", "--kill-child", *server, "--no-monkey", "--access-log", "none"]
    said = folder / "said"
    with open(said, "wb") as errors, subprocess.Popen(command, cwd=folder, stderr=errors) as unshare:
        try:
            before = get(port)
            (one,) = children(unshare.pid)
            os.kill(one, signal.SIGUSR2)
            until(lambda: get(port) != before)
            assert "has taken over (supervisor, pid 1)" in said.read_text()
            get(port, "/orphans")
            until(lambda: len(children(one)) == 1, f"{children(one)}")
            os.kill(one, signal.SIGTERM)
            assert unshare.wait(30) == 0
        finally:
            unshare.kill()


def test_needs_a_supervisor(start: Any) -> None:
    """A process without a supervisor says so, and serves on."""
    port = free_port()
    process = start("site_app:app", "-b", f"127.0.0.1:{port}", "--no-monkey", "--access-log", "none")
    before = get(port)
    process.signal(signal.SIGUSR2)
    process.says("this process is none; see --workers")
    assert get(port) == before


# The parts -----------------------------------------------------------------------------------------------------------


def test_state_of_another_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was left in another form is refused, with what to do; asked again there is nothing."""
    reader, writer = os.pipe()
    os.write(writer, b'{"version": 7}')
    os.close(writer)
    monkeypatch.setenv("HUBBUB_TAKE_OVER", f"trial:{reader}")
    with pytest.raises(ValueError, match="start anew instead"):
        _upgrade.take_over()
    assert _upgrade.take_over() is None


def test_too_much_to_say() -> None:
    """More than a pipe takes is an error at once, and nothing waits."""
    with pytest.raises(OSError, match="does not take"):
        _upgrade.Trial(["true"], {"workers": "x" * (1 << 22)}, [])


def test_program_that_cannot_be_started() -> None:
    """A program that is not there leaves everything as it was."""
    with socket.socket() as sock:
        with pytest.raises(FileNotFoundError):
            _upgrade.replace(["/there/is/no/such/program"], {}, [sock.fileno()], {})
        assert not sock.get_inheritable()


def test_adopted_child() -> None:
    """A child that another program started is waited for, signalled and ended like one's own."""
    process = subprocess.Popen(["sleep", "60"])
    child = Adopted(process.pid)
    assert child.poll() is None
    child.kill()
    assert child.wait() == child.poll() == child.returncode == -signal.SIGKILL
    child.kill()  # it is gone, and its number may be another's
    process.returncode = -signal.SIGKILL


def test_state_of_a_worker() -> None:
    """A worker is the same after it was handed over."""
    mine, theirs = socket.socketpair()
    with theirs:
        worker = Worker(Adopted(os.getpid()), mine, 3, 2, None)
        worker.ready_at, worker.leaving, worker.deadline = 1.0, True, 5.0
        state = json.loads(json.dumps(worker.as_state()))
        mine.detach()
        other = Worker.of_state(state)
        assert other.as_state() == state
        assert not other.control.get_inheritable()
        other.close()


def test_listeners_stay_with_their_seats() -> None:
    """With --reuse-port a worker's listener is the next one's too, in another program as well, until nobody takes its
    seat."""
    options = make_parser().parse_args(["app", "-b", "127.0.0.1:0", "--reuse-port"])
    sockets, other = Sockets(), Sockets()
    sockets.open(options)
    try:
        first, second = (sockets.own(seat, 5)[0] for seat in (0, 1))
        address = first.getsockname()
        assert sockets.own(0, 5) == [first]
        assert second.getsockname() == address
        sockets.keep_own({0})
        assert second.fileno() == -1
        assert sockets.own(1, 5) != [second]
        state = json.loads(json.dumps(sockets.as_state()))
        for one in state:
            one["descriptor"] = os.dup(one["descriptor"])
        other.open(options, state)
        assert other.own(0, 5)[0].getsockname() == address
        assert len(other.descriptors()) == len(sockets.descriptors()) == 3
        other.keep_own(set())
        assert len(other.descriptors()) == 1
    finally:
        sockets.close()
        other.close()


def test_signals_come_as_soon_as_it_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who sees that the supervisor listens may send it a signal: its handlers were there before."""
    handlers: list[Any] = []

    def opened(*_: Any) -> None:
        handlers.append(signal.getsignal(signal.SIGUSR2))
        raise OSError("no address")

    before = {number: signal.getsignal(number) for number in _supervisor._SIGNALS}
    supervisor = _supervisor.Supervisor(make_parser().parse_args(["app", "-w", "1"]), [])
    monkeypatch.setattr(supervisor.sockets, "open", opened)
    try:
        with pytest.raises(OSError, match="no address"):
            supervisor.run()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert handlers == [supervisor._note]
