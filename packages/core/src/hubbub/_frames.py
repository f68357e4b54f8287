"""Reads the stacks of greenlets: which calls are hubbub's own, which line is the user's, what a wait is for.

Reads no source files: they may be gone, and reading them is slow.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from types import CodeType, FrameType
from typing import Any

from hubbub._originals import monotonic
from hubbub._waiter import Waiter
from hubbub.greenlet import Greenlet
from hubbub.loop.base import BaseLoop, ScheduledCall
from hubbub.loop.readiness import Direction
from hubbub.loop.watchers import BaseWatcher, Timer

__all__ = ["count_as_own", "frame_of", "is_own_file", "place_of", "split", "stack_of", "subject_of", "waited"]

HERE = os.path.dirname(__file__)
_OURS = [HERE]
"""The folders whose functions count as hubbub's; packages on top of core add theirs."""
_known: dict[str, bool] = {}
"""Whether a file is in one of them. A program has as many entries here as files."""
_BOTTOMS: set[CodeType] = {
    function.__code__
    for function in (Greenlet.run, ScheduledCall.__call__, BaseWatcher._run, Timer._fired, BaseLoop.run)
}
"""The code of hubbub's functions that call a function that they were given."""


def frame_of(thread: int) -> FrameType | None:
    """What a native thread runs, as :func:`sys._current_frames` tells it.

    :param thread: as :func:`threading.get_ident`.

    The dict of all frames has that of the function that asks. Whoever keeps it in a variable makes a cycle, by which
    the frames of all threads, and their variables, live until the garbage collector comes.
    """
    return sys._current_frames().get(thread)


def stack_of(frame: FrameType | None, limit: int | None = None) -> tuple[str, ...]:
    """The calls that led to ``frame``, outermost first, as ``file:line function``, at most the last ``limit``."""
    entries: list[str] = []
    while frame is not None and (limit is None or len(entries) < limit):
        entries.append(f"{frame.f_code.co_filename}:{frame.f_lineno} {frame.f_code.co_name}")
        frame = frame.f_back
    return tuple(reversed(entries))


def place_of(frame: FrameType) -> tuple[str, str, int]:
    """The function, file and line of a frame. The line is 0 where the frame has not begun one."""
    return frame.f_code.co_qualname, frame.f_code.co_filename, frame.f_lineno or 0


def count_as_own(folder: str) -> None:
    """Have functions of the files in a folder count as hubbub's: what they wait for is what their callers wait for.

    A function waits for the value of its variable ``waits_for``, if it has one; else for ``self``, or its arguments.
    """
    if folder not in _OURS:
        _OURS.append(folder)
        _known.clear()


def is_own_file(name: str) -> bool:
    """Whether the functions of a file count as hubbub's."""
    found = _known.get(name)
    if found is None:
        found = _known[name] = os.path.dirname(name).startswith(tuple(_OURS))
    return found


def _is_own(frame: FrameType) -> bool:
    return is_own_file(frame.f_code.co_filename)


def split(frame: FrameType | None) -> tuple[FrameType | None, FrameType | None]:
    """From the innermost frame outwards: the outermost of hubbub's own, and the first that is not."""
    outer = None
    while frame is not None and _is_own(frame):
        if frame.f_code in _BOTTOMS:
            return outer, None  # its function is one of hubbub's
        outer, frame = frame, frame.f_back
    return outer, frame


def subject_of(outer: FrameType) -> Any:
    """What a function of hubbub's waits for; None: its arguments tell."""
    variables = outer.f_locals
    if "waits_for" in outer.f_code.co_varnames and "waits_for" in variables:
        return variables["waits_for"]
    return variables.get("self")


def arguments_of(outer: FrameType) -> dict[str, Any]:
    """The arguments of a call, as far as they still are."""
    variables = outer.f_locals
    names = outer.f_code.co_varnames[: outer.f_code.co_argcount]
    return {name: variables[name] for name in names if name in variables}


def waited(frame: FrameType | None) -> float | None:
    """How long a greenlet has waited in functions of hubbub's, in seconds, if one of them knows."""
    while frame is not None and _is_own(frame):
        began = _beginning(frame.f_locals)
        if began is not None:
            return max(monotonic() - began, 0.0)
        frame = frame.f_back
    return None


def _beginning(variables: Mapping[str, Any]) -> float | None:
    # A wait done in C has no frame of its own: what it waits with is a variable of the frame that called it.
    began = variables.get("began")
    if isinstance(began, float):
        return began
    waits = (value for value in list(variables.values()) if issubclass(type(value), (Waiter, Direction)))
    return next((value.since for value in waits), None)
