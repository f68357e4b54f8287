"""Debuggers, profilers and coverage of threads that are greenlets, in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Python = Callable[..., Any]
FIRST = "import hubbub_monkey\nhubbub_monkey.patch_all()\nimport hubbub, sys, threading, time\n"

TRACED = """
seen = []
def function(tag):
    def called(frame, event, arg):
        if event in ("call", "return") and frame.f_code.co_name in names:
            seen.append(f"{tag} {frame.f_code.co_name} {event}")
        return called
    return called
names = {"body", "inner", "in_main", "plain"}
def inner(): pass
def in_main(): pass
def plain(): pass
def body():
    inner(); time.sleep(0.001); inner()
"""


@pytest.mark.parametrize("kind", ["trace", "profile"])
def test_each_thread_has_its_own(python: Python, kind: str) -> None:
    """threading.settrace and setprofile reach the threads they are for; the main thread and greenlets keep theirs."""
    source = f"""
{TRACED}
threading.set{kind}(function("thread"))
sys.set{kind}(main := function("main"))
threads = [threading.Thread(target=body) for _ in range(2)]
for thread in threads: thread.start()
in_main()
hubbub.spawn(plain).join()
for thread in threads: thread.join()
in_main()
print(sys.get{kind}() is main, threading.get{kind}().__qualname__)
sys.set{kind}(None); threading.set{kind}(None)
threading.Thread(target=body).start()
print(sys.get{kind}(), len(seen))
for tag in ("main", "thread"):
    mine = [text.split()[1:] for text in seen if text.startswith(tag)]
    print(tag, sorted({{name for name, _ in mine}}), [event for _, event in mine].count("call"), len(mine))
import greenlet
print(greenlet.gettrace())
"""
    lines = python(FIRST + source).stdout.splitlines()
    assert lines == [
        "True function.<locals>.called",
        "None 18",
        "main ['in_main', 'plain'] 3 6",
        "thread ['body', 'inner'] 6 12",
        "None",
    ]


def test_a_threads_trace_ends_with_it(python: Python) -> None:
    """The main thread, which traces nothing, traces nothing while traced threads run and after them."""
    source = f"""
{TRACED}
threading.settrace(function("thread")); threading.setprofile(function("thread"))
checks = []
threads = [threading.Thread(target=body) for _ in range(3)]
for thread in threads:
    thread.start()
    checks.append((sys.gettrace(), sys.getprofile()))
hubbub.spawn(lambda: checks.append((sys.gettrace(), sys.getprofile()))).join()
for thread in threads: thread.join()
checks.append((sys.gettrace(), sys.getprofile()))
in_main()
print(set(checks), [text for text in seen if "main" in text])
"""
    assert python(FIRST + source).stdout == "{(None, None)} []\n"


def test_switches_watched_by_others(python: Python) -> None:
    """Somebody else's function for greenlet switches goes on being called, and stays when traced threads have ended."""
    source = f"""
{TRACED}
import greenlet
count = []
def watch(event, args): count.append(event)
greenlet.settrace(watch)
threading.settrace(function("thread"))
thread = threading.Thread(target=body); thread.start(); thread.join()
print(len(count) > 3, greenlet.gettrace() is watch, len(seen))
"""
    assert python(FIRST + source).stdout == "True True 6\n"


def test_current_thread_from_the_first_frame(python: Python) -> None:
    """A tool that asks in every frame of a thread, from its first on, hears of that thread until it has ended; after
    that nothing keeps it."""
    source = """
import gc, weakref
seen = []
def ask(frame, event, arg):
    if threading.get_ident() != main and not ended: seen.append(threading.current_thread())
main, ended = threading.get_ident(), []
def body():
    time.sleep(0)
    ended.append(True)
thread = threading.Thread(target=body)
sys.setprofile(ask)
thread.start()
while thread.is_alive(): time.sleep(0)
sys.setprofile(None)
print(len(seen) > 3, {one is thread for one in seen})
gone = weakref.ref(thread)
del thread
seen.clear()
gc.collect()
print(gone(), len(threading._active._starting))
"""
    assert python(FIRST + source).stdout.splitlines() == ["True {True}", "None 0"]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="sys.monitoring is new in 3.12")
def test_monitoring(python: Python) -> None:
    """sys.monitoring sees every call in threads and greenlets, each in the greenlet that makes it."""
    source = f"""
{TRACED}
monitoring, tool = sys.monitoring, 3
monitoring.use_tool_id(tool, "test")
starts = []
def started(code, offset):
    if code.co_name in names: starts.append((code.co_name, threading.get_ident()))
monitoring.register_callback(tool, monitoring.events.PY_START, started)
monitoring.set_events(tool, monitoring.events.PY_START)
threads = [threading.Thread(target=body) for _ in range(5)]
for thread in threads: thread.start()
hubbub.spawn(plain).join()
in_main()
idents = {{thread.ident for thread in threads}}
for thread in threads: thread.join()
monitoring.set_events(tool, 0)
print(len(starts), {{ident for name, ident in starts if name in ("body", "inner")}} == idents)
print([ident == threading.get_ident() for name, ident in starts if name == "in_main"])
"""
    assert python(FIRST + source).stdout.splitlines() == ["17 True", "[True]"]


COVERED = """
def in_thread(number):
    time.sleep(0.001)
    if number == 0:
        return 1
    return 2
def in_greenlet():
    time.sleep(0.001)
    return 3
def never():
    return 4
threads = [threading.Thread(target=START, args=(number,)) for number in range(3)]
for thread in threads: thread.start()
for thread in threads: thread.join()
time.sleep(0.001)
print("end")
"""


# Where coverage has a trace function in C, that must be told of greenlets; sys.monitoring needs not.
TOLD = ["thread", "greenlet"] if sys.version_info >= (3, 14) else ["greenlet"]


@pytest.mark.parametrize("concurrency", TOLD)
def test_coverage(python: Python, tmp_path: Path, concurrency: str) -> None:
    """coverage, told of greenlets where it must be, finds what ran in threads and greenlets."""
    pytest.importorskip("coverage")
    script = tmp_path / "covered.py"
    body = COVERED.replace("START", "in_thread")
    if concurrency == "greenlet":
        body += "hubbub.joinall([hubbub.spawn(in_greenlet) for _ in range(3)])\nprint('end')\n"
    else:
        body = body.replace("return 3", "return 4")
    script.write_text(FIRST + body)
    lines = script.read_text().splitlines()
    python("", "-m", "coverage", "run", "--concurrency", concurrency, str(script))
    python("", "-m", "coverage", "json", "-o", "found.json")
    found = json.loads((tmp_path / "found.json").read_text())["files"]["covered.py"]
    missing = {lines[number - 1].strip() for number in found["missing_lines"]}
    assert missing - {"time.sleep(0.001)"} == {"return 4"}


def test_pdb(python: Python, tmp_path: Path) -> None:
    """breakpoint() in a thread or greenlet stops there; stepping over a wait goes on there when others have run."""
    source = """
ticks = []
def tick():
    while True: ticks.append(1); time.sleep(0.001)
threading.Thread(target=tick, daemon=True).start()
def work(number):
    breakpoint()
    number += 1; ticks.clear()
    time.sleep(0.05)
    number += len(ticks) > 0
    print("got", number)
thread = threading.Thread(target=work, args=(5,)); thread.start(); thread.join()
hubbub.spawn(work, 7).join()
print("main", sys.gettrace())
"""
    script = tmp_path / "debugged.py"
    script.write_text(FIRST + source)
    line = script.read_text().splitlines().index("    time.sleep(0.05)") + 1
    commands = f"until {line}\nnext\nprint('at', number, threading.current_thread().name[:6])\ncontinue\n"
    done = subprocess.run(
        [sys.executable, str(script)],
        input=commands * 2,
        capture_output=True,
        text=True,
        timeout=50,
        cwd=tmp_path,
        env={**os.environ, "TERM": "dumb"},
    )
    assert done.returncode == 0, done.stderr
    output = done.stdout.replace("(Pdb) ", "")
    told = [line for line in output.splitlines() if line.startswith(("at ", "got ", "main "))]
    assert told == ["at 6 Thread", "got 7", "at 8 Dummy-", "got 9", "main None"]


@pytest.mark.skipif(sys.version_info < (3, 14), reason="sys.remote_exec is new in 3.14")
def test_remote_exec(tmp_path: Path, loop_name: str) -> None:
    """What sys.remote_exec sends to a patched process runs there, also while its hub waits, and the process goes on."""
    sent = tmp_path / "sent.py"
    # Not by print: it may run in the middle of one.
    sent.write_text(
        "import os, greenlet, hubbub, threading\n"
        "name, report = threading.current_thread().name, hubbub.inspect.report()\n"
        "os.write(1, f'sent to {name} {len(report) > 0}\\n'.encode())\n"
        "hubbub.spawn(os.write, 1, b'from a greenlet\\n')\n"
    )
    source = """
import hubbub.inspect
threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
def tick():
    for _ in range(3000): time.sleep(0.01)
threading.Thread(target=tick, daemon=True).start()
print("ready", flush=True)
print(sys.stdin.readline().strip())
"""
    script = tmp_path / "script.py"
    script.write_text(FIRST + source.replace("sys.stdin.readline()", "hubbub.to_thread(sys.stdin.readline)"))
    environment = {**os.environ, "HUBBUB_LOOP": loop_name}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, str(script)], text=True, env=environment, **pipes) as process:  # type: ignore[call-overload]  # of **
        try:
            assert process.stdout.readline() == "ready\n"
            try:
                sys.remote_exec(process.pid, str(sent))  # type: ignore[attr-defined,unused-ignore]  # new in 3.14
            except PermissionError as error:
                pytest.skip(f"the system does not let processes look into each other: {error}")
            lines = [process.stdout.readline().strip() for _ in range(2)]
            output, errors = process.communicate("end\n", timeout=30)
        finally:
            process.kill()
    assert lines == ["sent to MainThread True", "from a greenlet"]
    assert (output, errors, process.returncode) == ("end\n", "", 0)
