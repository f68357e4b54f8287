"""Errors of signal handlers go to main; who waits for a signal waits; a report that fails changes nothing."""

from __future__ import annotations

import io
import os
import signal as standard
import subprocess
import time

import hubbub
import pytest
from hubbub import queue, signal
from hubbub.event import AsyncResult, Event
from hubbub.exceptions import LoopExit

NUMBER = standard.SIGUSR1


class Alarm(Exception):
    """What a handler raises."""


@pytest.fixture(autouse=True)
def _handlers():
    before = standard.getsignal(NUMBER)
    yield
    standard.signal(NUMBER, before)


@pytest.fixture
def printed(hub):
    """What the hub prints."""
    hub.exception_stream = io.StringIO()
    return hub.exception_stream


def raiser(error):
    def handler(number, frame):
        raise error

    return handler


def strike():
    os.kill(os.getpid(), NUMBER)


def strike_soon(seconds=0.1):
    """By another process: nothing here is left to do but to wait."""
    return subprocess.Popen(["sh", "-c", f"sleep {seconds}; kill -{int(NUMBER)} {os.getpid()}"])


ERRORS = [SystemExit(3), KeyboardInterrupt(), Alarm("now")]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_busy_greenlet(hub, printed, error):
    """A handler's error that strikes while a greenlet is busy is raised in the main greenlet; the busy one goes on."""
    signal.prompt(NUMBER, raiser(error))

    def busy():
        strike()
        return 7

    greenlet = hubbub.spawn(busy)
    with pytest.raises(type(error)) as caught:
        hubbub.sleep(10)
    assert caught.value is error
    assert greenlet.get(timeout=10) == 7
    assert printed.getvalue() == ""


def test_a_greenlet_that_never_gives_way(hub, printed):
    """sys.exit in a handler reaches the main greenlet also while another greenlet computes for ever."""
    signal.prompt(NUMBER, raiser(SystemExit(3)))
    stop = []

    def spin():
        strike()
        limit = time.monotonic() + 20
        while not stop and time.monotonic() < limit:
            pass
        return bool(stop)

    greenlet = hubbub.spawn(spin)
    with pytest.raises(SystemExit):
        hubbub.sleep(10)
    stop.append(True)
    assert greenlet.get(timeout=10)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("how", [signal.prompt, standard.signal], ids=["prompt", "standard"])
def test_waiting_hub(hub, printed, how, error):
    """A handler's error that strikes while all wait is raised in the main greenlet, and printed nowhere else."""
    how(NUMBER, raiser(error))
    with strike_soon(), pytest.raises(type(error)):
        hubbub.sleep(10)
    hubbub.sleep(0.001)
    assert hubbub.spawn(int).get(timeout=10) == 0
    assert printed.getvalue() == ""


def test_main_greenlet(hub):
    """A handler's error that strikes the main greenlet is raised where it is."""
    signal.prompt(NUMBER, raiser(Alarm("here")))
    with pytest.raises(Alarm, match="here"):
        strike()


def test_hub_in_a_callback(hub, printed):
    """A handler's error that strikes in a callback of the loop is raised in the main greenlet; the callback goes on."""
    signal.prompt(NUMBER, raiser(Alarm("now")))
    done = []
    hub.loop.run_callback(lambda: (strike(), done.append(1)))
    with pytest.raises(Alarm):
        hubbub.sleep(10)
    assert done
    assert printed.getvalue() == ""


def test_prompt_and_getsignal(hub):
    """prompt and getsignal answer with handlers as they were given; what is no function is set as it is."""
    handler = raiser(Alarm())
    before = signal.getsignal(NUMBER)
    assert signal.prompt(NUMBER, handler) == before
    assert signal.getsignal(NUMBER) is handler
    assert signal.getsignal_prompt(NUMBER) is handler
    assert signal.prompt(NUMBER, standard.SIG_IGN) is handler
    assert signal.getsignal_prompt(NUMBER) == standard.SIG_IGN
    with pytest.raises(TypeError):
        signal.prompt(NUMBER, "a word")


def test_adopted_handlers(hub, printed):
    """Handlers that were there before patching are taken over, and given back as they were."""
    handler = raiser(Alarm("now"))
    standard.signal(NUMBER, handler)
    give_back = signal.adopt_handlers()
    try:
        assert signal.getsignal_prompt(NUMBER) is handler
        assert signal.getsignal_prompt(standard.SIGINT) is standard.default_int_handler
        greenlet = hubbub.spawn(strike)
        with pytest.raises(Alarm):
            hubbub.sleep(10)
        greenlet.get(timeout=10)
    finally:
        give_back()
    assert standard.getsignal(NUMBER) is handler
    assert standard.getsignal(standard.SIGINT) is standard.default_int_handler


def wait_for_event(hub):
    event = Event()
    return event.set, lambda: event.wait(), True


def wait_for_result(hub):
    result = AsyncResult()
    return lambda: result.set(1), result.get, 1


def wait_for_queue(hub):
    items = queue.Queue()
    return lambda: items.put(1), items.get, 1


def wait_for_simple_queue(hub):
    items = queue.SimpleQueue()
    return lambda: items.put(1), items.get, 1


def wait_for_lock(hub):
    permits = hubbub.Semaphore(0)
    return permits.release, permits.acquire, True


def wait_for_greenlet(hub):
    event = Event()
    greenlet = hubbub.spawn(event.wait)
    return event.set, greenlet.get, True


WAITS = [wait_for_event, wait_for_result, wait_for_queue, wait_for_simple_queue, wait_for_lock, wait_for_greenlet]


@pytest.mark.parametrize("how", [standard.signal, signal.signal, signal.prompt], ids=["standard", "greenlet", "prompt"])
@pytest.mark.parametrize("make", WAITS, ids=lambda make: make.__name__)
def test_waiting_for_a_signal_is_waiting(hub, make, how):
    """A main greenlet waits when a handler in Python could wake it, and there is a deadlock again without one."""
    wake, wait, answer = make(hub)
    how(NUMBER, lambda *_: wake())
    with strike_soon():
        assert wait() == answer
    standard.signal(NUMBER, standard.SIG_DFL)
    with pytest.raises(LoopExit):
        Event().wait()


def test_who_wakes_nobody(hub):
    """Python's handler of Ctrl-C, one that is marked so, and a SignalHandler do not keep a deadlock from being told."""
    watcher = signal.SignalHandler(standard.SIGUSR2, int)
    standard.signal(NUMBER, signal.Bystander(lambda *_: None))
    try:
        with pytest.raises(LoopExit):
            Event().wait()
        signal.prompt(standard.SIGINT, standard.default_int_handler)
        with pytest.raises(LoopExit):
            Event().wait()
        assert hub.join(5)
    finally:
        standard.signal(standard.SIGINT, standard.default_int_handler)
        watcher.cancel()


def test_join_does_not_wait_for_signals(hub):
    """hub.join returns when nothing is left, whatever handlers are set."""
    standard.signal(NUMBER, lambda *_: None)
    assert hub.join(20)


class Broken:
    """A stream that fails."""

    def __init__(self, error):
        self.error = error

    def write(self, text):
        raise self.error


BREAKS = [OSError(), ValueError(), RuntimeError("broken"), UnicodeError(), MemoryError(), AttributeError()]


def fail():
    raise Alarm("mine")


def check_all_goes_on(hub):
    greenlet = hubbub.spawn(fail)
    timer = hub.loop.timer(0.0)
    timer.start(fail)
    hub.loop.run_callback(fail)
    hub.loop.ready.append(fail)
    other = hubbub.spawn(lambda: 3)
    greenlet.join(10)
    assert greenlet.dead
    assert isinstance(greenlet.exception, Alarm)
    with pytest.raises(Alarm, match="mine"):
        greenlet.get(timeout=10)
    assert other.get(timeout=10) == 3
    hubbub.sleep(0.001)
    assert not hub.dead


@pytest.mark.parametrize("error", BREAKS, ids=lambda error: type(error).__name__)
def test_stream_that_fails(hub, error):
    """A stream that fails in whatever way changes no result and ends nothing."""
    hub.exception_stream = Broken(error)
    check_all_goes_on(hub)


@pytest.mark.parametrize("kind", [RuntimeError, BaseException, GeneratorExit])
def test_handle_error_that_fails(hub, kind, capsys):
    """A handle_error that raises changes no result and ends nothing."""

    def handle_error(*_):
        raise kind("worse")

    hub.handle_error = handle_error
    check_all_goes_on(hub)


def test_handle_error_that_passes_on(hub):
    """A handle_error that raises the very error it is told of ends nothing either."""

    def handle_error(context, kind, error, tb):
        raise error

    hub.handle_error = handle_error
    check_all_goes_on(hub)


def test_exit_is_not_lost_to_a_broken_stream(hub):
    """What belongs to the main greenlet gets there although its report fails."""
    hub.exception_stream = Broken(RuntimeError())
    hubbub.spawn(lambda: exec("raise SystemError('mine')"))
    with pytest.raises(SystemError, match="mine"):
        hubbub.sleep(10)
