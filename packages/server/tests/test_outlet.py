"""Logs that cannot be written: full, closed, stuck, gone."""

from __future__ import annotations

import io
import os
import signal
import socket
import stat
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hubbub
import pytest
from hubbub_server import _outlet
from hubbub_server._outlet import HELD_BYTES, Outlet
from hubbub_server.http.accesslog import LogStream

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="descriptors are looked at by /proc")
GET = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe's ends, closed at the end whatever the test does."""
    ends = os.pipe()
    yield ends
    for end in ends:
        try:
            os.close(end)
        except OSError:
            continue


def read_now(descriptor: int) -> bytes:
    """What is in a pipe now."""
    os.set_blocking(descriptor, False)
    data = b""
    try:
        while piece := os.read(descriptor, 1 << 20):
            data += piece
    except BlockingIOError:
        pass
    return data


def test_stuck_pipe(pipe: tuple[int, int]) -> None:
    """A pipe that nobody reads delays nobody; so much is held and no more; what was lost is told when it is read."""
    reader, writer = pipe
    outlet = Outlet(writer)
    line = b"x" * 99 + b"\n"
    count = 3 * HELD_BYTES // len(line)
    for _ in range(count):
        outlet.write(line)
    assert len(outlet._held) <= HELD_BYTES
    assert outlet.lost > 0
    said = b""
    while outlet.waiting:
        said += read_now(reader)
        outlet.pump()
    said += read_now(reader)
    lines = said.splitlines(True)
    assert lines[:-1] == [line] * (count - outlet.lost)
    assert lines[-1] == f"hubbub-serve: {outlet.lost} lines were lost here\n".encode()
    outlet.write(b"again\n")
    assert read_now(reader) == b"again\n"


def test_the_callers_descriptor_stays_as_it_is(pipe: tuple[int, int]) -> None:
    """What is shared with whoever started this process is not made non-blocking for them."""
    writer = pipe[1]
    Outlet(writer).write(b"x\n")
    assert os.get_blocking(writer)


def test_descriptor_that_is_non_blocking_already(pipe: tuple[int, int]) -> None:
    """EAGAIN of a descriptor that somebody has made non-blocking loses nothing that can be held."""
    reader, writer = pipe
    os.set_blocking(writer, False)
    outlet = Outlet(writer)
    for _ in range(2000):
        outlet.write(b"x" * 99 + b"\n")
    said = read_now(reader)
    while outlet.waiting:
        outlet.pump()
        said += read_now(reader)
    assert said == (b"x" * 99 + b"\n") * 2000


def test_without_proc(pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a pipe cannot be opened a second time, nobody waits for it either."""
    reader, writer = pipe
    real = os.open

    def refuse(path: Any, *args: Any, **options: Any) -> int:
        if str(path).startswith("/proc/self/fd"):
            raise PermissionError(13, "no")
        return real(path, *args, **options)

    monkeypatch.setattr(os, "open", refuse)
    outlet = Outlet(writer)
    for _ in range(1500):
        outlet.write(b"x" * 99 + b"\n")
    assert os.get_blocking(writer)
    said = b""
    while outlet.waiting:
        said += read_now(reader)
        outlet.pump()
    assert said + read_now(reader) == (b"x" * 99 + b"\n") * 1500


@pytest.mark.parametrize("kind", ["gone", "full", "closed", "read-only"])
def test_hopeless(pipe: tuple[int, int], kind: str) -> None:
    """A reader that is gone, a full disk, a closed or wrong descriptor: nothing is raised, little is held."""
    reader, writer = pipe
    if kind == "gone":
        os.close(reader)
    elif kind in ("full", "read-only"):
        with open("/dev/full" if kind == "full" else __file__, "wb" if kind == "full" else "rb", buffering=0) as file:
            os.dup2(file.fileno(), writer)
    outlet = Outlet(writer)
    if kind == "closed":
        os.close(outlet.descriptor)
        os.close(writer)
    for _ in range(50000):
        outlet.write(b"x" * 99 + b"\n")
    assert outlet.lost > 0
    assert len(outlet._held) <= HELD_BYTES
    outlet._way = None


def test_stuck_socket() -> None:
    """A socket that nobody reads, as systemd's journal may be, is not waited for; one that is gone is no error."""
    mine, theirs = socket.socketpair()
    with mine, theirs:
        outlet = Outlet(mine.fileno())
        for _ in range(20000):
            outlet.write(b"x" * 99 + b"\n")
        assert outlet.waiting
        assert len(outlet._held) <= HELD_BYTES
        theirs.close()
        outlet.pump()
        outlet.write(b"x\n")
        outlet.close()


def test_file_that_cannot_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log whose directory is not there yet holds its lines, and has them once it is there."""
    clock = [100.0]
    monkeypatch.setattr(_outlet, "monotonic", lambda: clock[0])
    path = tmp_path / "there" / "log"
    outlet = Outlet(path=str(path), name="'log'")
    outlet.write(b"one\n")
    path.parent.mkdir()
    clock[0] += 2
    outlet.write(b"two\n")
    assert path.read_bytes() == b"one\ntwo\n"


def test_rotation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log that was moved away is opened anew; where that fails the old one is written on until it can be done."""
    clock = [100.0]
    monkeypatch.setattr(_outlet, "monotonic", lambda: clock[0])
    path, old = tmp_path / "d" / "log", tmp_path / "old"
    path.parent.mkdir()
    outlet = Outlet(path=str(path), name="'log'")
    outlet.write(b"one\n")
    path.rename(old)
    path.parent.rmdir()
    path.parent.write_text("a file in the way")
    outlet.reopen()
    outlet.write(b"two\n")
    outlet.pump()
    assert old.read_bytes() == b"one\ntwo\n"
    path.parent.unlink()
    path.parent.mkdir()
    clock[0] += 2
    outlet.write(b"three\n")
    outlet.pump()
    assert path.read_bytes() == b"three\n"


def test_fifo(tmp_path: Path) -> None:
    """A FIFO that nobody has opened yet is no reason to wait, nor is one whose reader comes and goes."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    outlet = Outlet(path=str(path))
    outlet.write(b"one\n")
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    assert read_now(reader) == b"one\n"
    os.close(reader)
    outlet.write(b"two\n")
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    assert read_now(reader) == b"two\n"
    os.close(reader)


def test_signal_handler_and_threads(pipe: tuple[int, int]) -> None:
    """Threads and a signal handler that write at once lose no line and mix none."""
    reader, writer = pipe
    outlet = Outlet(writer)
    heard = b""
    old = signal.signal(signal.SIGALRM, lambda *_: outlet.write(b"signal\n"))
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    try:
        threads = [threading.Thread(target=lambda: [outlet.write(b"thread\n") for _ in range(2000)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for _ in range(2000):
            outlet.write(b"main\n")
            heard += read_now(reader)
        for thread in threads:
            while thread.is_alive():
                heard += read_now(reader)
                thread.join(0.01)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    while outlet.waiting:
        outlet.pump()
        heard += read_now(reader)
    lines = (heard + read_now(reader)).split(b"\n")
    assert set(lines) <= {b"thread", b"main", b"signal", b""}
    assert lines.count(b"thread") == 8000
    assert lines.count(b"main") == 2000


def test_regular_file_is_not_overwritten(tmp_path: Path) -> None:
    """A file that others write to at the same place in it stays whole."""
    with open(tmp_path / "log", "w+b", buffering=0) as file:
        file.write(b"before\n")
        outlet = Outlet(file.fileno())
        outlet.write(b"one\n")
        file.write(b"between\n")
        outlet.write(b"two\n")
        outlet.close()
        assert Path(file.name).read_bytes() == b"before\none\nbetween\ntwo\n"


def test_descriptors_are_not_inherited(pipe: tuple[int, int], tmp_path: Path) -> None:
    """No child gets a log's descriptor."""
    for outlet in (Outlet(pipe[1]), Outlet(path=str(tmp_path / "log"))):
        assert not os.get_inheritable(outlet.descriptor)


@pytest.mark.parametrize("broken", ["none", "closed", "gone", "stuck"])
def test_default_log_of_a_program(serve: Any, talk: Any, monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    """A program whose stderr is none, closed, without a reader or stuck serves on, with the access log on stderr."""
    reader, writer = os.pipe()
    stream: Any = None
    if broken != "none":
        stream = io.TextIOWrapper(io.FileIO(writer, "w"), write_through=True)
    if broken == "closed":
        stream.close()
    elif broken == "gone":
        os.close(reader)
    elif broken == "stuck":
        os.set_blocking(writer, False)
        try:
            while True:
                os.write(writer, b"x" * 4096)
        except BlockingIOError:
            os.set_blocking(writer, True)

    def application(environ: Any, start_response: Any) -> list[bytes]:
        environ["wsgi.errors"].write("a line\n" * 100)
        start_response("200 OK", [])
        return [b"ok"]

    monkeypatch.setattr(sys, "stderr", stream)
    server = serve(application, log="default", error_log="default")
    try:
        for _ in range(5):
            assert b" 200 OK" in talk(server, GET)
        server.stop()
    finally:
        monkeypatch.undo()
        if stream is not None and broken != "closed":
            stream.detach().close()
        elif broken == "none":
            os.close(writer)
        if broken != "gone":
            os.close(reader)


def test_logger_that_raises(serve: Any, talk: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever a logger's handler raises costs a line and no request."""

    class Logger:
        handlers = ()

        def log(self, *args: Any) -> None:
            raise KeyError("a handler's own")

    server = serve(log=Logger(), error_log=Logger())
    assert b" 200 OK" in talk(server, GET)
    assert b" 200 OK" in talk(server, GET)
    assert capsys.readouterr().err.count("cannot write to the log") == 1


def test_stop_with_a_broken_stderr(serve: Any, connect: Any, monkeypatch: pytest.MonkeyPatch, hub: Any) -> None:
    """The report of handlers that are killed does not keep stop() from killing them."""

    class Broken:
        def write(self, text: str) -> None:
            raise BrokenPipeError(32, "Broken pipe")

    def application(environ: Any, start_response: Any) -> list[bytes]:
        hubbub.sleep(100)
        raise AssertionError("not killed")

    server = serve(application)
    client = connect(server)
    client.send(GET)
    hubbub.sleep(0.05)
    monkeypatch.setattr(hub, "exception_stream", Broken())
    server.stop(0.05)
    assert not server.handlers


def test_a_log_takes_text() -> None:
    """What is not text is refused at the door, as a file would."""
    with pytest.raises(TypeError, match="str, not bytes"):
        LogStream(io.StringIO()).write(b"x")  # type: ignore[arg-type]  # what is tested


def test_stat_of_kinds(tmp_path: Path, pipe: tuple[int, int]) -> None:
    """Only what may be waited for is written past its file object."""
    with open(tmp_path / "log", "w") as file:
        assert not _outlet.can_stick(file.fileno())
        assert stat.S_ISREG(os.fstat(file.fileno()).st_mode)
    assert _outlet.can_stick(pipe[1])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_fork_while_a_thread_writes(pipe: tuple[int, int]) -> None:
    """A child writes on, whatever another thread was doing in the parent at the fork."""
    reader, writer = pipe
    outlet = Outlet(writer)
    outlet._busy.acquire()
    pid = os.fork()
    if not pid:
        outlet.write(b"child\n")
        os._exit(0)
    os.waitpid(pid, 0)
    outlet._busy.release()
    outlet.write(b"parent\n")
    assert read_now(reader) == b"child\nparent\n"


@pytest.mark.parametrize("kind", ["pipe", "socket", "file"])
def test_standard_streams_by_path(pipe: tuple[int, int], tmp_path: Path, kind: str) -> None:
    """A log named /dev/fd/N is what is open there, also a socket; a pipe whose reader goes is not kept open by us."""
    mine, theirs = socket.socketpair()
    with mine, theirs, open(tmp_path / "file", "w+b", buffering=0) as file:
        file.write(b"before\n")
        number = {"pipe": pipe[1], "socket": mine.fileno(), "file": file.fileno()}[kind]
        outlet = Outlet(path=f"/dev/fd/{number}")
        outlet.write(b"one\n")
        if kind == "file":
            assert Path(file.name).read_bytes() == b"before\none\n"
        elif kind == "socket":
            assert theirs.recv(100) == b"one\n"
        else:
            assert read_now(pipe[0]) == b"one\n"
            os.close(pipe[0])
            with pytest.raises(BrokenPipeError):
                os.write(pipe[1], b"x")
        outlet.close()


def test_reader_of_a_fifo_comes_and_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A FIFO whose reader has gone is written to again when another comes."""
    clock = [100.0]
    monkeypatch.setattr(_outlet, "monotonic", lambda: clock[0])
    path = tmp_path / "fifo"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    outlet = Outlet(path=str(path))
    outlet.write(b"one\n")
    assert read_now(reader) == b"one\n"
    os.close(reader)
    outlet.write(b"lost\n")
    clock[0] += 2
    outlet.write(b"two\n")
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    outlet.write(b"three\n")
    said = read_now(reader)
    os.close(reader)
    assert said.endswith(b"two\nthree\n") or said == b"two\nhubbub-serve: 1 lines were lost here\nthree\n", said
