"""Native threads beside a busy hub get the interpreter as beside any thread that computes: every few milliseconds."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from textwrap import dedent
from typing import Any

import hubbub
import pytest
from hubbub import _originals
from hubbub.loop import base


@contextmanager
def counting_thread() -> Iterator[list[int]]:
    """A native thread that asks for the GIL again and again, and counts how often it has got it."""
    turns = [0]
    over = _originals.allocate_lock()
    over.acquire()

    def work() -> None:
        while not over.acquire(True, 0.0001):  # waits without the GIL, then needs it
            turns[0] += 1

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield turns
    finally:
        over.release()
        thread.join()


def test_a_busy_hub_starves_no_thread(hub):
    """Ten greenlets that always have something to do leave another native thread a turn every ten milliseconds or so.

    Time is that of this thread's own work. On a busy machine the other thread may have no processor when it has its
    turn, so that it is enough if it gets them in one span of many.
    """
    ended = False

    def work() -> None:
        while not ended:
            hubbub.sleep(0)

    def turns_in(seconds: float, wanted: int) -> int:
        end, before = time.thread_time() + seconds, turns[0]
        while turns[0] - before < wanted and time.thread_time() < end:
            hubbub.sleep(0)
        return turns[0] - before

    greenlets = [hubbub.spawn(work) for _ in range(10)]
    with counting_thread() as turns:
        found = [0]
        while max(found) < 20 and len(found) < 20:
            found.append(turns_in(0.6, 20))
    ended = True
    hubbub.joinall(greenlets)
    assert max(found) >= 20, f"turns in 0.6 s: {found[1:]}"


class Polls:
    """A loop in Python whose polls take as long as is said, on a clock that nothing else moves."""

    def __init__(self, hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.loop = hub.loop
        self.clock = self.loop.time + 1.0
        self.takes = 0.0
        self.pauses = 0
        self.threads = 1
        monkeypatch.setattr(base, "monotonic", lambda: self.clock)
        monkeypatch.setattr(base, "_native_sleep", self.pause)
        monkeypatch.setattr(base, "threads_at_work", lambda: self.threads)
        self.loop.time = self.loop.gil_left = self.clock

    def pause(self, seconds: float) -> None:
        self.pauses += 1
        self.clock += seconds

    def turns(self, count: int, work: float) -> int:
        """Make turns that work for so many seconds and then poll. Returns how many pauses there were."""
        before = self.pauses
        for _ in range(count):
            self.clock += work
            began = self.clock if self.loop.time - self.loop.gil_left > base.GIL_KEPT else 0.0
            self.clock += self.takes
            self.loop._polled(0.0)
            if began:
                self.loop._share_gil(began)
        return self.pauses - before


@pytest.fixture
def polls(hub, monkeypatch):
    made = Polls(hub, monkeypatch)
    yield made
    monkeypatch.undo()
    hub.loop.update_now()


def test_a_pause_every_five_milliseconds(polls):
    """A loop whose polls never wait pauses once in five milliseconds, and no more often."""
    assert 17 <= polls.turns(1000, 0.0001) <= 20


def test_no_pause_without_other_threads(polls):
    """Where no other native thread lives there is no pause."""
    polls.threads = 0
    assert polls.turns(1000, 0.0001) == 0


def test_no_pause_where_polls_wait(polls):
    """A loop whose polls wait leaves the interpreter to others meanwhile: there is no pause."""
    polls.takes = 0.0001
    assert polls.turns(1000, 0.0001) == 0


def test_a_turn_shares_the_interpreter(hub, monkeypatch):
    """While there is always something to run, a turn either polls with the GIL or pauses every five milliseconds."""
    pauses = 0

    def pause(seconds: float) -> None:
        nonlocal pauses
        pauses += 1

    monkeypatch.setattr(base, "_native_sleep", pause)
    monkeypatch.setattr(base, "threads_at_work", lambda: 1)
    end = time.monotonic() + 0.05
    while time.monotonic() < end:
        hubbub.sleep(0)
    keeps_gil = hasattr(hub.loop.backend, "native") and not hasattr(base.BaseLoop.turn, "__code__")
    assert (pauses == 0) if keeps_gil else pauses > 0


def test_a_thread_that_has_just_been_started_may_wake(hub):
    """No deadlock is told while a native thread has been started, but has not run so far that CPython counts it."""
    for _ in range(100):
        event = hubbub.Event()
        _originals.start_new_thread(event.set, ())
        event.wait()


@pytest.mark.skipif(sys.platform == "win32", reason="the threads are those of POSIX")
def test_threads_that_run_no_python_hide_no_deadlock(loop_name):
    """A deadlock is told soon though a library has threads of its own, which CPython does not know."""
    code = """
        import ctypes, hubbub, time
        libc = ctypes.CDLL(None)
        thread = ctypes.c_ulong()
        sleep = ctypes.cast(libc.sleep, ctypes.c_void_p)
        assert not libc.pthread_create(ctypes.byref(thread), None, sleep, ctypes.c_void_p(60))
        for _ in range(10):  # it is taken for one that has just been started once
            try:
                hubbub.Event().wait()
            except hubbub.LoopExit:
                print("told", flush=True)
        """
    environment = {**os.environ, "HUBBUB_LOOP": loop_name}
    command = [sys.executable, "-c", dedent(code)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30)
    assert (done.stdout, done.stderr, done.returncode) == ("told\n" * 10, "", 0)
