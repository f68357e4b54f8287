"""For native accelerators: which of core's methods have a twin in C, and how the twins are set in their place.

The methods are marked where they are written (``@twin``), and the tables here are made from the marks. The classes and
slots that the twins work on are private to core; they change together with :data:`LAYOUT`. An accelerator made for
another layout is refused, and core goes on in Python.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

# Every module that has marks is imported here; a test finds those that are missing.
from hubbub import (
    _current,
    _eventlog,
    _latch,
    _simplequeue,
    _standin,
    _twins,
    _waiter,
    _waitqueue,
    _workers,
    event,
    greenlet,
    hub,
    io,
    local,
    lock,
    running_loop,
    thread,
    threadpool,
    timeout,
)
from hubbub.abc import READ, WRITE
from hubbub.loop import base, readiness, ring, timers

__all__ = ["CONSTANTS", "LAYOUT", "MARKED", "MIRRORED", "OBJECTS", "PARTS", "TWINS", "replace_methods"]

LAYOUT = 20
"""The version of the slots, and of what the methods promise one another."""

MARKED = (
    _current,
    _eventlog,
    _latch,
    _simplequeue,
    _standin,
    _waiter,
    _waitqueue,
    _workers,
    event,
    greenlet,
    hub,
    io,
    local,
    lock,
    running_loop,
    thread,
    threadpool,
    timeout,
    base,
    readiness,
    ring,
    timers,
)
"""The modules that have marks."""


def _full_name(thing: Any) -> str:
    return f"{thing.__module__}.{thing.__qualname__}"


def _owner(function: Any) -> Any:
    """The class of a method, the module of a function."""
    module = sys.modules[function.__module__]
    cls, _, _ = function.__qualname__.rpartition(".")
    return getattr(module, cls) if cls else module


def _by_place(marks: Mapping[Callable[..., Any], str]) -> dict[tuple[Any, str], str]:
    return {(_owner(function), function.__name__): source for function, source in marks.items()}


TWINS: Mapping[tuple[type, str], str] = _by_place(_twins.replaced)
"""The methods that an accelerator replaces: (class, name), and the C file of hubbub-speed that has the twin."""

MIRRORED: Mapping[tuple[Any, str], str] = _by_place(_twins.copied)
"""The methods, and functions, whose work C code does itself instead of calling them: (class or module, name), and the C
file that does it."""

CONSTANTS: Mapping[str, float] = {
    "slice": base.SLICE,
    "slices": base.SLICES,
    "slow": base.SLOW,
    "crowd": base.CROWD,
    "longest": base.LONGEST,
    "overtime": base.OVERTIME,
    "few_ready": readiness.FEW_READY,
    "in_bulk": io._IN_BULK,
    "look_again": base.LOOK_AGAIN,
    "read": READ,
    "write": WRITE,
    "gil_kept": base.GIL_KEPT,
    "new": greenlet._NEW,
    "scheduled": greenlet._SCHEDULED,
    "done": greenlet._DONE,
    "sweep_above": timers.SWEEP_ABOVE,
}
"""Numbers that the methods of both kinds use."""

OBJECTS: Mapping[str, Any] = {"no_kwargs": greenlet._NO_KWARGS, "thread_state": _current._state}
"""Objects without a name of their own that the methods of both kinds use."""

_USED = [*(cls for cls, _ in TWINS), *_twins.known, ring.RingBackend.poll]

PARTS: Mapping[str, Any] = {_full_name(thing): thing for thing in _USED} | {
    "constants": CONSTANTS,
    "objects": OBJECTS,
}
"""What an accelerator has to know: classes and functions by full name, and the two tables."""


def replace_methods(methods: Mapping[tuple[type, str], Any]) -> Callable[[], None]:
    """Set each method on its class. May be done at any time: a method and its twin work on the same objects.

    Other names of a method in its class (``close = cancel``) are set too.

    :returns: a function that sets the methods back that were there before.
    :raises AttributeError: a class has no method of that name; then nothing is changed.
    """
    for cls, name in methods:
        if name not in cls.__dict__:
            raise AttributeError(f"{cls.__name__} has no method {name!r} to replace")
    fresh = {(cls, alias): method for (cls, name), method in methods.items() for alias in _names_of(cls, name)}
    before = {(cls, name): cls.__dict__[name] for cls, name in fresh}
    _set(fresh)
    return lambda: _set(before)


def _names_of(cls: type, name: str) -> list[str]:
    method = cls.__dict__[name]
    return [alias for alias, value in cls.__dict__.items() if value is method]


def _set(methods: Mapping[tuple[type, str], Any]) -> None:
    for (cls, name), method in methods.items():
        setattr(cls, name, method)
