"""pdb goes to the stacks of other greenlets."""

from __future__ import annotations

import io
import pdb
import sys

import pytest
from hubbub import Event, inspect, sleep, spawn


def at_the_prompt(*commands):
    """What pdb writes when it is given these commands at a breakpoint."""
    out = io.StringIO()
    debugger = pdb.Pdb(stdin=io.StringIO("\n".join([*commands, "continue", ""])), stdout=out, nosigint=True)
    debugger.use_rawinput = False
    before = sys.gettrace()
    try:
        debugger.set_trace(sys._getframe())
        stopped = True
    finally:
        sys.settrace(before)
    assert stopped
    return out.getvalue()


def outer(event):
    secret = "of the outer"  # noqa: F841  # read by the debugger
    inner(event)


def inner(event):
    treasure = "of the inner"  # noqa: F841  # read by the debugger
    event.wait()


def depth_of_own(greenlet):
    """How many frames of hubbub's are above the innermost one of this file."""
    depth, frame = 0, greenlet.gr_frame
    while frame.f_code.co_filename != __file__:
        depth, frame = depth + 1, frame.f_back
    return depth


def test_goto_shows_another_stack(hub):
    """After goto, where, p and up speak of the other greenlet; it goes on as if nothing had been."""
    event = Event()
    greenlet = spawn(outer, event)
    sleep(0)
    said = at_the_prompt(
        "import hubbub.inspect",
        f"hubbub.inspect.goto({greenlet.name!r})",
        "where",
        f"up {depth_of_own(greenlet)}",
        "p treasure",
        "up",
        "p secret",
    )
    assert "inner(event)" in said
    assert "'of the inner'" in said
    assert "'of the outer'" in said
    event.set()
    greenlet.join()
    assert greenlet.successful()


def test_goto_refuses_what_has_no_stack(hub):
    """Without pdb, for unknown names and for a greenlet that is not suspended, goto says what is wrong."""
    with pytest.raises(RuntimeError, match="breakpoint"):
        inspect.goto("main")
    fresh = spawn(sleep)
    said = at_the_prompt(
        "import hubbub.inspect", "hubbub.inspect.goto('nobody')", f"hubbub.inspect.goto({fresh.name!r})"
    )
    assert said.count("LookupError") == 2
    fresh.join()
