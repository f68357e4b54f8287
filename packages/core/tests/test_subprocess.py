"""hubbub.subprocess: the standard module's interface, waiting cooperatively."""

import errno
import inspect
import os
import signal
import subprocess as standard
import sys
import threading
from textwrap import dedent
from time import monotonic

import hubbub
import pytest
from hubbub import _processes, subprocess
from hubbub.subprocess import DEVNULL, PIPE, STDOUT, Popen

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="written for POSIX shells")

PYTHON = sys.executable


def script(text):
    return [PYTHON, "-S", "-c", text]


def descriptors():
    return set(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else set()


def later(release, *args):
    """Calls ``release`` in another greenlet, after some turns: what waits for that, and lets nobody run, hangs."""

    def body():
        for _ in range(3):
            hubbub.sleep(0.001)
        release(*args)

    hubbub.spawn(body)


def test_names():
    """Every public name of the running interpreter's module is there."""
    assert set(standard.__all__) <= set(subprocess.__all__)
    assert all(hasattr(subprocess, name) for name in subprocess.__all__)


@pytest.mark.parametrize("name", ["run", "call", "check_call", "check_output", "getoutput", "getstatusoutput"])
def test_signatures_of_functions(name):
    """The functions take the parameters of the standard ones."""
    ours = inspect.signature(getattr(subprocess, name))
    theirs = inspect.signature(getattr(standard, name))
    assert [(p.name, p.kind, p.default) for p in ours.parameters.values()] == [
        (p.name, p.kind, p.default) for p in theirs.parameters.values()
    ]


@pytest.mark.parametrize("name", [name for name in vars(standard.Popen) if not name.startswith("_")] + ["__init__"])
def test_signatures_of_popen(name):
    """Popen is the standard class, with the same signatures."""
    assert issubclass(Popen, standard.Popen)
    theirs = getattr(standard.Popen, name)
    if callable(theirs):
        assert inspect.signature(getattr(Popen, name)) == inspect.signature(theirs)


def test_private_parts_that_are_overridden_exist():
    """What Popen overrides or calls of the standard class is there in this interpreter."""
    for name in ("_get_handles", "_execute_child", "_wait", "_communicate", "_internal_poll", "_translate_newlines"):
        assert hasattr(standard.Popen, name)


def test_wait_is_cooperative(hub):
    """Other greenlets run while one waits for a child."""
    process = Popen(["cat"], stdin=PIPE)
    later(process.stdin.close)
    assert process.wait() == 0


def test_wait_times_out(hub):
    """wait raises TimeoutExpired after its time, and may be called again."""
    with Popen(["sleep", "30"]) as process:
        with pytest.raises(subprocess.TimeoutExpired) as caught:
            process.wait(0.02)
        assert caught.value.timeout == 0.02
        process.kill()
        assert process.wait(10) == -signal.SIGKILL
    assert process.wait() == -signal.SIGKILL


def test_several_wait_for_one_child(hub):
    """Every greenlet that waits for a child gets its status."""
    process = Popen(["sh", "-c", "sleep 0.05; exit 3"])
    waiters = [hubbub.spawn(process.wait) for _ in range(10)]
    assert [waiter.get(timeout=10) for waiter in waiters] == [3] * 10


def test_poll(hub):
    """poll is None while the child runs, its status afterwards."""
    with Popen(["cat"], stdin=PIPE) as process:
        assert process.poll() is None
        process.stdin.close()
        process.wait(10)
        assert process.poll() == 0


def test_communicate_both_ways(hub):
    """communicate feeds stdin and collects stdout and stderr without a deadlock, whatever the sizes."""
    data = os.urandom(1 << 20)
    text = "import sys; d = sys.stdin.buffer.read(); sys.stderr.buffer.write(d[::-1]); sys.stdout.buffer.write(d)"
    meanwhile = hubbub.spawn(hubbub.sleep)
    process = Popen(script(text), stdin=PIPE, stdout=PIPE, stderr=PIPE)
    out, err = process.communicate(data)
    assert out == data
    assert err == data[::-1]
    assert process.returncode == 0
    assert meanwhile.dead


def test_communicate_keeps_partial_output(hub):
    """A communicate whose time runs out raises with what came so far; the next one gives everything."""
    readable, writable = os.pipe()
    command = ["sh", "-c", "echo one; echo two >&2; read line; echo three"]
    process = Popen(command, stdin=readable, stdout=PIPE, stderr=PIPE)
    os.close(readable)
    limit = monotonic() + 20
    while monotonic() < limit:
        with pytest.raises(subprocess.TimeoutExpired) as caught:
            process.communicate(timeout=0.05)
        if caught.value.stderr:  # written last
            break
    assert caught.value.output == b"one\n"
    assert caught.value.stderr == b"two\n"
    with pytest.raises(ValueError, match="Cannot send input"):
        process.communicate(b"late")
    os.close(writable)
    out, err = process.communicate(timeout=10)
    assert (out, err) == (b"one\nthree\n", b"two\n")


def test_communicate_goes_on_sending(hub):
    """Input that was not sent when the time ran out is sent by the next communicate."""
    data = b"x" * (1 << 20)
    ours, theirs = os.pipe()
    process = Popen(["sh", "-c", f"read x </dev/fd/{ours}; exec cat"], stdin=PIPE, stdout=PIPE, pass_fds=[ours])
    with pytest.raises(subprocess.TimeoutExpired):
        process.communicate(data, timeout=0.05)
    os.write(theirs, b"\n")
    assert process.communicate(timeout=20)[0] == data
    os.close(ours)
    os.close(theirs)


def test_communicate_after_reading(hub):
    """What was read by hand before communicate is not given again, and what was buffered is not lost."""
    process = Popen(["printf", "one\\ntwo\\nthree\\n"], stdout=PIPE, stderr=PIPE)
    assert process.stdout.readline() == b"one\n"
    assert process.communicate(timeout=10)[0] == b"two\nthree\n"


def test_communicate_with_a_child_that_does_not_read(hub):
    """A child that ends without reading its input is no error."""
    process = Popen(["true"], stdin=PIPE, stdout=PIPE)
    assert process.communicate(b"x" * (1 << 20), timeout=10) == (b"", None)


def test_kill_of_a_waiting_greenlet(hub):
    """A greenlet that waits for a child, or talks to it, can be killed at once; the child is not harmed."""
    with Popen(["sleep", "30"], stdin=PIPE, stdout=PIPE) as process:
        for wait in (process.wait, process.communicate):
            waiter = hubbub.spawn(wait)
            hubbub.sleep(0.01)
            waiter.kill(timeout=5)
            assert waiter.dead
            assert process.poll() is None
        process.kill()


def test_text_mode(hub):
    """Text mode encodes, decodes and translates newlines."""
    done = subprocess.run(
        ["sh", "-c", "cat; printf 'a\\r\\nb'"], input="höhe\n", capture_output=True, encoding="latin-1"
    )
    assert done.stdout == "höhe\na\nb"


@pytest.mark.parametrize("bufsize", [-1, 0, 1, 4096])
@pytest.mark.parametrize("text", [False, True])
def test_conversation(any_hub, bufsize, text):
    """A dialogue line by line works with every buffer size."""
    warn = pytest.warns(RuntimeWarning, match="line buffering") if bufsize == 1 and not text else None
    if warn is not None:
        with warn:
            process = Popen(["cat"], bufsize, stdin=PIPE, stdout=PIPE, text=text)
    else:
        process = Popen(["cat"], bufsize, stdin=PIPE, stdout=PIPE, text=text)
    with process:
        for line in ("one\n", "two\n"):
            message = line if text else line.encode()
            process.stdin.write(message)
            process.stdin.flush()
            assert process.stdout.readline() == message


def test_reading_is_cooperative(hub):
    """Other greenlets run while one reads from a child."""
    with Popen(["sh", "-c", "cat; echo x"], stdin=PIPE, stdout=PIPE) as process:
        later(process.stdin.close)
        assert process.stdout.read() == b"x\n"


def test_a_descriptor_that_is_asked_for_blocks(hub):
    """Who asks for the descriptor of a pipe gets a blocking one, and the file goes on to cooperate."""
    with Popen(["cat"], stdin=PIPE, stdout=PIPE) as process:
        assert os.get_blocking(process.stdout.fileno())
        reader = hubbub.spawn(process.stdout.read)
        hubbub.sleep(0)
        sender = hubbub.spawn(process.stdin.write, bytes(300_000))
        hubbub.sleep(0)
        assert os.get_blocking(process.stdin.fileno())  # in the middle of a write
        sender.get(timeout=5)
        process.stdin.close()
        assert len(reader.get(timeout=5)) == 300_000


def test_a_number_of_a_pipe_for_another_child(hub):
    """A child gets the pipe of another by number, and does not meet one that would not wait."""
    slow = "import sys; sys.stdin.readline(); print('late')"
    with (
        Popen(script(slow), stdin=PIPE, stdout=PIPE) as first,
        Popen(["cat"], stdin=first.stdout.fileno(), stdout=PIPE) as second,
    ):
        first.stdin.write(b"go\n")
        first.stdin.close()
        assert second.stdout.read() == b"late\n"
        assert second.wait(timeout=20) == 0


def test_writing_is_cooperative(hub):
    """Other greenlets run while one writes to a child that does not read."""
    ours, theirs = os.pipe()
    command = f"read x </dev/fd/{ours}; exec cat >/dev/null"
    with Popen(["sh", "-c", command], stdin=PIPE, pass_fds=[ours]) as process:
        later(os.write, theirs, b"\n")
        process.stdin.write(b"x" * (1 << 20))
        process.stdin.close()
    os.close(ours)
    os.close(theirs)


def test_close_while_another_reads(hub):
    """Closing a pipe wakes the greenlet that reads from it with EBADF."""
    with Popen(["cat"], stdin=PIPE, stdout=PIPE) as process:
        reader = hubbub.spawn(process.stdout.read)
        hubbub.sleep(0.01)
        process.stdout.close()
        reader.join(5)
        assert isinstance(reader.exception, OSError)
        assert reader.exception.errno == errno.EBADF
        hub.exception_stream = None


@pytest.mark.parametrize("text", [False, True])
def test_pipeline(hub, text):
    """The output of one child may be the input of another; both may go on to be used here."""
    with Popen(["cat"], stdin=PIPE, stdout=PIPE, text=text) as first:
        with Popen(["cat"], stdin=first.stdout, stdout=PIPE, text=text) as second:
            hubbub.sleep(0.02)  # the second waits for input
            first.stdout.close()
            line = "line\n" if text else b"line\n"
            first.stdin.write(line)
            first.stdin.close()
            assert second.stdout.read() == line
        assert second.returncode == 0
    with Popen(["cat"], stdin=PIPE, stdout=PIPE) as third:
        assert subprocess.call(["echo", "from a child"], stdout=third.stdin) == 0
        reader = hubbub.spawn(third.stdout.read)
        third.stdin.write(b"x" * (1 << 18))
        third.stdin.close()
        assert reader.get(timeout=10) == b"from a child\n" + b"x" * (1 << 18)


def test_stdout_to_files(any_hub, tmp_path):
    """Redirection to files, to nothing and to each other works as in the standard library."""
    with open(tmp_path / "out", "wb") as out:
        assert subprocess.call(["sh", "-c", "echo a; echo b >&2"], stdout=out, stderr=STDOUT) == 0
    assert (tmp_path / "out").read_bytes() == b"a\nb\n"
    assert subprocess.call(["sh", "-c", "echo a"], stdout=DEVNULL, stdin=DEVNULL) == 0


def test_functions(any_hub):
    """run, call, check_call, check_output, getoutput and getstatusoutput do what the standard ones do."""
    assert subprocess.run(["true"]).returncode == 0
    assert subprocess.run(["sh", "-c", "echo x"], stdout=PIPE, check=True).stdout == b"x\n"
    assert subprocess.call(["sh", "-c", "exit 4"]) == 4
    assert subprocess.check_call(["true"]) == 0
    with pytest.raises(subprocess.CalledProcessError) as caught:
        subprocess.check_call(["false"])
    assert caught.value.returncode == 1
    assert subprocess.check_output(["cat"], input=None) == b""
    assert subprocess.check_output(["cat"], input=b"in") == b"in"
    with pytest.raises(subprocess.CalledProcessError) as caught:
        subprocess.check_output(["sh", "-c", "echo y; exit 2"])
    assert (caught.value.returncode, caught.value.output) == (2, b"y\n")
    assert subprocess.getstatusoutput("echo z; exit 3") == (3, "z")
    assert subprocess.getoutput("echo z >&2") == "z"


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        ("run", {"input": b"", "stdin": PIPE}),
        ("run", {"capture_output": True, "stdout": PIPE}),
        ("check_output", {"stdout": PIPE}),
        ("check_output", {"check": True}),
    ],
)
def test_arguments_that_exclude_one_another(any_hub, function, arguments):
    """Contradictory arguments are refused as in the standard library, with the same words."""
    with pytest.raises(ValueError) as ours:
        getattr(subprocess, function)(["true"], **arguments)
    with pytest.raises(ValueError) as theirs:
        getattr(standard, function)(["true"], **arguments)
    assert str(ours.value) == str(theirs.value)


def test_run_kills_after_its_time(hub):
    """run kills the child when the time is up, and raises with the output so far."""
    for seconds in (0.2, 1, 5, 20):
        begin = monotonic()
        with pytest.raises(subprocess.TimeoutExpired) as caught:
            subprocess.run(["sh", "-c", "echo x; exec sleep 100"], timeout=seconds, stdout=PIPE)
        assert monotonic() - begin < 50
        if caught.value.output:  # else the shell was not so far yet
            break
    assert caught.value.output == b"x\n"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"args": ["/does/not/exist"]}, FileNotFoundError),
        ({"args": ["true"], "cwd": "/does/not/exist"}, FileNotFoundError),
        ({"args": ["/etc/passwd"]}, PermissionError),
        ({"args": ["true"], "bufsize": "x"}, TypeError),
        ({"args": ["true"], "text": True, "universal_newlines": False}, subprocess.SubprocessError),
        ({"args": ["true"], "encoding": "no such"}, LookupError),
        ({"args": ["true"], "stdin": 99999}, OSError),
        ({"args": ["true\0"]}, ValueError),
    ],
)
def test_bad_arguments_leave_nothing(any_hub, no_children, arguments, error):
    """What cannot be started raises the standard exception and leaves neither descriptor nor child."""
    hubbub.sleep(0)
    pipes = {"stdin": PIPE, "stdout": PIPE, "stderr": PIPE} | arguments
    with pytest.raises(error) as theirs:
        standard.Popen(**pipes)  # may leave descriptors
    before = descriptors()
    with pytest.raises(error) as ours:
        Popen(**pipes)
    assert type(ours.value) is type(theirs.value)
    assert str(ours.value) == str(theirs.value)
    assert descriptors() == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_many_children(hub):
    """500 children at once, mixed with raw forks, each give their own status once, and leave no descriptor."""
    hubbub.sleep(0)
    before = descriptors()
    raw = []
    processes = []
    for number in range(500):
        processes.append(Popen(["sh", "-c", f"exit {number % 200}"]))
        if number % 10 == 0:
            pid = os.fork()
            if not pid:
                os._exit(201 + number // 10)
            raw.append((pid, 201 + number // 10))
    waiters = [hubbub.spawn(process.wait) for process in processes]
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid, _ in raw] == [status for _, status in raw]
    hubbub.joinall(waiters, timeout=50)
    assert [waiter.value for waiter in waiters] == [number % 200 for number in range(500)]
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
    assert descriptors() == before


def test_from_any_thread(hub):
    """Children may be started in and waited for by any thread, each with its own hub."""
    results = []

    def work(number):
        results.append(subprocess.run(["sh", "-c", f"cat; exit {number}"], input=b"%d" % number, stdout=PIPE))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted((done.returncode, done.stdout) for done in results) == [(n, b"%d" % n) for n in range(8)]


def test_started_here_waited_for_there(hub):
    """A child that one thread has started may be waited for and read from in another."""
    process = Popen(["sh", "-c", "sleep 0.05; echo x"], stdout=PIPE)
    hubbub.sleep(0)
    got = []
    thread = threading.Thread(target=lambda: got.append((process.communicate(timeout=10), process.wait())))
    thread.start()
    thread.join()
    assert got == [((b"x\n", None), 0)]


def test_subclass_that_fails_to_start(hub):
    """If a subclass fails before anything was started, the pipes are closed."""

    class Broken(Popen):
        def _execute_child(self, *args, **kwargs):
            raise RuntimeError("broken")

    before = descriptors()
    with pytest.raises(RuntimeError, match="broken"):
        Broken(["true"], stdin=PIPE, stdout=PIPE, stderr=PIPE)
    assert descriptors() == before


def test_no_signal_handler_is_touched(hub):
    """SIGCHLD handlers of the user stay, and whether SIGCHLD is default or ignored does not hinder a wait."""
    seen = []
    previous = signal.signal(signal.SIGCHLD, lambda *_: seen.append(1))
    try:
        assert subprocess.call(["true"]) == 0
        assert seen
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        assert subprocess.call(["false"]) == 1
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel keeps no status
        assert subprocess.call(["false"]) == standard.call(["false"]) == 0
    finally:
        signal.signal(signal.SIGCHLD, previous)


def test_reaped_by_somebody_else(hub):
    """A child that somebody else has reaped counts as ended with status 0, as in the standard library."""
    process = Popen(["false"])
    os.waitpid(process.pid, 0)
    assert process.wait(5) == 0


def test_waited_for_with_others(hub):
    """hubbub.wait takes processes beside greenlets, and gives those that have ended."""
    quick, slow = Popen(["true"]), Popen(["cat"], stdin=PIPE)
    try:
        assert hubbub.wait([slow, quick], count=1, timeout=10) == [quick]
        assert quick.ready()
        assert not slow.ready()
    finally:
        slow.communicate()


@pytest.mark.parametrize("main_thread", [True, False])
def test_without_process_descriptors(hub, monkeypatch, main_thread):
    """Where the kernel has no process descriptors, waiting works too: by SIGCHLD, or by looking from time to time."""
    monkeypatch.setattr(_processes, "_pidfd_open", None)

    def work():
        process = Popen(["sh", "-c", "sleep 0.05; exit 7"])
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.01)
        return process.wait(10), subprocess.run(["cat"], input=b"x", stdout=PIPE).stdout

    previous = signal.getsignal(signal.SIGCHLD)
    if main_thread:
        assert work() == (7, b"x")
    else:
        got = []
        thread = threading.Thread(target=lambda: got.append(work()))
        thread.start()
        thread.join()
        assert got == [(7, b"x")]
    assert signal.getsignal(signal.SIGCHLD) == previous


def test_options_reach_the_child(any_hub):
    """preexec_fn, pass_fds, start_new_session, env, cwd and umask reach the child."""
    readable, writable = os.pipe()
    try:
        text = f"import os; os.write({writable}, os.environ['V'].encode())"
        text += "; print(os.getsid(0) == os.getpid(), os.getcwd())"
        process = Popen(
            script(text),
            pass_fds=[writable],
            start_new_session=True,
            env={"V": "env"},
            cwd="/",
            umask=0o077,
            preexec_fn=lambda: os.write(writable, b"pre "),
            stdout=PIPE,
        )
        assert process.communicate(timeout=20)[0] == b"True /\n"
        assert os.read(readable, 100) == b"pre env"
    finally:
        os.close(readable)
        os.close(writable)


def test_forgotten_child_warns(hub):
    """A child that is dropped while it runs is reported, as by the standard library."""
    process = Popen(["cat"], stdin=PIPE)
    pid, stdin = process.pid, process.stdin
    with pytest.warns(ResourceWarning, match="still running"):
        del process
    stdin.close()
    os.waitpid(pid, 0)
    standard._cleanup()


@pytest.mark.skipif(sys.version_info < (3, 11, 4), reason="the Popen of that Python leaves pipes open (gh-87474)")
def test_descriptors_run_out(loop_name):
    """Whatever system call finds no descriptor left, the error is clean: no half-made hub, child or pipe remains."""
    text = """
        import errno, os, resource, hubbub
        from hubbub import subprocess
        from hubbub.lowlevel import get_hub_if_exists

        def drop_hub():
            hub = get_hub_if_exists()
            if hub is not None:
                hub.destroy()

        def descriptors():
            return len(os.listdir("/proc/self/fd"))

        def attempt():
            return subprocess.run(["true"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

        attempt()
        drop_hub()
        before = descriptors()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        outcomes = []
        for limit in range(3, 30):
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
            try:
                outcomes.append(attempt().returncode)
            except OSError as error:
                outcomes.append(errno.errorcode[error.errno])
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            assert attempt().returncode == 0
            assert hubbub.spawn(lambda: 3).get() == 3
            drop_hub()
            assert descriptors() == before, (limit, outcomes[-1])
            try:
                os.waitpid(-1, os.WNOHANG)
                raise AssertionError("a child is left")
            except ChildProcessError:
                pass
        print(*sorted(map(str, set(outcomes))), outcomes[-1])
    """
    environment = {**os.environ, "HUBBUB_LOOP": loop_name}
    command = [PYTHON, "-W", "error", "-c", dedent(text)]
    done = standard.run(command, env=environment, capture_output=True, text=True, timeout=50)
    assert done.stderr == ""
    assert done.stdout == "0 EMFILE 0\n"
