"""The interface for authors of packages that build on core: waiting and waking. Users of hubbub do not need it.

The pattern for something new that greenlets wait for: keep a :class:`WaitQueue`. A greenlet that waits calls its
``wait`` with a new :class:`Waiter`; ``enter`` looks once more and joins, ``pass_on`` gives the next waiter what was
handed over and will not be used. The waker calls ``wake_one`` or ``wake_all``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from greenlet import getcurrent

from hubbub._accelerators import Twins, bound_to
from hubbub._at_fork import at_fork
from hubbub._builtin import Place, as_builtin
from hubbub._config import accelerate, accelerators_wanted, loop_class
from hubbub._current import get_hub, get_hub_if_exists, hubs, set_hub
from hubbub._hublocal import HubLocal
from hubbub._interrupt import OUTSIDE, interrupt, interrupts_to, keeps_out
from hubbub._links import Linkable, count_waiting
from hubbub._originals import RLock as NativeRLock
from hubbub._originals import allocate_lock as allocate_native_lock
from hubbub._originals import local as native_local
from hubbub._originals import monotonic
from hubbub._originals import start_new_thread as start_native_thread
from hubbub._version import version_attribute
from hubbub._waiter import Waiter
from hubbub._waitqueue import WaitQueue
from hubbub._weak import instances
from hubbub.hub import Hub, set_hub_class, spawn_raw
from hubbub.io import closing, wait_readable, wait_writable
from hubbub.loop.base import BaseLoop, ScheduledCall, make_loop
from hubbub.loop.readiness import Direction, Observer, Readiness, join_all, leave_all

__all__ = [
    "OUTSIDE",
    "BaseLoop",
    "Direction",
    "Hub",
    "HubLocal",
    "Linkable",
    "NativeRLock",
    "Observer",
    "Place",
    "Readiness",
    "ScheduledCall",
    "Twins",
    "WaitQueue",
    "Waiter",
    "accelerate",
    "accelerators_wanted",
    "allocate_native_lock",
    "as_builtin",
    "at_fork",
    "bound_to",
    "closing",
    "count_waiting",
    "get_hub",
    "get_hub_if_exists",
    "getcurrent",
    "hubs",
    "instances",
    "interrupt",
    "interrupts_to",
    "join_all",
    "keeps_out",
    "leave_all",
    "loop_class",
    "make_loop",
    "monotonic",
    "native_local",
    "run_callback",
    "run_callback_threadsafe",
    "set_hub",
    "set_hub_class",
    "spawn_raw",
    "start_native_thread",
    "version_attribute",
    "wait_readable",
    "wait_writable",
]


def run_callback(callback: Callable[..., Any], *args: Any) -> ScheduledCall:
    """Call ``callback(*args)`` on this thread's hub soon."""
    return get_hub().loop.run_callback(callback, *args)


def run_callback_threadsafe(hub: Hub, callback: Callable[..., Any], *args: Any) -> ScheduledCall:
    """Call ``callback(*args)`` on ``hub``, from any thread."""
    return hub.loop.run_callback_threadsafe(callback, *args)
