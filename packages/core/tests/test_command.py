"""The command ``hubbub``: faults are planted in programs, and read off its output while they run."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hubbub._command import views
from hubbub._command.main import main
from hubbub._command.reach import Failed, reach
from hubbub._command.text import duration, shortened, table
from hubbub.control import default_path

PROGRAM = """
import sys, time
import hubbub

def takes(first, second):
    with first:
        hubbub.sleep(0.001)
        with second:
            pass

def leaks():
    hubbub.Event().wait()

def blocks():
    time.sleep(60)

def hot():
    while True:
        sum(range(2000))
        hubbub.sleep(0)

def cool():
    while True:
        hubbub.sleep(0.01)

def gathers():
    with hubbub.TaskGroup() as group:
        for _ in range(3):
            group.spawn(hubbub.sleep, 1000)

for fault in sys.argv[1:]:
    if fault == "deadlock":
        one, two = hubbub.RLock(), hubbub.RLock()
        hubbub.spawn(takes, one, two), hubbub.spawn(takes, two, one)
    elif fault == "leak":
        leaked = [hubbub.spawn(leaks) for _ in range(500)]
    elif fault == "group":
        hubbub.spawn(gathers)
    elif fault == "hot":
        hubbub.spawn(hot), hubbub.spawn(cool)
hubbub.sleep(0.1)
print("ready", flush=True)
if "block" in sys.argv:
    hubbub.spawn(blocks)
hubbub.sleep(60)
"""


@pytest.fixture
def planted(tmp_path):
    """Starts the program with faults; returns the path of its socket."""
    processes = []
    source = tmp_path / "planted.py"
    source.write_text(PROGRAM)

    def start(*faults, **environment):
        path = str(tmp_path / f"socket{len(processes)}")
        process = subprocess.Popen(
            [sys.executable, str(source), *faults],
            env={**os.environ, "HUBBUB_CONTROL": path, **environment},
            stdout=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        assert process.stdout.readline() == "ready\n"
        start.process = process
        return path

    yield start
    for process in processes:
        process.kill()
        process.stdout.close()
        process.wait()


@pytest.fixture
def hubbub_says(capsys):
    """Runs the command, which must succeed; returns what it has written."""

    def run(*arguments):
        assert main(arguments) == 0, capsys.readouterr().err
        return capsys.readouterr().out

    return run


def test_a_deadlock_is_found(planted, hubbub_says):
    """``ps`` marks both greenlets and names who holds what; ``tree`` ends with the cycle too."""
    path = planted("deadlock")
    said = hubbub_says("ps", path)
    rows = [line for line in said.splitlines() if re.search(r"takes +deadlock #1", line)]
    assert len(rows) == 2
    assert all("RLock." in row and "planted.py:8 takes" in row for row in rows)
    assert "DEADLOCK #1: 2 greenlets wait for one another" in said
    assert "DEADLOCK #1" in hubbub_says("tree", path)


def test_a_leak_is_found(planted, hubbub_says):
    """``ps --count`` has the place where 500 greenlets wait at its top, with how old the oldest is."""
    said = hubbub_says("ps", planted("leak"), "--count")
    first = said.splitlines()[3]
    assert re.match(r"500 +leaks +waiting +Event.wait +planted.py:12 leaks", first)


def test_a_blocking_call_is_found(planted, hubbub_says):
    """While a greenlet blocks the hub, ``ps`` and ``hubs`` say which one, since when and by which line."""
    path = planted("block", "leak")
    until = time.monotonic() + 60
    while "BLOCKED" not in (said := hubbub_says("ps", path)):
        assert time.monotonic() < until
    assert re.search(r"BLOCKED: .* has not polled for .*: Greenlet-\d+ runs .*planted.py:15 blocks", said)
    assert "planted.py:15 blocks" in hubbub_says("hubs", path)
    assert len(re.findall("leaks", hubbub_says("stacks", path, "leaks"))) >= 500


def test_the_tree_has_hubs_groups_and_spawners(planted, hubbub_says):
    """Members of a task group stand below the greenlet whose block it is, spawned ones below their spawner."""
    said = hubbub_says("tree", planted("group", HUBBUB_TRACK_SPAWNS="1")).splitlines()
    hub, owner, group = (
        next(n for n, line in enumerate(said) if word in line) for word in ("hub ", "gathers", "─ Task")
    )
    assert hub < owner < group
    assert [said[group + 1 + n].lstrip(" │")[:3] for n in range(3)] == ["├─ ", "├─ ", "└─ "]
    assert said[hub + 1].startswith("└─ main")


def test_a_hot_greenlet_is_found(planted, hubbub_says, tmp_path):
    """``flame`` has the hot greenlet first in its table, and in the picture it writes."""
    path = planted("hot")
    for seconds in ("1", "4", "16"):  # on a machine that is busy otherwise few looks fall on it in a second
        said = hubbub_says("flame", path, "--seconds", seconds, "-o", str(tmp_path / "out.svg"))
        ran, waited = said[said.index("RAN") :], said[said.index("WAITED") :]
        if re.match(r"RAN +SHARE +GREENLET +IN\n.*% +hot ", ran) and "cool" in waited:
            break
    else:
        pytest.fail(said)
    assert "<title>hot: " in (tmp_path / "out.svg").read_text()


def test_the_timeline_of_a_running_program(planted, hubbub_says, tmp_path):
    """``timeline`` records for a while, writes a trace, and leaves the program as it was."""
    path = planted("hot")
    for _ in range(2):
        assert "events in" in hubbub_says("timeline", path, "--seconds", "0.2", "-o", str(tmp_path / "out.json"))
        trace = json.loads((tmp_path / "out.json").read_text())["traceEvents"]
        assert len([entry for entry in trace if entry["ph"] == "X" and entry["cat"] == "run"]) > 3
    assert json.loads(hubbub_says("timeline", path, "--seconds", "0"))["displayTimeUnit"] == "ms"


def test_exec_runs_code_where_that_is_allowed(hubbub_says, tmp_path, capsys):
    """``exec`` prints the result of code that ran in the process; a process that only lets itself be read refuses."""
    code = "import sys, hubbub, hubbub.control as c; c.serve(sys.argv[1], allow_exec=True); c.serve(sys.argv[2]); "
    code += "hubbub.sleep(0); print('ready', flush=True); hubbub.sleep(60)"
    open_one, closed_one = str(tmp_path / "open"), str(tmp_path / "closed")
    arguments = [sys.executable, "-c", code, open_one, closed_one]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "ready\n"
            assert hubbub_says("exec", open_one, "import os; result = os.getpid()") == f"{process.pid}\n"
            assert main(["exec", open_one, "1 / 0"]) == 1
            assert "ZeroDivisionError" in capsys.readouterr().err
            assert main(["exec", closed_one, "result = 1"]) == 1
            assert "allow_exec" in capsys.readouterr().err
        finally:
            process.kill()


@pytest.mark.parametrize("verb", ["ps", "tree", "stacks", "hubs"])
def test_json(verb, planted, hubbub_says):
    """Each of them gives everything that is known as JSON."""
    told = json.loads(hubbub_says(verb, planted("deadlock"), "--json"))
    assert told["pid"] == planted.process.pid
    assert len(told["cycles"][0]) == 2
    assert {"name", "state", "seconds", "held_by", "stack"} <= set(told["greenlets"][0])


def test_the_number_of_a_process_leads_to_its_socket(planted, hubbub_says):
    """A process that was started with HUBBUB_CONTROL is found by its number."""
    if not Path("/proc/self/environ").exists():
        pytest.skip("needs /proc")
    planted("leak")
    assert "500" in hubbub_says("ps", str(planted.process.pid), "--count")


@pytest.mark.skipif(not hasattr(socket, "SO_PEERCRED"), reason="needs SO_PEERCRED")
def test_who_listens_in_place_of_a_process_is_not_asked(tmp_path, monkeypatch):
    """A socket at the place of a process's that another process has opened is passed over."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delattr(sys, "remote_exec", raising=False)
    asked = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(default_path(asked.pid))
            listener.listen()
            with pytest.raises(Failed, match="has no control socket"):
                reach(str(asked.pid))
    finally:
        asked.kill()
        asked.communicate()


@pytest.mark.parametrize(
    ("target", "says"), [("999999999", "there is no process"), ("/nowhere/at/all", "No such file or directory")]
)
def test_what_cannot_be_reached(target, says, capsys):
    """The command says why, and ends with status 1."""
    assert main(["ps", target]) == 1
    assert says in capsys.readouterr().err


@pytest.mark.skipif(hasattr(sys, "remote_exec"), reason="this Python can enter a process without its help")
def test_advice_where_a_process_cannot_be_entered(capsys):
    """A process without a socket: the command says what to do."""
    assert main(["ps", str(os.getppid())]) == 1
    assert "HUBBUB_CONTROL" in capsys.readouterr().err


@pytest.mark.skipif(not hasattr(sys, "remote_exec"), reason="sys.remote_exec came with 3.14")
def test_a_process_that_prepared_nothing(planted, hubbub_says):
    """From CPython 3.14 on a process without a socket is entered, waiting or computing, and goes on as before."""
    for faults in (("leak",), ("leak", "block"), ("leak", "hot")):
        planted(*faults, HUBBUB_CONTROL="")
        assert "500" in hubbub_says("ps", str(planted.process.pid), "--count")
        assert planted.process.poll() is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "-"), (0.0123, "12 ms"), (1.26, "1.3 s"), (150, "2 min"), (7200, "2 h")],
)
def test_durations(seconds, text):
    """Times are short, and have a unit."""
    assert duration(seconds) == text


def test_tables():
    """Columns are as wide as their widest word; long words keep their end."""
    assert table(("A", "B"), [("1", "22"), ("333", "4")]) == "A    B\n1    22\n333  4\n"
    assert shortened("abcdef", 4) == "…def"


def test_spawners_in_a_circle_are_shown_once():
    """Idents are reused, so parents may form a circle: every greenlet is in the tree all the same."""
    blank = {"operation": None, "held_by": (), "seconds": None, "file": None, "group": None, "hub": "h", "state": "new"}
    infos = [{**blank, "ident": 1, "name": "a", "parent": 2}, {**blank, "ident": 2, "name": "b", "parent": 1}]
    told = {"pid": 1, "python": "3", "hubs": [], "tasks": [], "cycles": [], "greenlets": infos}
    assert [line.strip("└─ ") for line in views.tree(told).splitlines()[3:5]] == ["a: new", "b: new"]
