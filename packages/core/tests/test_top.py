"""``hubbub top``: what it shows, and its keys."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time

import pytest
from hubbub._command.top import Screen
from hubbub.profile import Profile

PROGRAM = """
import hubbub
from hubbub import control
def hot():
    while True:
        sum(range(2000))
        hubbub.sleep(0)
def idle():
    hubbub.sleep(1000)
hubbub.spawn(hot), hubbub.spawn(idle)
hubbub.sleep(0.01)
print("ready", flush=True)
hubbub.sleep(60)
"""


def told(at, switches):
    names = ("ready", "timers", "descriptors", "waiting", "threads")
    counts = {"switches": switches, "polls": 10, "longest_turn": 0.5, **dict.fromkeys(names, 3)}
    hub = {"thread": 1, "name": "h", "state": "busy", "busy_seconds": 0.01, "running": "main", "statistics": counts}
    return {"at": at, "cpu": at / 2, "memory": 5 << 20, "descriptors": 7, "hubs": [hub]}


@pytest.fixture
def screen():
    made = Screen()
    snapshot = {"pid": 42, "greenlets": [{}], "tasks": [], "cycles": []}
    profile = Profile(seconds=1.0, running={("hot", "f (a.py:1)"): 0.8}, waiting={("idle", "sleep"): 1.0})
    made.update(told(1.0, 100), profile, snapshot)
    made.update(told(2.0, 350), profile, snapshot)
    return made


def test_rates(screen):
    """Switches, CPU and lag are those since the last look; hot greenlets come first."""
    text = screen.drawn(terminal=False)
    assert "process 42   CPU 50%   memory 5 MiB   descriptors 7" in text
    assert "250" in text.splitlines()[3]
    assert text.index("hot ") < text.index("idle ")
    assert "80.0%" in text


def test_keys(screen):
    """Keys sort, show the stack of the first, stop the updates, show what keys there are, and end."""
    screen.key("w")
    assert screen.drawn(terminal=False).index("idle ") < screen.drawn(terminal=False).index("hot ")
    screen.key("c")
    screen.key("s")
    assert "stack of the first:\n    hot\n    f (a.py:1)" in screen.drawn(terminal=False)
    screen.key("p")
    screen.update(told(3.0, 10_000), Profile(), {})
    assert "(paused)" in screen.drawn(terminal=False)
    assert "hot" in screen.drawn(terminal=False)
    screen.key("?")
    assert screen.drawn(terminal=False).startswith("q quit")
    assert len(screen.drawn(3, False).splitlines()) == 3
    assert not screen.done
    screen.key("q")
    assert screen.done


@pytest.fixture
def program(tmp_path):
    path = str(tmp_path / "socket")
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], env={**os.environ, "HUBBUB_CONTROL": path}, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    yield path
    process.kill()
    process.stdout.close()
    process.wait()


def test_without_a_terminal_it_looks_once(program):
    """Into a pipe it writes one table, in which the hot greenlet comes first."""
    done = subprocess.run(
        [sys.executable, "-m", "hubbub", "top", program, "--seconds", "0.5"],
        capture_output=True,
        text=True,
        timeout=50,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr
    table = done.stdout[done.stdout.index("GREENLETS THAT RUN") :].splitlines()
    assert table[1].startswith("hot ")


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a pseudo-terminal")
def test_keys_on_a_terminal(program):
    """On a terminal a key acts at once, ``q`` ends it, and the terminal is as it was."""
    import termios

    ours, theirs = os.openpty()
    before = termios.tcgetattr(theirs)
    process = subprocess.Popen(
        [sys.executable, "-m", "hubbub", "top", program, "--seconds", "30"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    seen = ""

    def until(word):
        nonlocal seen
        end = time.monotonic() + 20
        while word not in seen:
            assert time.monotonic() < end, seen
            if select.select([ours], [], [], 0.1)[0]:
                seen += os.read(ours, 4096).decode()

    try:
        until("\x1b[?1049h")
        os.write(ours, b"h")
        until("waiting for the process")
        os.write(ours, b"q")
        until("\x1b[?1049l")
        assert process.wait(20) == 0
        assert termios.tcgetattr(theirs) == before
    finally:
        process.kill()
        process.wait()
        os.close(ours)
        os.close(theirs)
