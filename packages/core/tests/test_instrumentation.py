"""Tools that begin to watch while greenlets wait: the interpreter must survive exceptions that end those waits."""

import subprocess
import sys

import pytest
from hubbub import _instrumentation

WATCHED = """
import faulthandler, sys
import hubbub
from greenlet import getcurrent, greenlet
faulthandler.enable()
kind, loop = sys.argv[1:]
hubbub.configure(loop=loop)

def inner():
    hubbub.sleep(30)
    raise AssertionError
def middle():
    try:
        inner()
    finally:
        hubbub.sleep(0)
def body():
    try:
        middle()
    except hubbub.GreenletExit:
        return "killed"
def plain():
    getcurrent().parent.switch()
    raise KeyError
def watch(*arguments):
    return watch

waiting = [hubbub.spawn(body) for _ in range(3)]
others = [greenlet(plain) for _ in range(3)]
hubbub.sleep(0)
for other in others: other.switch()
if kind == "monitoring":
    monitoring, tool = sys.monitoring, 4
    monitoring.use_tool_id(tool, "test")
    events = monitoring.events
    wanted = events.PY_UNWIND, events.RAISE, events.RERAISE, events.EXCEPTION_HANDLED, events.PY_START, events.LINE
    for event in wanted: monitoring.register_callback(tool, event, lambda *_: None)
    monitoring.set_events(tool, sum(wanted))
else:
    getattr(sys, f"set{kind}")(watch)
hubbub.killall(waiting)
for other in others:
    try: other.switch()
    except KeyError: pass
print({one.get() for one in waiting}, {other.dead for other in others})
"""


@pytest.mark.parametrize("kind", ["trace", "profile", "monitoring"])
def test_begun_while_greenlets_wait(kind, loop_name):
    """What is killed, or fails, after a trace function, profile function or tool was set meanwhile crashes nothing."""
    if kind == "monitoring" and sys.version_info < (3, 12):
        pytest.skip("sys.monitoring is new in 3.12")
    command = [sys.executable, "-c", WATCHED, kind, loop_name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50)
    assert (done.returncode, done.stdout) == (0, "{'killed'} {True}\n"), done.stderr


@pytest.mark.skipif(sys.version_info < (3, 15), reason="before, notes are not needed")
def test_no_tool_is_left():
    """The tool numbers that were free are free again, also where some were not; nothing is watched."""
    monitoring = sys.monitoring
    before = [monitoring.get_tool(tool) for tool in range(6)]
    free = [tool for tool in range(6) if before[tool] is None]
    try:
        for tool in reversed(free):
            assert _instrumentation.prepare()
            assert [monitoring.get_tool(other) for other in free if other <= tool] == [None] * (free.index(tool) + 1)
            assert monitoring.get_events(tool) == 0
            monitoring.use_tool_id(tool, "test")
        assert not _instrumentation.prepare()
    finally:
        for tool in free:
            monitoring.free_tool_id(tool)
    assert [monitoring.get_tool(tool) for tool in range(6)] == before
