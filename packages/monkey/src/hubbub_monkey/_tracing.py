"""Trace and profile functions of threads that are greenlets.

The interpreter keeps one of each per native thread; ``threading.settrace`` and ``setprofile`` promise one per thread.
The functions that they set would trace all greenlets, and replace those that a debugger has set for the main one. So,
while such threads run, each switch between one of them and another greenlet exchanges the functions. All other
greenlets share those of their native thread. Where no function is set nothing is done.
"""

from __future__ import annotations

import sys
import threading
from _thread import get_ident as _native_ident
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from greenlet import getcurrent, gettrace, greenlet, settrace

__all__ = ["traced"]

Functions = tuple[Any, Any]
"""The trace and the profile function."""


def _current() -> Functions:
    return sys.gettrace(), sys.getprofile()


def _set(functions: Functions) -> None:
    trace, profile = functions
    sys.settrace(trace)
    sys.setprofile(profile)


class _Switches:
    """Watches the switches of one native thread while greenlets with functions of their own run in it."""

    def __init__(self) -> None:
        self._shared: Functions = _current()
        self._own: WeakKeyDictionary[greenlet, Functions] = WeakKeyDictionary()
        self._before = gettrace()
        settrace(self)

    def __call__(self, event: Any, switched: Any) -> None:
        """As greenlet's trace function: it runs in the greenlet that was switched to."""
        origin, target = switched
        if origin in self._own or target in self._own:
            self._exchange(origin, target)
        if self._before is not None:
            self._before(event, switched)

    def _exchange(self, origin: greenlet, target: greenlet) -> None:
        if origin in self._own:
            self._own[origin] = _current()
        else:
            self._shared = _current()
        _set(self._own.get(target, self._shared))

    def add(self, one: greenlet) -> None:
        """``one``, which is the current greenlet, has functions of its own: none so far."""
        self._shared = _current()
        self._own[one] = None, None
        _set((None, None))

    def remove(self, one: greenlet) -> bool:
        """``one``, which is the current greenlet, ends. True if it was the last one, and the watching ends too."""
        self._own.pop(one, None)
        _set(self._shared)
        if self._own:
            return False
        installed: Any = gettrace()
        if installed is self:
            settrace(self._before)
        return True


_switches: dict[int, _Switches] = {}


def traced(function: Callable[..., Any], *args: Any) -> None:
    """Call ``function``, the body of a thread in the current greenlet, with trace functions of its own."""
    hooks: Any = threading  # its private names are not in the type stubs
    if hooks._trace_hook is None and hooks._profile_hook is None:
        function(*args)
        return
    native, mine = _native_ident(), getcurrent()
    switches = _switches.get(native)
    if switches is None:
        switches = _switches[native] = _Switches()
    switches.add(mine)
    try:
        function(*args)
    finally:
        if switches.remove(mine):
            _switches.pop(native, None)
