"""asyncio's running event loop, one for each greenlet instead of one for the native thread.

CPython keeps the running loop in the state of the native thread, where its C code finds it, and the current task there
(from 3.14 on) or in a table by loop. A greenlet waits by calling its hub's ``switch``, by that name, in Python and in C
alike. While an event loop runs in a thread, the hub of that thread has a ``switch`` of its own in its dictionary. That
puts aside what asyncio keeps, and puts it back when the greenlet goes on. Without a running loop the hub has none, and
a wait costs what it did.

So a greenlet that comes from the hub finds no loop but its own. Greenlets that switch among themselves in the middle of
a coroutine, without the hub, share its loop: they are one task.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from hubbub.hub import Hub, get_hub

__all__ = ["separate_running_loops"]

_RUNNING = "_hubbub_running_loops"
"""The attribute of a hub that counts the event loops that run in its thread."""


def _task_swapper() -> Callable[[Any, Any], Any]:
    """A function of a loop and a task or None: makes that the current task of the loop and returns the one before."""
    tasks: Any = sys.modules["asyncio.tasks"]
    if sys.version_info >= (3, 13):  # that of 3.12 raises KeyError where there was no task and shall be none
        swap: Callable[[Any, Any], Any] = tasks._swap_current_task
        return swap
    table = tasks._current_tasks

    def swap_in_table(loop: Any, task: Any) -> Any:
        before = table.pop(loop, None)
        if task is not None:
            table[loop] = task
        return before

    return swap_in_table


def _separating(hub: Hub, get: Callable[[], Any], put: Callable[[Any], None]) -> Callable[..., Any]:
    """A ``switch`` for ``hub`` that keeps each greenlet's running loop apart.

    :param get: the running loop of the thread, or None.
    :param put: sets it.
    """
    plain: Any = hub.switch
    get_hooks, set_hooks = sys.get_asyncgen_hooks, sys.set_asyncgen_hooks
    get_depth, set_depth = sys.get_coroutine_origin_tracking_depth, sys.set_coroutine_origin_tracking_depth
    swap = _task_swapper()

    def switch(*args: Any) -> Any:
        loop = get()
        if loop is None:
            return plain(*args)
        hooks = get_hooks()
        depth = get_depth()  # not 0 in the debug mode of a loop
        task = swap(loop, None)
        put(None)
        set_hooks(None, None)
        if depth:
            set_depth(0)
        try:
            return plain(*args)
        finally:
            put(loop)
            if task is not None:
                swap(loop, task)
            set_hooks(*hooks)
            if depth:
                set_depth(depth)

    return switch


def _count(change: int, get: Callable[[], Any], put: Callable[[Any], None]) -> None:
    """Note that an event loop begins (1) or ends (-1) to run in this thread."""
    own = vars(get_hub())
    running = own[_RUNNING] = max(own.get(_RUNNING, 0) + change, 0)
    if not running:
        own.pop("switch", None)
    elif "switch" not in own:
        own["switch"] = _separating(get_hub(), get, put)


def separate_running_loops(events: ModuleType) -> Callable[[], None]:
    """Give each greenlet a running loop of its own, in all threads, for loops that begin to run from now on.

    :param events: the module :mod:`asyncio.events`.
    :returns: what undoes it. Whoever asks a second time gets what does nothing.
    """
    put: Any = events._set_running_loop
    if hasattr(put, "native"):
        return lambda: None
    get = events._get_running_loop

    def _set_running_loop(loop: Any) -> None:
        """Set the running event loop of the current greenlet; None: there is none."""
        before = get()
        put(loop)
        if (before is None) is not (loop is None):
            _count(1 if before is None else -1, get, put)

    _set_running_loop.native = put  # type: ignore[attr-defined]  # tells that it is done
    _replace(put, _set_running_loop)
    return lambda: _replace(_set_running_loop, put)


def _replace(old: Any, new: Any) -> None:
    """Set ``new`` wherever asyncio's modules have ``old``."""
    for name in ("asyncio.events", "asyncio"):
        module = sys.modules.get(name)
        if getattr(module, "_set_running_loop", None) is old:
            module._set_running_loop = new  # type: ignore[union-attr]  # None has no such attribute
