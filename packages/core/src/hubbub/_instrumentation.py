"""Keeps the interpreter from crashing when a tool (debugger, profiler ...) is switched on while greenlets wait.

From CPython 3.15 on, an exception that leaves a frame is reported by what the tools of :mod:`sys.monitoring` have noted
in the frame's code object. Code that was never instrumented has no such note, and the interpreter reads through a null
pointer. When a tool is switched on (also by :func:`sys.settrace` and :func:`sys.setprofile`), CPython instruments the
code that runs in any native thread; the frames of greenlets that wait are in none, so it misses them. The next
exception there, a kill for instance, is a segmentation fault, with the greenlet library alone as well.

A code object gets its note when it is next called after the set of events has changed, whatever that set is. So one
change before anything runs in greenlets is enough, and costs one allocation per code object.
"""

from __future__ import annotations

import sys
from typing import Any

__all__ = ["prepare"]

_TOOLS = range(5, -1, -1)  # the last ones are the least likely to be in use


def prepare() -> bool:
    """See to it that every code object that is called from now on gets its note.

    :returns: False where that is not needed, or where all tool numbers are in use: then a tool has changed the events.
    """
    return sys.version_info >= (3, 15) and hasattr(sys, "monitoring") and any(map(_touch_events, _TOOLS))


def _touch_events(tool: int) -> bool:
    """Change the set of events and put it back. False if the tool number is in use."""
    monitoring: Any = vars(sys)["monitoring"]
    try:
        monitoring.use_tool_id(tool, "hubbub")
    except ValueError:
        return False
    monitoring.set_events(tool, monitoring.events.PY_START)  # no callback is registered, so nothing is called
    monitoring.set_events(tool, 0)
    monitoring.free_tool_id(tool)
    return True


prepare()
