"""The control socket: who is answered, what is refused, and that nothing hurts the process."""

from __future__ import annotations

import _thread
import errno
import json
import os
import signal
import socket
import stat
import struct
import subprocess
import sys
import time
from random import Random

import hubbub.io
import pytest
from hubbub import Event, control, sleep, spawn
from hubbub._answers import LONGEST_REQUEST, answer

pytestmark = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="needs UNIX sockets")
SEEDS = range(int(os.environ.get("HUBBUB_STRESS_SEEDS", "200")) // 10)


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "control")


def connect(path):
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(20)
    connection.connect(path)
    return connection


def ask(connection, **request):
    connection.sendall(json.dumps(request).encode() + b"\n")
    return json.loads(connection.makefile("rb").readline())


def test_it_answers_while_the_thread_computes(hub, path):
    """The socket tells of all greenlets while the main thread does not give way; the next request goes the same way."""
    greenlet = spawn(Event().wait)
    sleep(0)
    with control.serve(path), connect(path) as connection:
        told = ask(connection, ask="snapshot")["answer"]
        assert greenlet.name in {info["name"] for info in told["greenlets"]}
        assert ask(connection, ask="about")["answer"]["pid"] == os.getpid()
    greenlet.kill()


def test_no_hub_is_made_for_callers(hub, path, monkeypatch):
    """In a patched program, where sockets wait in a hub, the threads that answer keep to the system's own."""
    with control.serve(path), connect(path) as connection:
        monkeypatch.setattr(socket, "socket", hubbub.io.Socket)
        for _ in range(2):
            told = ask(connection, ask="hubs")["answer"]
            assert len(told["hubs"]) == len(hubbub.hub.hubs())
        monkeypatch.undo()
        assert hubbub.hub.hubs() == [hub]


def test_only_the_owner_can_reach_it(path):
    """The socket is for its owner alone, and is gone after stop, which may be called again."""
    server = control.serve(path)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    server.stop()
    server.stop()
    assert not os.path.exists(path)


class Caller:
    """A connection of a user."""

    def __init__(self, user):
        self.user = user

    def getsockopt(self, level, option, size):
        return struct.pack("3i", 1, self.user, 1)


@pytest.mark.skipif(not hasattr(socket, "SO_PEERCRED"), reason="needs SO_PEERCRED")
def test_other_users_are_refused(path, monkeypatch):
    """By what the kernel says of the caller: the owner and root are answered, and nobody else."""
    assert control._is_trusted(Caller(os.geteuid()))
    assert control._is_trusted(Caller(0))
    assert not control._is_trusted(Caller(os.geteuid() + 12345))
    monkeypatch.setattr(control, "_is_trusted", lambda connection: False)
    with control.serve(path), connect(path) as connection:
        assert "owner" in json.loads(connection.makefile("rb").readline())["error"]


def test_the_path_of_another_process(path):
    """A path at which somebody listens is refused, and so is a file; a socket left behind is replaced."""
    with control.serve(path), pytest.raises(OSError, match="another process") as caught:
        control.serve(path)
    assert caught.value.errno == errno.EADDRINUSE
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(path)
    control.serve(path).stop()
    with open(path, "w"):
        pass
    with pytest.raises(OSError, match="no socket"):
        control.serve(path)


def test_the_default_path(tmp_path, monkeypatch):
    """Without a path it listens where the command looks; a folder that others can write to is refused."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    with control.serve() as server:
        assert server.path == control.default_path(os.getpid())
        assert os.path.exists(server.path)
    os.chmod(tmp_path / "run", 0o777)
    with pytest.raises(PermissionError):
        control.serve()


def test_code_runs_only_if_that_is_allowed(hub, path):
    """A socket is read-only unless it was opened with allow_exec; then code runs in a greenlet of the hub."""
    with control.serve(path), connect(path) as connection:
        assert "allow_exec" in ask(connection, ask="exec", code="result = 1")["error"]
    with control.serve(path, allow_exec=True), connect(path) as connection:
        connection.sendall(b'{"ask": "exec", "code": "result = 6 * 7"}\n{"ask": "exec", "code": "1 / 0"}\n')
        sleep(0.2)
        lines = connection.makefile("rb")
        assert json.loads(lines.readline())["answer"]["result"] == "42"
        sleep(0.2)
        assert "ZeroDivisionError" in json.loads(lines.readline())["answer"]["failure"]


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        (b"", "one line of JSON"),
        (b"{", "one line of JSON"),
        (b"[" * 20000, "one line of JSON"),
        (b"\xff\xfe", "one line of JSON"),
        (b"[1]", "JSON object"),
        (b"{}", '"ask" must be one of'),
        (b'{"ask": ["snapshot"]}', '"ask" must be one of'),
        (b'{"ask": "rm"}', '"ask" must be one of'),
    ],
)
def test_bad_requests_are_refused(request_, says):
    """A request that is none gets an error that says what would be one."""
    assert says in json.loads(answer(request_))["error"]


def test_bounds_of_a_request(path):
    """A request without an end is refused at its limit, and the connection closed; others are answered all the same."""
    with control.serve(path), connect(path) as connection:
        with pytest.raises(OSError):  # which call meets the closed connection depends on the moment
            connection.sendall(b"x" * (LONGEST_REQUEST + 8192))
            assert b"at most" in connection.makefile("rb").readline()
            for _ in range(1000):
                connection.sendall(b"x")
        with connect(path) as other:
            assert "answer" in ask(other, ask="about")


def test_too_many_callers(path):
    """Eight callers are answered at a time; one more is told so, and can come again."""
    with control.serve(path):
        callers = [connect(path) for _ in range(control.MOST_CONNECTIONS)]
        for caller in callers:
            assert "answer" in ask(caller, ask="about")
        with connect(path) as one_more:
            assert "try again" in json.loads(one_more.makefile("rb").readline())["error"]
        for caller in callers:
            caller.close()


@pytest.mark.parametrize("seed", SEEDS)
def test_random_bytes_hurt_nothing(seed, path):
    """Whatever bytes come, in whatever pieces, the process goes on answering others."""
    random = Random(seed)
    pieces = [
        b'{"ask": "',
        b"about",
        b"exec",
        b'"}',
        b"\n",
        b'"code": 1',
        b"{}",
        b"[]",
        b"\0",
        b"\xff",
        b"1e999",
        b"null",
    ]
    with control.serve(path):
        with connect(path) as connection:
            data = b"".join(
                random.choice(pieces) if random.random() < 0.7 else random.randbytes(random.randrange(40))
                for _ in range(random.randrange(1, 60))
            )
            try:
                for start in range(0, len(data), 7):
                    connection.sendall(data[start : start + 7])
                connection.shutdown(socket.SHUT_WR)
                replies = connection.makefile("rb").read().splitlines()
            except OSError:
                replies = []
            assert all(set(json.loads(reply)) & {"answer", "error"} for reply in replies)
        with connect(path) as other:
            assert "answer" in ask(other, ask="about")


def test_a_deadlock_stays_a_deadlock(hub, path):
    """The threads of the socket wake nobody: what waits for ever gets its LoopExit while a caller is connected."""
    with control.serve(path), connect(path) as connection:
        assert "answer" in ask(connection, ask="about")
        with pytest.raises(hubbub.LoopExit):
            Event().wait()


def test_nothing_is_left(hub, path):
    """After stop there is no thread and no descriptor of the socket's."""
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    threads = _thread._count()
    server = control.serve(path)
    caller = connect(path)
    assert "answer" in ask(caller, ask="about")
    server.stop()
    caller.close()
    assert _thread._count() <= threads  # those of earlier tests may end
    if before:
        assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_has_a_socket_of_its_own_or_none(tmp_path):
    """After a fork the parent answers at its path; the child at that of its number, if the path has ``{pid}``."""
    shared, own = control.serve(tmp_path / "shared"), control.serve(tmp_path / "own-{pid}")
    ours, theirs = os.pipe()
    pid = os.fork()
    if not pid:
        signal.alarm(20)
        os.write(theirs, b"x")
        time.sleep(20)
        os._exit(0)
    try:
        os.read(ours, 1)
        for path, number in ((shared.path, os.getpid()), (own.path, os.getpid()), (f"{tmp_path}/own-{pid}", pid)):
            with connect(path) as connection:
                assert ask(connection, ask="about")["answer"]["pid"] == number
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(ours)
        os.close(theirs)
        shared.stop()
        own.stop()


def run(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True, text=True, timeout=50
    )


def test_the_variable(path):
    """HUBBUB_CONTROL opens the socket with the first hub, not at import; a path that cannot be is reported."""
    code = "import hubbub, os, sys; p = sys.argv[1] if len(sys.argv) > 1 else os.environ['HUBBUB_CONTROL']\n"
    code += "print(os.path.exists(p)); hubbub.sleep(0); print(os.path.exists(p))"
    assert run(code, HUBBUB_CONTROL=path).stdout.split() == ["False", "True"]
    done = run(code, HUBBUB_CONTROL=f"{path}/nowhere")
    assert done.stdout.split() == ["False", "False"]
    assert "HUBBUB_CONTROL" in done.stderr
