"""asyncio's running event loop, one for each greenlet instead of one for the native thread.

CPython keeps the running loop in the state of the native thread, where its C code finds it, and the current task there
(from 3.14 on) or in a table by loop. A greenlet waits by calling its hub's ``switch``, by that name, in Python and in C
alike. While an event loop runs in a thread, the hub of that thread has a ``switch`` of its own in its dictionary. That
one puts aside what asyncio keeps, and puts it back when the greenlet goes on. Without a running loop there is none, and
a wait costs nothing more.

So a greenlet that comes from the hub finds no loop but its own. Greenlets that switch among themselves in the middle of
a coroutine, without the hub, share its loop: they are one task.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from greenlet import greenlet

from hubbub._twins import twin
from hubbub.hub import Hub, get_hub

__all__ = ["Separation", "separate_running_loops"]

_RUNNING = "_hubbub_running_loops"
"""The attribute of a hub that counts the event loops that run in its thread."""


def _current_tasks() -> tuple[dict[Any, Any] | None, Callable[[Any, Any], Any] | None]:
    """Where asyncio keeps the current task of each event loop: in a dict, or behind a function that exchanges it.

    The function takes a loop, and a task or None, and returns the one before or None.
    """
    tasks: Any = sys.modules["asyncio.tasks"]
    if sys.version_info >= (3, 13):  # in 3.12 the function raises KeyError if there was no task and is to be none
        return None, tasks._swap_current_task
    return tasks._current_tasks, None


class Separation:
    """Keeps the running event loops of the greenlets of a thread apart.

    :param hub: the hub of the thread.
    :param get: gives the running event loop of the thread, or None.
    :param put: sets it.
    """

    __slots__ = ("_exchange", "_get", "_put", "_tasks", "home", "plain")

    def __init__(self, hub: Hub, get: Callable[[], Any], put: Callable[[Any], None]) -> None:
        switch_to: Any = greenlet.switch
        self.home: Callable[..., Any] = switch_to.__get__(hub)
        """Switches to the hub itself."""
        self.plain: Callable[..., Any] = self.home
        """Switches to the greenlet that runs the hub's loop; the hub sets it."""
        self._get = get
        self._put = put
        self._tasks, self._exchange = _current_tasks()

    def aim(self, switch: Callable[..., Any]) -> None:
        """Have :meth:`switch` call ``switch``, of some greenlet; the caller keeps it until that returns."""
        self.plain = switch

    @twin("running.c")
    def switch(self, *args: Any) -> Any:
        """The ``switch`` of the hub, around which what asyncio keeps of this greenlet is put aside."""
        loop = self._get()
        if loop is None:
            return self.plain(*args)
        hooks = sys.get_asyncgen_hooks()
        depth = sys.get_coroutine_origin_tracking_depth()  # not 0 in the debug mode of an event loop
        tasks, exchange = self._tasks, self._exchange
        task = tasks.pop(loop, None) if tasks is not None else exchange(loop, None)  # type: ignore[misc]  # one of two
        self._put(None)
        sys.set_asyncgen_hooks(None, None)
        sys.set_coroutine_origin_tracking_depth(0)
        try:
            return self.plain(*args)
        finally:
            self._put(loop)
            if task is not None:
                if tasks is not None:
                    tasks[loop] = task
                else:
                    exchange(loop, task)  # type: ignore[misc]  # one of two
            sys.set_asyncgen_hooks(*hooks)
            sys.set_coroutine_origin_tracking_depth(depth)


def _count(change: int, get: Callable[[], Any], put: Callable[[Any], None]) -> None:
    """Note that an event loop begins (1) or ends (-1) to run in this thread."""
    hub = get_hub()
    own = vars(hub)
    running = own[_RUNNING] = max(own.get(_RUNNING, 0) + change, 0)
    if not running:
        hub.redirect(None)
    elif hub.detour is None:
        hub.redirect(Separation(hub, get, put))


def separate_running_loops(events: ModuleType) -> Callable[[], None]:
    """Give each greenlet a running loop of its own, in all threads, for loops that begin to run from now on.

    :param events: the module :mod:`asyncio.events`.
    :returns: a function that undoes it. A second call changes nothing, and returns a function that does nothing.
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

    _set_running_loop.native = put  # type: ignore[attr-defined]  # marks that it is done
    _replace(put, _set_running_loop)
    return lambda: _replace(_set_running_loop, put)


def _replace(old: Any, new: Any) -> None:
    """Set ``new`` wherever asyncio's modules have ``old``."""
    for name in ("asyncio.events", "asyncio"):
        module = sys.modules.get(name)
        if getattr(module, "_set_running_loop", None) is old:
            module._set_running_loop = new  # type: ignore[union-attr]  # None has no such attribute
