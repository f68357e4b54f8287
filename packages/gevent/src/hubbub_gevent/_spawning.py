"""What a greenlet knows of its spawner: a weak reference, the place in the code, and a dictionary that both share."""

from __future__ import annotations

import sys
import weakref
from types import CodeType, FrameType
from typing import Any

from greenlet import getcurrent

__all__ = ["track"]


class _Frame:
    """A place in a stack, without the frame's variables."""

    __slots__ = ("f_back", "f_code", "f_lineno")

    def __init__(self, code: CodeType, line: int) -> None:
        self.f_code = code
        self.f_lineno = line
        self.f_back: _Frame | None = None

    @property
    def f_globals(self) -> None:
        """Not kept."""
        return


_PLUMBING = ("gevent.", "hubbub.", "hubbub_gevent.")


def _stack(frame: FrameType | None, limit: int) -> _Frame | None:
    """The frames outside of hubbub, at most ``limit``."""
    first = last = None
    while frame is not None and limit > 0:
        if not frame.f_globals.get("__name__", "").startswith(_PLUMBING):
            new = _Frame(frame.f_code, frame.f_lineno)
            if last is None:
                first = new
            else:
                last.f_back = new
            last, limit = new, limit - 1
        frame = frame.f_back
    return first


def _tree_locals(spawner: Any) -> dict[str, Any]:
    """The dictionary that all greenlets below one in the tree of spawners share.

    A greenlet spawned by the main greenlet begins a new one.
    """
    tree = getattr(spawner, "spawn_tree_locals", None)
    if tree is None:
        tree = {}
        if spawner.parent is not None:
            spawner.spawn_tree_locals = tree
    return tree


def track(new: Any, limit: int = 10) -> None:
    """Store in ``new`` its spawner, which is the current greenlet, the place in the code, and the shared dictionary.

    :param limit: how many frames are kept.
    """
    spawner = getcurrent()
    new.spawning_greenlet = weakref.ref(spawner)
    new.spawning_stack = _stack(sys._getframe(1), limit)
    new.spawn_tree_locals = _tree_locals(spawner)
