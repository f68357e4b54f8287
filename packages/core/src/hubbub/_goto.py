"""Moves a debugger to the stack of another greenlet."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

from greenlet import greenlet

from hubbub._describe import name_of_greenlet
from hubbub._weak import instances

__all__ = ["goto"]


_PROMPTS = ("pdb", "cmd", "bdb")
"""The modules whose functions have the debugger as ``self``."""


def goto(target: greenlet | str) -> str:
    """In :mod:`pdb`: go to the stack of another greenlet. ``where``, ``up``, ``p`` and their kin show it from then on.

    ``(Pdb) hubbub.inspect.goto("Greenlet-3")``. ``next``, ``step`` and ``return`` stop when that greenlet goes on.

    :param target: a greenlet, or the name of one.
    :returns: the line where it is.
    :raises LookupError: there is no greenlet of that name, or several.
    :raises RuntimeError: no debugger has the thread, or the greenlet is not suspended.
    """
    debugger = _debugger(sys._getframe(1))
    if debugger is None:
        raise RuntimeError("goto is for the prompt of pdb: call breakpoint() first")
    item = _named(target) if isinstance(target, str) else target
    frame = item.gr_frame
    if frame is None:
        raise RuntimeError(f"{name_of_greenlet(item)} is not suspended: it has not begun, has ended, or runs now")
    debugger.setup(frame, None)
    return f"{frame.f_code.co_filename}:{frame.f_lineno} {frame.f_code.co_qualname}"


def _debugger(frame: FrameType | None) -> Any:
    pdb = sys.modules.get("pdb")
    while frame is not None and pdb is not None:
        if frame.f_globals.get("__name__") in _PROMPTS:
            candidate = frame.f_locals.get("self")
            if isinstance(candidate, pdb.Pdb):
                return candidate
        frame = frame.f_back
    return None


def _named(name: str) -> greenlet:
    found = [item for item in instances(greenlet) if item.gr_frame is not None and name_of_greenlet(item) == name]
    if not found:
        raise LookupError(f"no suspended greenlet has the name {name!r}; hubbub.inspect.report() lists them")
    if len(found) > 1:
        raise LookupError(f"{len(found)} greenlets have the name {name!r}: give the greenlet itself")
    only: greenlet = found[0]
    return only
