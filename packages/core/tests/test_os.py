"""hubbub.os: descriptors and child processes."""

import errno
import io
import os as standard
import re
import signal
import sys
import threading

import hubbub
import pytest
from hubbub import _processes, os

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs fork")


def close_if_open(fd):
    try:
        standard.close(fd)
    except OSError as error:
        if error.errno != errno.EBADF:
            raise


@pytest.fixture
def pipe():
    readable, writable = standard.pipe()
    os.make_nonblocking(readable)
    os.make_nonblocking(writable)
    yield readable, writable
    for fd in (readable, writable):
        close_if_open(fd)


def child(status=0, held=None):
    """A raw child that ends with ``status``, once the pipe ``held`` is closed if there is one."""
    pid = standard.fork()
    if not pid:
        if held is not None:
            standard.close(held[1])
            standard.read(held[0], 1)
        standard._exit(status)
    return pid


@pytest.fixture
def held():
    """A blocking pipe that keeps children alive until its writing end is closed."""
    pair = standard.pipe()
    yield pair
    for fd in pair:
        close_if_open(fd)


def test_make_nonblocking():
    """make_nonblocking says whether it changed anything."""
    readable, writable = standard.pipe()
    assert os.make_nonblocking(readable) is True
    assert os.make_nonblocking(readable) is False
    assert not standard.get_blocking(readable)
    standard.close(readable)
    standard.close(writable)
    with pytest.raises(OSError, match="Bad file"):
        os.make_nonblocking(readable)


def test_nb_read_waits(hub, pipe):
    """nb_read lets others run until there is something, and returns no bytes at the end."""
    readable, writable = pipe
    reader = hubbub.spawn(os.nb_read, readable, 10)
    hubbub.sleep(0)
    assert not reader.ready()
    standard.write(writable, b"x" * 20)
    assert reader.get(timeout=5) == b"x" * 10
    assert os.nb_read(readable, 100) == b"x" * 10
    standard.close(writable)
    assert os.nb_read(readable, 1) == b""


def test_nb_write_waits(hub, pipe):
    """nb_write lets others run until there is room, and tells how much it has written."""
    readable, writable = pipe
    data = b"x" * (1 << 20)
    first = os.nb_write(writable, data)
    assert 0 < first < len(data)
    writer = hubbub.spawn(os.nb_write, writable, data)
    hubbub.sleep(0)
    assert not writer.ready()
    assert len(os.nb_read(readable, first)) == first
    assert writer.get(timeout=5) > 0


@pytest.fixture
def blocking_pipe():
    readable, writable = standard.pipe()
    yield readable, writable
    for fd in (readable, writable):
        close_if_open(fd)


@pytest.mark.parametrize("vector", [False, True], ids=["read", "readv"])
def test_read_of_a_blocking_pipe_waits(hub, blocking_pipe, vector):
    """read and readv of a blocking pipe let other greenlets run, and return what these have written."""
    readable, writable = blocking_pipe
    buffer = bytearray(5)

    def reading():
        return buffer[: os.readv(readable, [buffer])] if vector else os.read(readable, 5)

    reader = hubbub.spawn(reading)
    hubbub.sleep(0)
    assert not reader.ready()
    assert os.write(writable, b"abc") == 3
    assert reader.get(timeout=5) == b"abc"


def test_a_read_that_others_were_faster_than_goes_on_waiting(hub, blocking_pipe, monkeypatch):
    """A greenlet that finds a blocking pipe empty again when its turn comes waits on, and does not stop the thread."""
    readable, writable = blocking_pipe
    waited = []

    def wait_and_lose(fd):
        wait_readable(fd)
        if not waited:
            waited.append(standard.read(fd, 5))

    wait_readable = hubbub.io.wait_readable
    monkeypatch.setattr(hubbub.io, "wait_readable", wait_and_lose)
    reader = hubbub.spawn(os.read, readable, 5)
    hubbub.sleep(0)
    standard.write(writable, b"abc")
    with hubbub.fail_after(5):
        while not waited:
            hubbub.sleep(0.001)
    assert not reader.ready()
    standard.write(writable, b"def")
    assert (waited, reader.get(timeout=5)) == ([b"abc"], b"def")


@pytest.mark.parametrize("vector", [False, True], ids=["write", "writev"])
def test_write_to_a_blocking_pipe_writes_all(hub, blocking_pipe, vector):
    """write and writev to a blocking pipe write all, however much, and let other greenlets run meanwhile."""
    readable, writable = blocking_pipe
    data = bytes(range(256)) * 1000
    writer = (
        hubbub.spawn(os.writev, writable, [data[:7], data[7:]]) if vector else hubbub.spawn(os.write, writable, data)
    )
    found = b""
    with hubbub.fail_after(5):
        while len(found) < len(data):
            found += os.read(readable, 1 << 16)
    assert found == data
    assert writer.get(timeout=5) == len(data)


def test_an_error_in_the_middle_of_a_write(hub, blocking_pipe):
    """A write whose reader goes away returns what was written before; the next one fails."""
    readable, writable = blocking_pipe
    writer = hubbub.spawn(os.write, writable, bytes(1 << 20))
    hubbub.sleep(0)
    assert not writer.ready()
    standard.close(readable)
    assert 0 < writer.get(timeout=5) < 1 << 20
    with pytest.raises(BrokenPipeError):
        os.write(writable, bytes(1 << 20))


def test_reads_and_writes_of_others_are_as_they_were(hub, pipe, tmp_path):
    """Non-blocking descriptors raise BlockingIOError, files are read at once, errors are the standard library's."""
    readable, writable = pipe
    with pytest.raises(BlockingIOError):
        os.read(readable, 1)
    with pytest.raises(BlockingIOError):
        while True:
            os.write(writable, bytes(10_000))
    with (tmp_path / "file").open("w+b", buffering=0) as file:
        assert os.write(file.fileno(), bytes(100_000)) == 100_000
        standard.lseek(file.fileno(), 0, 0)
        assert len(os.read(file.fileno(), 200_000)) == 100_000
    for call, wrong, kind in (
        (os.read, (-1, 1), OSError),
        (os.write, (-1, b"x"), OSError),
        (os.write, (-1, bytearray(9)), OSError),
        (os.read, ("0", 1), TypeError),
        (os.write, (writable, "text"), TypeError),
        (os.write, (readable, b"x"), OSError),
        (os.read, (1 << 40, 1), OverflowError),
    ):
        with pytest.raises(kind):
            call(*wrong)


@pytest.mark.parametrize("call", [lambda fd: os.nb_read(fd, 1), lambda fd: os.nb_write(fd, b"x")])
def test_closed_descriptor(hub, pipe, call):
    """Reading or writing a closed descriptor raises EBADF."""
    for fd in pipe:
        standard.close(fd)
        with pytest.raises(OSError, match="Bad file") as caught:
            call(fd)
        assert caught.value.errno == errno.EBADF


def test_close_wakes_readers(hub, pipe):
    """os.close wakes the greenlets that wait for the descriptor with EBADF."""
    readable, _ = pipe
    hub.exception_stream = None
    readers = [hubbub.spawn(os.nb_read, readable, 1) for _ in range(3)]
    hubbub.sleep(0)
    os.close(readable)
    hubbub.joinall(readers, timeout=5)
    assert [reader.exception.errno for reader in readers] == [errno.EBADF] * 3
    with pytest.raises(OSError, match="Bad file"):
        os.close(readable)


def test_close_from_another_thread(hub, pipe):
    """A descriptor that another thread's loop watches is closed there, its waiters told first."""
    readable, _ = pipe
    got = []
    waiting = threading.Event()

    def work():
        hubbub.get_hub().loop.run_callback(waiting.set)
        try:
            os.nb_read(readable, 1)
        except OSError as error:
            got.append(error.errno)

    thread = threading.Thread(target=work)
    thread.start()
    waiting.wait(5)
    os.close(readable)
    thread.join(5)
    assert got == [errno.EBADF]
    with pytest.raises(OSError, match="Bad file"):
        standard.fstat(readable)


def test_thread_reads_and_writes(hub, tmp_path):
    """tp_read and tp_write use threads, for what cannot be polled."""
    fd = standard.open(tmp_path / "file", standard.O_RDWR | standard.O_CREAT)
    try:
        assert os.tp_write(fd, b"data") == 4
        standard.lseek(fd, 0, 0)
        assert os.tp_read(fd, 100) == b"data"
    finally:
        standard.close(fd)


def test_waitpid_is_cooperative(hub, held):
    """Other greenlets run while one waits for a child; the status is the child's."""
    pid = child(5, held)
    waiter = hubbub.spawn(os.waitpid, pid, 0)
    hubbub.sleep(0.01)
    assert not waiter.ready()
    standard.close(held[1])
    assert waiter.get(timeout=5) == (pid, 5 << 8)
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, 0)


def test_waitpid_with_wnohang(hub, held):
    """WNOHANG never waits."""
    pid = child(0, held)
    assert os.waitpid(pid, standard.WNOHANG) == (0, 0)
    standard.close(held[1])
    assert os.waitpid(pid, 0) == (pid, 0)


@pytest.mark.unsanitized
@pytest.mark.parametrize("which", [-1, 0])
def test_waitpid_for_any(hub, no_children, held, which):
    """Waiting for any child, or any of the process group, is cooperative and gives each status once."""
    pids = {child(number, held) for number in range(3)}
    waiters = [hubbub.spawn(os.waitpid, which, 0) for _ in range(3)]
    hubbub.sleep(0.01)
    assert not any(waiter.ready() for waiter in waiters)
    standard.close(held[1])
    got = [waiter.get(timeout=5) for waiter in waiters]
    assert {pid for pid, _ in got} == pids
    assert sorted(status >> 8 for _, status in got) == [0, 1, 2]
    with pytest.raises(ChildProcessError):
        os.waitpid(which, 0)


@pytest.mark.unsanitized
def test_wait(hub, no_children, held):
    """wait is waitpid for any child."""
    pid = child(7, held)
    hub.loop.run_callback(standard.close, held[1])
    assert os.wait() == (pid, 7 << 8)


def test_stopped_child(hub, held):
    """WUNTRACED tells of a child that was stopped."""
    pid = child(0, held)
    waiter = hubbub.spawn(os.waitpid, pid, standard.WUNTRACED)
    hubbub.sleep(0)
    standard.kill(pid, signal.SIGSTOP)
    assert standard.WIFSTOPPED(waiter.get(timeout=5)[1])
    standard.kill(pid, signal.SIGKILL)
    assert os.waitpid(pid, 0) == (pid, signal.SIGKILL)


def test_killed_waiter_takes_no_status(hub, held):
    """A greenlet that is killed while it waits for a child leaves the status to others."""
    pids = {child(0, held), child(0, held)}
    for which in (min(pids), -1):
        waiter = hubbub.spawn(os.waitpid, which, 0)
        hubbub.sleep(0.01)
        waiter.kill(timeout=5)
        assert waiter.dead
    standard.close(held[1])
    assert {os.waitpid(pid, 0)[0] for pid in pids} == pids


def test_waitpid_in_another_thread(hub, held):
    """Any thread may wait for any child."""
    pid = child(3, held)
    got = []

    def work():
        hubbub.sleep(0)
        got.append(os.waitpid(pid, 0))

    thread = threading.Thread(target=work)
    thread.start()
    standard.close(held[1])
    thread.join(5)
    assert got == [(pid, 3 << 8)]


@pytest.mark.unsanitized
@pytest.mark.parametrize("which", ["pid", "any"])
def test_waitpid_without_kernel_help(hub, no_children, held, monkeypatch, which):
    """Where there are neither process descriptors nor waitid, waitpid goes by SIGCHLD."""
    monkeypatch.setattr(_processes, "_pidfd_open", None)
    monkeypatch.setattr(_processes, "_waitid", None)
    pid = child(4, held)
    waiter = hubbub.spawn(os.waitpid, pid if which == "pid" else -1, 0)
    hubbub.sleep(0.01)
    assert not waiter.ready()
    standard.close(held[1])
    assert waiter.get(timeout=5) == (pid, 4 << 8)


def test_posix_spawn(hub):
    """Children of posix_spawn are waited for like all others."""
    for spawn, program in ((os.posix_spawn, "/bin/sh"), (os.posix_spawnp, "sh")):
        pid = spawn(program, ["sh", "-c", "exit 6"], standard.environ)
        assert os.waitpid(pid, 0) == (pid, 6 << 8)


@pytest.mark.parametrize("mode", ["r", "rb", "unbuffered"])
def test_fdopen_reads_cooperatively(hub, mode):
    """A file of a pipe lets others run while it waits, the pipe stays a blocking one, and closing it closes that."""
    readable, writable = standard.pipe()
    file = os.fdopen(readable, "rb", 0) if mode == "unbuffered" else os.fdopen(readable, mode)
    reader = hubbub.spawn(file.readline)
    hubbub.sleep(0)
    hubbub.sleep(0)
    assert not reader.ready()
    assert standard.get_blocking(readable)
    standard.write(writable, b"line\nrest")
    assert reader.get(timeout=5) == ("line\n" if mode == "r" else b"line\n")
    standard.close(writable)
    assert file.read() == ("rest" if mode == "r" else b"rest")
    file.close()
    with pytest.raises(OSError, match="Bad file"):
        standard.fstat(readable)


def test_fdopen_writes_cooperatively(hub):
    """A file of a pipe lets others run while the pipe is full."""
    readable, writable = standard.pipe()
    file = os.fdopen(writable, "wb")
    writer = hubbub.spawn(lambda: (file.write(b"x" * 300_000), file.close()))
    hubbub.sleep(0)
    assert not writer.ready()
    with os.fdopen(readable, "rb") as reader:
        assert reader.read() == b"x" * 300_000
    writer.get(timeout=5)


def test_two_files_of_one_pipe(hub):
    """What one reader was told of and another has taken makes the first wait on, and not the thread."""
    readable, writable = standard.pipe()
    one, other = os.fdopen(readable, "rb", 0, closefd=False), os.fdopen(readable, "rb", 0)
    readers = [hubbub.spawn(file.read, 10) for file in (one, other)]
    hubbub.sleep(0)
    standard.write(writable, b"first")
    hubbub.joinall(readers, timeout=5, count=1)
    for _ in range(3):
        hubbub.sleep(0)
    assert [reader.ready() for reader in readers].count(True) == 1
    standard.write(writable, b"second")
    hubbub.joinall(readers, timeout=5)
    assert sorted(reader.value for reader in readers) == [b"first", b"second"]
    other.close()
    standard.close(writable)


def test_fdopen_leaves_others_alone(hub, tmp_path):
    """Over a regular file, and over a non-blocking descriptor, it is the standard library's file, with its errors."""
    path = tmp_path / "file"
    path.write_text("text")
    with os.fdopen(standard.open(path, standard.O_RDONLY)) as file:
        assert type(file) is io.TextIOWrapper
        assert file.read() == "text"
    readable, writable = standard.pipe()
    standard.set_blocking(readable, False)
    with os.fdopen(readable, "rb", 0) as file:
        assert file.read(1) is None
    standard.close(writable)
    for mode, buffering in (("r", 0), ("nonsense", -1), ("xyz", 1)):
        with pytest.raises(ValueError) as expected:
            standard.fdopen(readable_end(), mode, buffering)
        with pytest.raises(ValueError, match=re.escape(str(expected.value))):
            os.fdopen(readable_end(), mode, buffering)
    with pytest.raises(TypeError, match="invalid fd type"):
        os.fdopen("0")
    with pytest.raises(OSError, match="Bad file"):
        os.fdopen(standard.sysconf("SC_OPEN_MAX") - 1)


def readable_end():
    """A readable pipe that goes away by itself."""
    readable, writable = standard.pipe()
    standard.close(writable)
    return readable


@pytest.mark.skipif(not hasattr(standard, "eventfd"), reason="needs eventfd")
def test_eventfd(hub):
    """A reader, and a writer that finds no room, let others run; a non-blocking one is left as it is."""
    fd = standard.eventfd(0)
    reader = hubbub.spawn(os.eventfd_read, fd)
    hubbub.sleep(0)
    assert not reader.ready()
    os.eventfd_write(fd, 2**64 - 2)
    writer = hubbub.spawn(os.eventfd_write, fd, 1)
    hubbub.joinall([reader, writer], timeout=5)
    assert reader.value == 2**64 - 2
    assert os.eventfd_read(fd) == 1
    standard.close(fd)
    fd = standard.eventfd(0, standard.EFD_NONBLOCK)
    with pytest.raises(BlockingIOError):
        os.eventfd_read(fd)
    standard.close(fd)


@pytest.mark.skipif(not hasattr(standard, "waitid"), reason="needs waitid")
@pytest.mark.parametrize("how", ["wait3", "wait4", "waitid", "waitid_all"])
def test_other_ways_to_wait_for_a_child(hub, no_children, held, how):
    """wait3, wait4 and waitid let others run, and return what the standard library's return."""
    pid = child(3, held)
    waiter = hubbub.spawn(
        {
            "wait3": lambda: os.wait3(0)[:2],
            "wait4": lambda: os.wait4(pid, 0)[:2],
            "waitid": lambda: os.waitid(standard.P_PID, pid, standard.WEXITED),
            "waitid_all": lambda: os.waitid(standard.P_ALL, 0, standard.WEXITED),
        }[how]
    )
    hubbub.sleep(0)
    hubbub.sleep(0)
    assert not waiter.ready()
    if how == "waitid":
        assert os.waitid(standard.P_PID, pid, standard.WEXITED | standard.WNOHANG) is None
    standard.close(held[1])
    found = waiter.get(timeout=5)
    assert (found.si_pid, found.si_status) == (pid, 3) if "waitid" in how else found == (pid, 3 << 8)
    with pytest.raises(ChildProcessError):
        {"wait3": lambda: os.wait3(0), "wait4": lambda: os.wait4(pid, 0)}.get(
            how, lambda: os.waitid(standard.P_PID, pid, standard.WEXITED)
        )()


@pytest.mark.skipif(not hasattr(standard, "waitid"), reason="needs waitid")
def test_a_killed_waitid_takes_no_status(hub, held):
    """The status is there for the next who asks, if who waited for it was killed."""
    pid = child(0, held)
    waiter = hubbub.spawn(os.waitid, standard.P_PID, pid, standard.WEXITED)
    hubbub.sleep(0)
    waiter.kill()
    standard.close(held[1])
    assert os.waitid(standard.P_PID, pid, standard.WEXITED).si_pid == pid
