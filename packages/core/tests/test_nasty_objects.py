"""Reports go on whatever they meet: objects that fail to show themselves, half made ones, others' threads."""

from __future__ import annotations

import contextlib
import gc
import io
import json
import os
import subprocess
import sys
import threading
import weakref

import hubbub
import pytest
from greenlet import greenlet
from hubbub import Event, Greenlet, LoopExit, Queue, get_hub, inspect, sleep, spawn
from hubbub._weak import instances
from hubbub.monitor import BlockingDetector
from hubbub.timeline import Recorder

ERRORS = [
    ValueError,
    RecursionError,
    MemoryError,
    hubbub.GreenletExit,
    GeneratorExit,
    KeyboardInterrupt,
    hubbub.Timeout,
]
# Classes: an instance would keep the frames through which it came.


@pytest.fixture
def hub(any_hub):
    """Reports are the same on all loops."""
    return any_hub


def all_reports():
    """Every kind of report; none may raise."""
    infos = inspect.greenlets()
    text = inspect.report()
    inspect.report(io.StringIO())
    inspect.tree()
    inspect.blocked()
    json.loads(inspect.report_as_json())
    assert text.strip()
    return infos, text


def shown_badly(error):
    """An object none of whose texts can be had, not even its class."""

    class Bad:
        def __repr__(self):
            raise error

        __str__ = __repr__

        @property
        def __class__(self):
            raise error

        def __eq__(self, other):
            raise error

        __hash__ = None

    return Bad()


@pytest.mark.parametrize("half", [5, "text"])
def test_half_made_greenlet(hub, half):
    """A greenlet whose constructor failed, and that is kept alive by the error, spoils no report and no LoopExit."""
    kept = []
    try:
        spawn(half)
    except TypeError as error:
        kept.append(error)
    waiting = spawn(Event().wait)
    all_reports()
    with pytest.raises(LoopExit) as caught:
        Event().wait()
    assert "failed" not in str(caught.value)
    assert "Event.wait" in str(caught.value)
    waiting.kill()
    assert kept


def test_subclass_whose_constructor_fails(hub):
    """So does one whose constructor failed before it called its base's: it is listed as half made."""
    kept = []

    class Half(Greenlet):
        def __init__(self):
            kept.append(self)
            raise ValueError

    with pytest.raises(ValueError):  # it has no text
        Half()
    infos, text = all_reports()
    mine = f"{id(kept[0]):#x}"  # one of the test before may not have been collected yet
    assert [info.state for info in infos if mine in info.name] == ["half made"]
    assert "half made" in text
    assert "half made" in kept[0].name
    with Recorder() as recorder:
        spawn(int).join()
    assert recorder.events()  # which are told with the names of all greenlets
    assert kept[0].dead
    assert not kept[0].started
    repr(kept[0])


@pytest.mark.parametrize("error", ERRORS)
def test_what_is_waited_for_cannot_be_shown(hub, error):
    """A wait for an object whose repr raises, whatever it raises, is shown with the name of its class."""

    class Bad(Event):
        def __repr__(self):
            raise error

    waiting = spawn(Bad().wait)
    other = spawn(Queue().put, shown_badly(error))
    sleep(0)
    infos, text = all_reports()
    assert "Bad whose repr failed" in text
    assert waiting.name in {info.name for info in infos}
    waiting.kill()
    other.kill()


@pytest.mark.parametrize("error", ERRORS)
def test_greenlets_that_cannot_be_shown(hub, error):
    """Greenlets with bad names, functions or attributes are listed with the rest."""

    class Bad(Greenlet):
        @property
        def name(self):
            raise error

        def __repr__(self):
            raise error

    bad = Bad.spawn(sleep, 60)
    named = spawn(sleep, 60)
    named.name = shown_badly(error)
    numbered = spawn(sleep, 60)
    numbered.name = 5
    good = spawn(sleep, 60)
    keeps = [shown_badly(error), bad]
    sleep(0)
    if not issubclass(error, Exception):
        hubbub.killall([bad])  # what is raised there ends the report, unless it is one of its own texts
    infos, text = all_reports()
    assert good.name in {info.name for info in infos}
    assert "5" in {info.name for info in infos}
    assert "str failed" in text
    hubbub.killall([bad, named, numbered, good])
    del keeps


def test_names_that_go_round_in_a_circle(hub):
    """Greenlets with the same names that spawned one another in a circle are shown once each."""
    greenlets = [spawn(sleep, 60) for _ in range(4)]
    rings = [("ring-a", "ring-b"), ("ring-b", "ring-a"), ("ring-a", None), ("ring-c", "ring-c")]
    for one, (name, spawner) in zip(greenlets, rings, strict=True):
        one.name = name
        one.__dict__["_hubbub_spawn"] = (("somewhere",), spawner)
    sleep(0)
    with hubbub.Timeout(5):
        text = inspect.tree()
    assert len([line for line in text.splitlines() if line.strip().startswith("ring-") and "sleep for" in line]) == 4
    hubbub.killall(greenlets)


def test_frames_that_are_gone(hub):
    """Greenlets that have just ended, never began, or are raw, make no report fail."""
    kept = [Greenlet(sleep), greenlet(sleep), greenlet(sleep, hub), spawn(abs, -1), spawn(sleep, 60)]
    kept[1].switch  # noqa: B018  # looked at, never switched to
    kept[3].join()
    kept[4].kill()
    suspended = greenlet(lambda: greenlet.getcurrent().parent.switch())
    suspended.switch()
    infos, _ = all_reports()
    assert kept[0].name in {info.name for info in infos}
    suspended.switch()


@pytest.mark.parametrize("state", ["destroyed", "without a loop", "without a name"])
def test_hubs_that_are_torn_down(hub, state):
    """A hub that is being destroyed, or lacks what a hub has, spoils no report."""
    waiting = spawn(sleep, 60)
    sleep(0)
    if state == "destroyed":
        hub.destroy()
        all_reports()
        return
    name = "loop" if state == "without a loop" else "name"
    value = hub.__dict__.pop(name)
    try:
        if name == "name":
            all_reports()
        else:
            repr(hub)
    except AttributeError:
        pass
    finally:
        setattr(hub, name, value)
    waiting.kill()


def test_while_other_threads_change_everything(hub):
    """Reports made while other threads spawn, wait, end and destroy hubs do not fail."""
    stop = threading.Event()

    def churn():
        while not stop.is_set():
            hubbub.joinall([spawn(sleep, 0.0001) for _ in range(5)])
            event = Event()
            waiting = [spawn(event.wait) for _ in range(3)]
            sleep(0)
            event.set()
            hubbub.joinall(waiting)
            hubbub.get_hub().destroy()

    threads = [threading.Thread(target=churn) for _ in range(2)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)
    try:
        for thread in threads:
            thread.start()
        for _ in range(3):
            all_reports()
    finally:
        stop.set()
        sys.setswitchinterval(interval)
        for thread in threads:
            thread.join()


def test_a_report_keeps_no_thread_from_ending_its_hub(hub):
    """Threads with hubs that end while a report is made leave no hub behind."""
    made, done = [], []

    def work():
        made.append(weakref.ref(get_hub()))
        hubbub.joinall([spawn(sleep, 0.001) for _ in range(3)])

    def threads():
        for _ in range(40):
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
        done.append(1)

    starters = [threading.Thread(target=threads) for _ in range(4)]
    for starter in starters:
        starter.start()
    while len(done) < 4:
        inspect.report()
    for starter in starters:
        starter.join()
    for _ in range(3):
        gc.collect()
        sleep(0)
    assert len(made) == 160
    assert [one() for one in made if one() is not None] == []


def test_instances_are_found_without_a_trace(hub):
    """Looking for objects of a class finds those of subclasses, asks none of them, and keeps none."""

    class Kind(Greenlet):
        pass

    one, raw = Kind(sleep), greenlet(sleep)
    bad = shown_badly(ValueError)
    counts = [sys.getrefcount(item) for item in (one, raw, bad, bad.__dict__)]
    gc.disable()
    try:
        for _ in range(3):
            found = {id(item) for item in instances(greenlet)}
            assert {id(one), id(raw), id(hub)} <= found
            assert id(bad) not in found
        assert [sys.getrefcount(item) for item in (one, raw, bad, bad.__dict__)] == counts
    finally:
        gc.enable()


@pytest.mark.parametrize("error", ERRORS[:3])
def test_text_of_loop_exit(hub, error):
    """LoopExit always has a text, whatever its parts are like."""

    def blocked():
        raise error

    hub.blocked = blocked
    text = str(LoopExit("words", hub, shown_badly(error)))
    assert text.startswith("words\n")
    assert error.__name__ in text
    del hub.blocked


def test_reports_on_a_signal_to_a_broken_stream(hub, monkeypatch):
    """A report on a signal that cannot be written does not disturb whom the signal interrupted."""
    import signal

    stream, words = io.StringIO(), io.StringIO()
    stream.close()
    monkeypatch.setattr(sys, "__stderr__", words)
    before = signal.getsignal(signal.SIGUSR1)
    try:
        inspect.report_on_signal(signal.SIGUSR1, stream)
        os.kill(os.getpid(), signal.SIGUSR1)
        sleep(0.001)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert "closed file" in words.getvalue()


def test_blocking_detector_whose_report_fails(hub, monkeypatch):
    """A watchdog whose report raises goes on watching."""
    import time

    words, calls = io.StringIO(), []
    monkeypatch.setattr(sys, "__stderr__", words)

    def report(found):
        calls.append(found)
        raise ValueError("no report")

    def keep_the_thread(until):
        limit = time.monotonic() + 5
        while len(calls) < until and time.monotonic() < limit:
            pass

    with BlockingDetector(0.02, report):
        for _ in range(2):
            sleep(0.001)
            spawn(keep_the_thread, len(calls) + 1)
            sleep(0.01)
    assert len(calls) >= 2
    assert "no report" in words.getvalue()


AT_EXIT = """
import atexit, sys, hubbub
from hubbub import inspect

class Late:
    def __del__(self):
        inspect.report()
        inspect.blocked()

hubbub.spawn(hubbub.sleep, 60)
hubbub.sleep(0)
late = Late()
late.me = late
sys.late = Late()
atexit.register(inspect.report)
"""


def test_reports_at_interpreter_exit(loop_name):
    """Reports that destructors and exit functions ask for while the interpreter ends say nothing bad."""
    done = subprocess.run(
        [sys.executable, "-c", AT_EXIT],
        env=os.environ | {"HUBBUB_LOOP": loop_name},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_reports_after_a_fork(hub):
    """In a child process, with greenlets of the parent about, reports are made."""
    waiting = spawn(sleep, 60)
    thread = threading.Thread(target=lambda: (spawn(sleep, 60), sleep(0.2)))
    thread.start()
    sleep(0.05)
    pid = os.fork()
    if not pid:
        code = 1
        with contextlib.suppress(BaseException):
            all_reports()
            code = 0
        os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0
    thread.join()
    waiting.kill()
