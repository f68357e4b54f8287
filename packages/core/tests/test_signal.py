"""Signals: handlers in greenlets, prompt handlers of Python's own, the wake-up descriptor."""

import os
import signal as standard
import socket
import subprocess
import sys
import threading
from textwrap import dedent
from time import monotonic

import hubbub
import pytest
from hubbub import signal
from hubbub.event import Event

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs kill")

NUMBER = standard.SIGUSR1


@pytest.fixture(autouse=True)
def handlers():
    """Put the handlers back."""
    numbers = (standard.SIGUSR1, standard.SIGUSR2, standard.SIGINT, standard.SIGALRM)
    before = {number: standard.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        standard.signal(number, handler)


def send(number=NUMBER):
    os.kill(os.getpid(), number)


def until(condition):
    """Let others run until it holds."""
    with hubbub.fail_after(10):
        while not condition():
            hubbub.sleep(0.001)


def test_handler_may_wait(hub):
    """A handler set by signal.signal runs in a greenlet with number and frame, and may wait."""
    seen = []
    done = Event()

    def handler(number, frame):
        hubbub.sleep(0.001)
        seen.append((number, hubbub.getcurrent() is not hub, hasattr(frame, "f_code")))
        done.set()

    signal.signal(NUMBER, handler)
    send()
    assert seen == []
    assert done.wait(5)
    assert seen == [(NUMBER, True, True)]


def test_failing_handler_is_reported(hub):
    """What a handler raises is reported like any greenlet's failure, and harms nobody."""
    told = []
    hub.handle_error = lambda context, kind, error, traceback: told.append(kind)

    def handler(number, frame):
        raise ValueError

    signal.signal(NUMBER, handler)
    send()
    until(lambda: told)
    assert told == [ValueError]


def test_getsignal_and_previous(hub):
    """getsignal and the result of signal are the handlers as they were given."""

    def first(number, frame):
        """Never called."""

    original = standard.getsignal(NUMBER)
    assert signal.signal(NUMBER, first) == original
    assert signal.getsignal(NUMBER) is first
    assert signal.signal(NUMBER, standard.SIG_IGN) is first
    assert signal.getsignal(NUMBER) is standard.SIG_IGN
    send()
    assert signal.signal(NUMBER, standard.SIG_DFL) is standard.SIG_IGN
    assert signal.signal(standard.SIGINT, standard.default_int_handler) is not None
    assert standard.getsignal(standard.SIGINT) is standard.default_int_handler


@pytest.mark.parametrize("number", [0, -1, 9999, standard.SIGKILL])
def test_bad_numbers(hub, number):
    """Numbers that are no signals, and signals that cannot be caught, are refused as by the standard module."""
    for attempt in (signal.signal, signal.SignalHandler):
        with pytest.raises((ValueError, OSError)):
            attempt(number, print)


def test_bad_handlers(hub):
    """A handler must be callable."""
    with pytest.raises(TypeError):
        signal.SignalHandler(NUMBER, 5)
    with pytest.raises(TypeError):
        signal.signal(NUMBER, "x")


def test_only_in_the_main_thread(hub):
    """As with the standard module, handlers are set in the main thread alone."""
    caught = []

    def work():
        for attempt in (signal.signal, signal.SignalHandler):
            try:
                attempt(NUMBER, print)
            except ValueError:
                caught.append(attempt)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert len(caught) == 2


def test_several_handlers_of_one_signal(hub):
    """SignalHandlers of one signal are all called with their arguments; the last cancel puts back what was before."""
    original = standard.getsignal(NUMBER)
    seen = []
    one = signal.SignalHandler(NUMBER, seen.append, 1)
    two = signal.SignalHandler(NUMBER, lambda *args, **kwargs: seen.append((args, kwargs)), 2, key=3)
    send()
    until(lambda: len(seen) == 2)
    assert sorted(seen, key=str) == [((2,), {"key": 3}), 1]
    two.cancel()
    two.cancel()
    send()
    until(lambda: len(seen) == 3)
    one.cancel()
    assert standard.getsignal(NUMBER) == original


def test_handler_as_a_reason_to_wait(hub):
    """A SignalHandler does not keep the hub from ending, unless its ref is set."""
    handler = signal.SignalHandler(NUMBER, hub.loop.break_)
    assert hub.join(timeout=5)
    handler.ref = True
    assert handler.ref
    assert not hub.join(timeout=0.005)
    handler.cancel()
    assert hub.join(timeout=5)


def test_ends_a_wait_at_once(hub):
    """A signal that comes while the hub sleeps ends the sleep at once, whoever holds the wake-up descriptor."""
    for fd in (None, -1):
        if fd is not None:
            standard.set_wakeup_fd(fd)
        event = Event()
        signal.signal(NUMBER, lambda *_: event.set())  # noqa: B023  # used in this turn
        timer = threading.Timer(0.02, send)
        timer.start()
        begin = monotonic()
        assert event.wait(30)
        assert monotonic() - begin < 10
        timer.join()


def test_python_handlers_are_prompt(hub):
    """A handler of the standard module runs while the hub waits, without delay."""
    event = Event()
    standard.signal(NUMBER, lambda *_: event.set())
    timer = threading.Timer(0.02, send)
    timer.start()
    begin = monotonic()
    assert event.wait(30)
    assert monotonic() - begin < 10
    timer.join()


def test_handler_that_raises(hub):
    """What a handler of the standard module raises while the hub waits reaches the main greenlet; the hub goes on."""

    class Alarm(Exception):
        pass

    def handler(*_):
        raise Alarm

    standard.signal(standard.SIGALRM, handler)
    hub.exception_stream = None
    for _ in range(3):
        with pytest.raises(Alarm):
            standard.setitimer(standard.ITIMER_REAL, 0.01)
            hubbub.sleep(10)
        assert hubbub.spawn(lambda: 3).get(timeout=5) == 3


def test_wakeup_fd_of_the_user(hub):
    """set_wakeup_fd of the user's works beside the hub's: numbers are passed on, wake-ups of threads are not."""
    left, right = socket.socketpair()
    left.setblocking(False)
    right.setblocking(False)
    standard.signal(NUMBER, lambda *_: None)
    assert signal.set_wakeup_fd(right.fileno()) == -1
    try:
        thread = threading.Thread(target=hub.loop.run_callback_threadsafe, args=(int,))
        thread.start()
        hubbub.sleep(0.005)
        thread.join()
        send()
        hubbub.sleep(0.005)
        assert left.recv(100) == bytes([NUMBER])
    finally:
        assert signal.set_wakeup_fd(-1) == right.fileno()
    send()
    hubbub.sleep(0.005)
    with pytest.raises(BlockingIOError):
        left.recv(100)
    left.close()
    right.close()


def test_wakeup_fd_of_each_greenlet(hub):
    """Each greenlet's descriptor gets the numbers, until it is taken back, the greenlet ends, or it is closed."""
    pairs = [socket.socketpair() for _ in range(3)]
    for pair in pairs:
        for end in pair:
            end.setblocking(False)
    lefts, rights = zip(*pairs, strict=True)
    go_on = [Event() for _ in pairs]

    def owner(number):
        assert signal.set_wakeup_fd(rights[number].fileno()) == -1
        assert signal.set_wakeup_fd(rights[number].fileno()) == rights[number].fileno()
        go_on[number].wait()
        if number == 0:
            assert signal.set_wakeup_fd(-1) == rights[number].fileno()
            go_on[number].clear()
            go_on[number].wait()

    def heard():
        os.kill(os.getpid(), standard.SIGUSR1)
        hubbub.sleep(0.005)
        found = []
        for number, left in enumerate(lefts):
            try:
                received = left.recv(10)
            except BlockingIOError:
                continue
            if received:  # nothing where the other end was closed
                assert received == bytes([standard.SIGUSR1])
                found.append(number)
        return found

    previous = standard.signal(standard.SIGUSR1, lambda *_: None)
    try:
        owners = [hubbub.spawn(owner, number) for number in range(3)]
        hubbub.sleep(0)
        assert heard() == [0, 1, 2]
        go_on[0].set()
        hubbub.sleep(0)
        assert heard() == [1, 2]
        number = rights[1].fileno()
        rights[1].close()
        reused = os.open(os.devnull, os.O_RDONLY)
        assert reused == number
        assert heard() == [2]
        os.close(reused)
        go_on[2].set()
        owners[2].get()
        del owners[2]
        assert heard() == []
    finally:
        standard.signal(standard.SIGUSR1, previous)
        for event in go_on:
            event.set()
        for pair in pairs:
            for end in pair:
                end.close()


def test_wakeup_fd_from_before(loop_name):
    """A wake-up descriptor that was there before the hub is served by it, and back in place after it."""
    left, right = socket.socketpair()
    left.setblocking(False)
    right.setblocking(False)
    standard.signal(NUMBER, lambda *_: None)
    previous = standard.set_wakeup_fd(right.fileno())
    try:
        hub = hubbub.Hub(loop_name)
        send()
        for _ in range(2):  # the first turn polls
            hub.loop.run(nowait=True)
        assert left.recv(100) == bytes([NUMBER])
        hub.destroy()
        send()
        assert left.recv(100) == bytes([NUMBER])
    finally:
        assert standard.set_wakeup_fd(previous) == right.fileno()
    left.close()
    right.close()


def test_wakeup_fd_is_checked(hub):
    """A descriptor that blocks or is closed is refused, and the hub keeps its own."""
    left, right = socket.socketpair()
    with pytest.raises(ValueError, match="non-blocking"):
        signal.set_wakeup_fd(right.fileno())
    number = right.fileno()
    right.close()
    left.close()
    with pytest.raises((OSError, ValueError)):
        signal.set_wakeup_fd(number)
    assert signal.set_wakeup_fd(-1) == -1
    assert hub.loop.wakeup.installed


def test_storm(hub):
    """Signals at a kilohertz during load: every distinct number is seen, no work is lost, nothing breaks."""
    numbers = [standard.SIGUSR1, standard.SIGUSR2, standard.SIGCHLD, standard.SIGURG]
    before = {number: standard.getsignal(number) for number in numbers}
    seen, in_greenlet = set(), set()
    try:
        for number in numbers:
            standard.signal(number, lambda number, frame: seen.add(number))
        watchers = [signal.SignalHandler(standard.SIGUSR2, in_greenlet.add, "handler")]
        text = """
            import os, sys, time
            pid, numbers = int(sys.argv[1]), [int(number) for number in sys.argv[2:]]
            for turn in range(1000):
                os.kill(pid, numbers[turn % len(numbers)])
                time.sleep(0.001)
        """
        command = [sys.executable, "-S", "-c", dedent(text), str(os.getpid()), *map(str, numbers)]
        attacker = subprocess.Popen(command)
        left, right = (hubbub.io.Socket(fileno=one.detach()) for one in socket.socketpair())

        def echo():
            while data := right.recv(100):
                right.sendall(data)

        echoing = hubbub.spawn(echo)
        rounds = 0
        while attacker.poll() is None or rounds < 100:
            message = b"%d" % rounds
            left.sendall(message)
            assert left.recv(100) == message
            assert hub.threadpool.apply(abs, (-rounds,)) == rounds
            hubbub.sleep(0.0005)
            rounds += 1
        left.close()
        echoing.join(5)
        right.close()
        assert attacker.returncode == 0
        assert seen == set(numbers) - {standard.SIGUSR2}
        assert in_greenlet == {"handler"}
        watchers[0].cancel()
    finally:
        for number, handler in before.items():
            standard.signal(number, handler)


CALLS = {
    "sleep": "hubbub.sleep(30)",
    "event": "hubbub.event.Event().wait(30)",
    "queue": "hubbub.Queue().get(timeout=30)",
    "semaphore": "hubbub.Semaphore(0).acquire(timeout=30)",
    "join": "hubbub.spawn(hubbub.sleep, 30).join()",
    "hub": "hubbub.get_hub().join()",
    "recv": "hubbub.io.Socket(fileno=peers[0].detach()).recv(1)",
    "thread": "hubbub.to_thread(time.sleep, 1)",
    "process": "subprocess.run(['sleep', '1'])",
    "busy": "hubbub.spawn(spin).join()",
}


def test_control_c(loop_name):
    """Ctrl-C ends any blocking call of the main greenlet with KeyboardInterrupt, at once; the hub goes on."""
    text = f"""
        import signal, socket, sys, threading, time
        import hubbub, hubbub.event, hubbub.io
        from hubbub import subprocess
        def spin():
            while True:
                pass
        def kill():
            time.sleep(0.02)
            sent.append(time.monotonic())
            signal.pthread_kill(main, signal.SIGINT)
        main, sent = threading.get_ident(), []
        hubbub.get_hub().exception_stream = None
        peers = socket.socketpair()
        for name, call in {CALLS!r}.items():
            # The hub starts it, which runs once the main greenlet waits.
            hubbub.get_hub().loop.run_callback(threading.Thread(target=kill, daemon=True).start)
            try:
                eval(call)
            except KeyboardInterrupt:
                print(name, time.monotonic() - sent.pop())
    """
    environment = {**os.environ, "HUBBUB_LOOP": loop_name}
    command = [sys.executable, "-W", "ignore", "-c", dedent(text)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30)
    delays = dict(line.split() for line in done.stdout.splitlines())
    assert delays.keys() == CALLS.keys(), done.stderr
    # A child process is given a quarter of a second to end by the same Ctrl-C, as the standard library does.
    late = {name for name, delay in delays.items() if float(delay) > (0.6 if name == "process" else 0.25)}
    assert not late, delays
