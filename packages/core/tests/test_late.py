"""The first use of anything while the interpreter ends: it works, or is refused by an error that says why."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

PROGRAM = """
import atexit, builtins, sys
import hubbub, hubbub.subprocess, hubbub.threadpool
from hubbub.lowlevel import get_hub

USES = {
    "sleep": lambda: hubbub.sleep(0.001),
    "spawn": lambda: hubbub.spawn(abs, -1).get(),
    "thread": lambda: hubbub.to_thread(abs, -1),
    "executor": lambda: hubbub.threadpool.ThreadPoolExecutor(1).submit(abs, -1).result(),
    "resolver": lambda: get_hub().resolver.getaddrinfo("localhost", 80),
    "process": lambda: hubbub.subprocess.run(["true"], check=True),
    "event": lambda: hubbub.Event().wait(0.001),
}
how, use = sys.argv[1], USES[sys.argv[2]]

class Late:
    def __init__(self):
        self.use = use
    def __del__(self):
        self.use()

late = Late()
if how == "exit function":
    late.use = lambda: None
    atexit.register(use)
elif how == "module of the interpreter":
    sys.late = late
elif how == "builtins":
    builtins.late = late
    late.me = late
elif how == "cycle":
    late.me = late
    del late
"""
REASONS = (
    "the interpreter is ending: a hub",
    "greenlet is being finalized",
    "can't create new thread at interpreter shutdown",  # CPython's own words, from 3.13 on
)
WAYS = ("exit function", "global", "module of the interpreter", "builtins", "cycle")
USES = ("sleep", "spawn", "thread", "executor", "resolver", "process", "event")


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("how", WAYS)
def test_first_use_at_the_end(how, use):
    """An exit function may use everything. A destructor that comes later gets one plain error, or is let do it."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, how, use],
        env=os.environ | {"HUBBUB_LOOP": "stdlib"},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0
    # CPython 3.12 starts no native threads in exit functions.
    if how == "exit function" and not (sys.version_info[:2] == (3, 12) and REASONS[2] in done.stderr):
        assert done.stderr == ""
    assert "entry_points" not in done.stderr
    assert "importlib" not in done.stderr
    if done.stderr:
        assert re.search(f"Error: ({'|'.join(REASONS)})", done.stderr)
        assert done.stderr.count("Error: ") == 1


DAEMONS = """
import atexit, sys, threading, time
turns = []
def moves(seconds):
    before, until = len(turns), time.monotonic() + seconds
    while len(turns) == before and time.monotonic() < until:
        time.sleep(0.01)
    return before > 0 and len(turns) > before

class Last:
    def __del__(self):
        print(moves(0.02))

atexit.register(lambda: print(moves(20)))
import hubbub
atexit.register(lambda last: None, Last())  # dropped when all exit functions have been called

def turn(busy):
    while True:
        turns.append(None)
        hubbub.sleep(0 if busy else 0.0001)

def run(busy, begun):
    for _ in range(3):
        hubbub.spawn(turn, busy)
    hubbub.sleep(0.001)
    begun.release()
    hubbub.sleep(1000)

begun = threading.Semaphore(0)
for number in range(4):
    threading.Thread(target=run, args=(number % 2, begun), daemon=True).start()
for number in range(4):
    begun.acquire()
"""


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="CPython has them stand still, a moment later")
def test_daemon_threads_stand_still(loop_name):
    """Daemon threads run greenlets for all exit functions, and no more when the interpreter goes: CPython would unwind
    their C stacks through the frames of greenlets."""
    assert run_to_the_end(loop_name, DAEMONS) == ["True", "False"]


JOINED = """
import atexit, threading
atexit.register(lambda: (ended.set(), thread.join(20), print(thread.is_alive())))
import hubbub

def run():
    while not ended.is_set():
        hubbub.sleep(0.001)

ended = threading.Event()
thread = threading.Thread(target=run, daemon=True)
thread.start()
"""


def test_exit_functions_have_their_threads(loop_name):
    """An exit function that is older than hubbub may wait for a thread that runs greenlets."""
    assert run_to_the_end(loop_name, JOINED) == ["False"]


CLEARED = """
import atexit, threading
import hubbub

def run():
    hubbub.sleep(0.001)
    begun.set()
    while not ended.is_set():
        hubbub.sleep(0.001)

begun, ended = threading.Event(), threading.Event()
thread = threading.Thread(target=run, daemon=True)
thread.start()
begun.wait()
atexit._clear()
ended.set()
thread.join(20)
print(thread.is_alive())
"""


def test_cleared_exit_functions(loop_name):
    """A program that goes on without its exit functions, as a child of multiprocessing does, keeps its threads."""
    assert run_to_the_end(loop_name, CLEARED) == ["False"]


def run_to_the_end(loop_name, program):
    """The lines that a program prints."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"HUBBUB_LOOP": loop_name},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()
