"""hubbub.fileobject: files that let other greenlets run while they wait."""

import builtins
import errno
import gc
import inspect
import io
import os
import pty
import socket
import subprocess
import sys
import threading
import warnings
from textwrap import dedent

import hubbub
import pytest
from hubbub import fileobject
from hubbub.fileobject import FileObject, PolledFile, ThreadedFile, can_be_polled

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="pipes that can be polled")


@pytest.fixture
def pipe():
    """The two ends of a pipe, as cooperative raw files."""
    readable, writable = os.pipe()
    files = PolledFile(readable, "rb"), PolledFile(writable, "wb")
    yield files
    for file in files:
        file.close()


@pytest.fixture
def any_hub():
    """A hub on the default loop, for what does not depend on the loop."""
    made = hubbub.get_hub()
    yield made
    made.destroy()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "file"


def descriptors():
    return set(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else set()


def test_signature():
    """open takes the parameters of the builtin."""
    ours, theirs = inspect.signature(fileobject.open), inspect.signature(builtins.open)
    assert [(p.name, p.default) for p in ours.parameters.values()] == [
        (p.name, p.default) for p in theirs.parameters.values()
    ]


def test_what_can_be_polled(path):
    """Pipes, sockets and terminals can be polled; regular files, directories and devices are left to threads."""
    readable, writable = os.pipe()
    leader, follower = pty.openpty()
    left, right = socket.socketpair()
    with builtins.open(path, "w") as file, builtins.open(os.devnull) as null:
        good = [readable, writable, leader, follower, left.fileno()]
        assert [can_be_polled(fd) for fd in good] == [True] * 5
        assert [can_be_polled(fd) for fd in (file.fileno(), null.fileno())] == [False] * 2
    for fd in (readable, writable, leader, follower):
        os.close(fd)
    left.close()
    right.close()
    with pytest.raises(OSError):
        can_be_polled(readable)


# Pipes ----------------------------------------------------------------------------------------------------------------


def test_pipe_read_waits(hub, pipe):
    """A read waits for data while others run; the end of the file is no bytes."""
    reader, writer = pipe
    reading = hubbub.spawn(reader.read, 100)
    hubbub.sleep(0)
    assert not reading.ready()
    writer.write(b"data")
    assert reading.get(timeout=5) == b"data"
    writer.close()
    assert reader.read(1) == b""
    assert reader.readall() == b""


def test_pipe_readall(hub, pipe):
    """readall, and read without a size, wait for the end."""
    reader, writer = pipe
    reading = hubbub.spawn(reader.read)
    for _ in range(3):
        writer.write(b"data")
        hubbub.sleep(0.001)
    assert not reading.ready()
    writer.close()
    assert reading.get(timeout=5) == b"data" * 3


def test_pipe_readinto(hub, pipe):
    """readinto fills a buffer with what is there."""
    reader, writer = pipe
    writer.write(b"data")
    buffer = bytearray(10)
    assert reader.readinto(buffer) == 4
    assert buffer[:4] == b"data"


def test_pipe_write_waits(hub, pipe):
    """A buffered write of more than the pipe holds waits for the reader while others run; nothing is lost."""
    reader, writer = pipe
    data = os.urandom(1 << 20)
    buffered = fileobject.buffered(writer)

    def write():
        buffered.write(data)
        buffered.close()

    writing = hubbub.spawn(write)
    hubbub.sleep(0.001)
    assert not writing.ready()
    assert hubbub.spawn(reader.readall).get(timeout=10) == data
    assert writing.ready()


def test_broken_pipe(hub, pipe):
    """Writing to a pipe that nobody reads raises BrokenPipeError."""
    reader, writer = pipe
    reader.close()
    with pytest.raises(BrokenPipeError):
        writer.write(b"x")


@pytest.mark.parametrize("wait", ["read", "readall", "write"])
def test_close_wakes_who_waits(hub, pipe, wait):
    """Closing a file wakes the greenlets that wait in it with EBADF."""
    hub.exception_stream = None
    file = pipe[1] if wait == "write" else pipe[0]
    if wait == "write":
        file.write(b"x" * (1 << 20))
        waiting = [hubbub.spawn(file.write, b"x") for _ in range(3)]
    else:
        waiting = [hubbub.spawn(file.read, 1 if wait == "read" else -1) for _ in range(3)]
    hubbub.sleep(0)
    number = file.fileno()
    file.close()
    hubbub.joinall(waiting, timeout=5)
    assert [one.exception.errno for one in waiting] == [errno.EBADF] * 3
    assert file.closed
    file.close()
    with pytest.raises(OSError):
        os.fstat(number)
    with pytest.raises(ValueError, match="closed"):
        file.read(1)


@pytest.mark.parametrize("mode", ["rb", "r"])
def test_close_of_a_buffered_file(hub, mode):
    """A buffered or text file can be closed while another greenlet reads from it."""
    hub.exception_stream = None
    readable, writable = os.pipe()
    file = fileobject.open(readable, mode)
    readers = [hubbub.spawn(file.readline) for _ in range(2)]
    hubbub.sleep(0)
    file.close()
    hubbub.joinall(readers, timeout=5)
    assert all(isinstance(one.exception, (OSError, ValueError)) for one in readers)
    assert file.closed
    os.close(writable)


def test_close_that_is_cut_short(hub):
    """A greenlet that is killed while it waits to close a file has closed its descriptor nevertheless."""
    readable, writable = os.pipe()
    file = fileobject.open(writable, "wb")
    writer = hubbub.spawn(file.write, b"x" * (1 << 20))
    hubbub.sleep(0)
    hub.exception_stream = None
    closer = hubbub.spawn(file.close)
    hubbub.sleep(0)  # it has told the writer, and waits until that one is out of the way
    closer.kill(timeout=5)
    assert file.closed
    with pytest.raises(OSError):
        os.fstat(writable)
    writer.join(5)
    os.close(readable)


def test_close_from_another_thread(hub, pipe):
    """A file that another thread's greenlet waits in can be closed here."""
    reader, _ = pipe
    got, waiting = [], threading.Event()

    def work():
        hubbub.get_hub().loop.run_callback(waiting.set)
        try:
            reader.read(1)
        except OSError as error:
            got.append(error.errno)

    thread = threading.Thread(target=work)
    thread.start()
    waiting.wait(5)
    reader.close()
    thread.join(5)
    assert got == [errno.EBADF]


def test_killed_reader(hub):
    """A greenlet that is killed while it waits in a read leaves the file in working order for others."""
    readable, writable = os.pipe()
    with fileobject.open(readable, "rb") as file:
        os.write(writable, b"one\nhalf ")
        assert file.readline() == b"one\n"
        assert file.peek(1) == b"half "
        assert file.read1(100) == b"half "
        for _ in range(3):
            reader = hubbub.spawn(file.readline)
            hubbub.sleep(0)
            reader.kill(timeout=5)
        os.write(writable, b"line\n")
        assert file.readline() == b"line\n"
    os.close(writable)


def test_readers_take_turns(hub):
    """Several greenlets may read lines of one buffered file: each line goes whole to one of them."""
    readable, writable = os.pipe()
    with fileobject.open(readable, "rb") as file:
        readers = [hubbub.spawn(file.readline) for _ in range(4)]
        for piece in (b"on", b"e\ntwo\nth", b"ree\nfo", b"ur\n"):
            os.write(writable, piece)
            hubbub.sleep(0.001)
        assert [one.get(timeout=5) for one in readers] == [b"one\n", b"two\n", b"three\n", b"four\n"]
    os.close(writable)


def test_writers_take_turns(hub, pipe):
    """Several greenlets may write to one buffered file: what one call writes stays together."""
    reader, writer = pipe
    buffered = fileobject.buffered(writer, 100)
    writers = [hubbub.spawn(buffered.write, bytes([65 + number]) * 200000) for number in range(3)]
    hubbub.spawn(lambda: (hubbub.joinall(writers), buffered.close()))
    data = reader.readall()
    assert data == b"A" * 200000 + b"B" * 200000 + b"C" * 200000


def test_iteration(hub):
    """Iterating over a file waits for each line."""
    readable, writable = os.pipe()
    with fileobject.open(readable) as file:
        reading = hubbub.spawn(list, file)
        os.write(writable, "höhe\nlast".encode())
        hubbub.sleep(0.001)
        assert not reading.ready()
        os.close(writable)
        assert reading.get(timeout=5) == ["höhe\n", "last"]


def test_fifo(hub, path):
    """A FIFO is opened without blocking others until the other side comes, then read and written."""
    os.mkfifo(path)
    reading = hubbub.spawn(fileobject.open, path)
    hubbub.sleep(0.005)
    assert not reading.ready()
    with fileobject.open(path, "w") as writer:
        reader = reading.get(timeout=5)
        writer.write("text\n")
        writer.flush()
        assert reader.readline() == "text\n"
    assert reader.read() == ""
    reader.close()


def test_terminal(hub):
    """A terminal is read and written without making it non-blocking for the other processes that have it."""
    leader, follower = pty.openpty()
    with fileobject.open(follower, "rb", 0) as reader, fileobject.open(leader, "wb", 0) as writer:
        reading = hubbub.spawn(reader.read, 100)
        hubbub.sleep(0)
        assert not reading.ready()
        assert writer.write(b"line\n") == 5
        assert reading.get(timeout=5) == b"line\n"
        assert os.get_blocking(follower)
        assert os.get_blocking(leader)


def test_borrowed_descriptor(hub):
    """A descriptor that is not closed with the file is neither closed nor made non-blocking."""
    readable, writable = os.pipe()
    reader = fileobject.open(readable, "rb", closefd=False)
    writer = fileobject.open(writable, "wb", closefd=False)
    reading = hubbub.spawn(reader.read, 300000)
    hubbub.sleep(0)
    writer.write(b"x" * 300000)
    writer.flush()
    assert reading.get(timeout=5) == b"x" * 300000
    reader.close()
    writer.close()
    assert os.get_blocking(readable)
    assert os.get_blocking(writable)
    os.close(readable)
    os.close(writable)


def test_standard_streams(loop_name):
    """stdin, stdout and stderr can be wrapped: reading waits cooperatively, and what is written arrives."""
    text = """
        import sys, hubbub
        from hubbub import fileobject
        stdin, stdout = fileobject.open(0, closefd=False), fileobject.open(1, "w", closefd=False)
        ticks = []
        hubbub.spawn(lambda: [(hubbub.sleep(0.005), ticks.append(1)) for _ in range(1000)])
        for line in stdin:
            stdout.write(line.upper())
            stdout.flush()
        print(len(ticks) > 1, file=fileobject.open(2, "w", closefd=False), flush=True)
    """
    environment = {**os.environ, "HUBBUB_LOOP": loop_name}
    command = [sys.executable, "-c", dedent(text)]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen(command, env=environment, text=True, bufsize=1, **pipes) as process:
        for word in ("one\n", "two\n"):
            process.stdin.write(word)
            assert process.stdout.readline() == word.upper()
            threading.Event().wait(0.02)
        process.stdin.close()
        assert process.stderr.read() == "True\n"
    assert process.returncode == 0


@pytest.mark.parametrize(("mode", "buffering"), [("rb", 0), ("rb", -1), ("r", -1)])
def test_unclosed_file_is_reported(hub, mode, buffering):
    """A file that is dropped open is closed with a ResourceWarning, as the builtin's."""
    readable, writable = os.pipe()
    os.close(writable)
    file = fileobject.open(readable, mode, buffering)
    with pytest.warns(ResourceWarning, match="unclosed file"):
        del file
    with pytest.raises(OSError):
        os.fstat(readable)


# Regular files --------------------------------------------------------------------------------------------------------


def test_regular_file_goes_through_threads(hub, path):
    """Regular files are read and written by the threads kept for files, not by those of the user's pool."""
    with fileobject.open(path, "wb") as file:
        assert isinstance(file.raw, ThreadedFile)
        file.write(b"data")
    with fileobject.open(path, "rb") as file:
        assert file.read() == b"data"
    assert hub.file_pool.size > 0
    assert type(hub).threadpool.if_made(hub) is None


@pytest.mark.parametrize("mode", ["w", "wb", "w+", "w+b", "x", "xb", "a", "a+b", "r", "rb", "r+", "r+b", "rt", "+r"])
@pytest.mark.parametrize("buffering", [-1, 0, 1, 100])
def test_modes(any_hub, path, mode, buffering):
    """Every mode and buffering gives what the builtin gives: the same kind of file, the same content, or error."""
    results = []
    for opener in (builtins.open, fileobject.open):
        if "x" in mode:
            path.unlink(missing_ok=True)
        else:
            path.write_bytes(b"one\ntwo\n")
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            seen = use(opener, path, mode, buffering)
            # The builtin truncates a file before it finds that it cannot open it in this way; ours does not.
            content = None if isinstance(seen, tuple) else path.read_bytes()
            results.append((seen, content, [str(one.message) for one in warned]))
    assert results[0] == results[1]


def use(opener, path, mode, buffering):
    """What can be seen of a file when it is used."""
    try:
        file = opener(path, mode, buffering)
    except (OSError, ValueError) as error:
        return type(error), str(error)
    with file:
        seen = [file.readable(), file.writable(), file.seekable(), file.mode, file.name, file.tell()]
        seen += [base for base in (io.RawIOBase, io.BufferedIOBase, io.TextIOBase) if isinstance(file, base)]
        text = isinstance(file, io.TextIOBase)
        if file.readable():
            seen += [file.readline(), file.read()]
        if file.writable():
            seen.append(file.write("three" if text else b"three"))
            file.seek(0)
            if file.readable():
                seen.append(file.read(3))
        file.seek(0)
        seen.append(file.tell())
        if file.writable():
            seen.append(file.truncate(2))
    return [*seen, file.closed]


@pytest.mark.parametrize(
    "arguments",
    [
        ("", "rw"),
        ("", "rr"),
        ("", ""),
        ("", "z"),
        ("", "bt"),
        ("", "r", 0),
        ("", "rb", -1, "utf-8"),
        ("", "rb", -1, None, "strict"),
        ("", "rb", -1, None, None, "\n"),
        ("", "r", -1, None, None, "bad"),
        ("", "r", -1, "no such encoding"),
        ("", "r", -1, None, None, None, False),
        ("/does/not/exist",),
        ("/does/not/exist", "w"),
        ("/", "r"),
        ("/", "w"),
        (99999,),
        (-5,),
        (1.5,),
        ("", 5),
        ("bad\0name",),
    ],
)
def test_bad_arguments(any_hub, path, arguments):
    """Wrong modes, names and descriptors raise what the builtin raises, and leave no descriptor."""
    path.write_text("x")
    name = arguments[0] or os.fspath(path)
    with pytest.raises((OSError, ValueError, TypeError, LookupError)) as theirs:
        builtins.open(name, *arguments[1:])  # noqa: SIM115  # does not get that far
    gc.collect()  # what other tests have dropped is closed
    before = descriptors()
    with pytest.raises(type(theirs.value)) as ours:
        fileobject.open(name, *arguments[1:])
    assert descriptors() <= before  # what another test's thread had open still may be closed by now
    if isinstance(theirs.value, OSError):
        assert (ours.value.errno, ours.value.filename) == (theirs.value.errno, theirs.value.filename)


def test_opener(any_hub, path):
    """An opener is called with path and flags, and its descriptor used."""
    seen = []

    def opener(name, flags):
        seen.append((name, flags & os.O_CREAT))
        return os.open(name, flags, 0o600)

    with fileobject.open(path, "w", opener=opener) as file:
        file.write("x")
    assert seen == [(os.fspath(path), os.O_CREAT)]
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(ValueError, match="opener returned -1"):
        fileobject.open(path, opener=lambda name, flags: -1)


def test_descriptors_are_not_inherited(any_hub, path):
    """What open opens is closed in programs that are started, as PEP 446 wants."""
    with fileobject.open(path, "w") as file:
        assert not os.get_inheritable(file.fileno())


def test_large_file(any_hub, path):
    """Large files are read and written in one go, by piece, and at positions."""
    data = os.urandom(1 << 20)
    with fileobject.open(path, "w+b") as file:
        assert file.write(data) == len(data)
        file.seek(0)
        assert file.read() == data
        file.seek(1000)
        assert file.read(10) == data[1000:1010]
        buffer = bytearray(100000)
        assert file.readinto(buffer) == 100000
        assert buffer == data[1010:101010]


def test_text_positions(any_hub, path):
    """tell and seek work in text files."""
    path.write_text("höhe\nzwei\ndrei\n", encoding="utf-8")
    with fileobject.open(path, encoding="utf-8") as file:
        file.readline()
        position = file.tell()
        assert file.readline() == "zwei\n"
        file.seek(position)
        assert list(file) == ["zwei\n", "drei\n"]


def test_without_a_hub(path):
    """In a thread that has no hub files work too, without making one."""
    seen = []

    def work():
        with fileobject.open(path, "w") as file:
            file.write("x")
        seen.append(hubbub.lowlevel.get_hub_if_exists())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [None]
    assert path.read_text() == "x"


# FileObject -----------------------------------------------------------------------------------------------------------


def test_fileobject_over_a_descriptor(hub):
    """A FileObject over a descriptor reads and writes like a file, in binary by default."""
    readable, writable = os.pipe()
    with FileObject(readable) as reader, FileObject(writable, "w", encoding="latin-1") as writer:
        writer.write("höhe\n")
        writer.flush()
        assert reader.readline() == "höhe\n".encode("latin-1")
        writer.close()
        assert list(reader) == []
        assert reader.fileno() == readable
    assert reader.closed
    with pytest.raises(OSError):
        os.fstat(readable)


@pytest.mark.parametrize("closefd", [True, False])
def test_fileobject_over_a_file(hub, closefd):
    """A FileObject over another file object takes its mode, and closes it if told to."""
    readable, writable = os.pipe()
    source = os.fdopen(readable, "r")
    wrapped = FileObject(source, closefd=closefd)
    reading = hubbub.spawn(wrapped.readline)
    hubbub.sleep(0)
    os.write(writable, b"line\n")
    assert reading.get(timeout=5) == "line\n"
    wrapped.close()
    wrapped.close()
    assert source.closed is closefd
    source.close()
    os.close(writable)


def test_fileobject_without_descriptor(hub):
    """What has no descriptor is refused as by its own fileno."""
    with pytest.raises(io.UnsupportedOperation):
        FileObject(io.BytesIO())


@pytest.mark.parametrize("keeper", ["builtins", "subprocess", "sys", "hubbub"])
@pytest.mark.parametrize("target", ["file", "pipe"])
def test_a_file_that_is_open_to_the_end(path, keeper, target):
    """What was written to a file that nobody closes is flushed when the interpreter ends, without a complaint."""
    program = f"""
        import os, {keeper}
        from hubbub import fileobject
        file = fileobject.open({str(path)!r} if {target == "file"} else os.dup(1), "w")
        file.write("kept to the end")
        {keeper}.kept = file
        del file
    """
    result = subprocess.run([sys.executable, "-c", dedent(program)], capture_output=True, text=True, timeout=60)
    assert result.stderr == ""
    assert (path.read_text() if target == "file" else result.stdout) == "kept to the end"
