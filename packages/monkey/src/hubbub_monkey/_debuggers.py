"""debugpy, and pydevd in it: patches what it knows of threads, so that it tells greenlets apart.

It keeps the running thread in a ``threading.local``, and asks for native numbers. If it was imported before patching,
it takes all greenlets of a native thread for one: it stops one, and waits for orders to another for ever.

While it has stopped a greenlet all others stand still, as its users expect of threads. CPython requires that too: it
reports no events to a tool, in any greenlet of the native thread, before the tool's function has returned.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from hubbub.local import local
from hubbub.thread import get_ident

from hubbub_monkey._drivers import DriverPatch
from hubbub_monkey._existing import NativeQueue
from hubbub_monkey._native_event import NativeEvent

__all__ = ["debugpy"]


def _replace(module: Any, values: dict[str, Any]) -> Callable[[], None]:
    """Set those of the names that the module has. Returns what undoes it."""
    before = {name: vars(module)[name] for name in values if name in vars(module)}
    for name in before:
        setattr(module, name, values[name])

    def back() -> None:
        for name, value in before.items():
            setattr(module, name, value)

    return back


def _tell_greenlets_apart(monitoring: Any) -> Callable[[], None]:
    """Patch pydevd's use of :mod:`sys.monitoring` (from CPython 3.12 on), written in Python or Cython."""
    active: Any = vars(threading)["_active"]
    return _replace(monitoring, {"_thread_local_info": local(), "_get_ident": get_ident, "_thread_active": active})


def _stand_still(pydevd: Any) -> Callable[[], None]:
    """Patch ``pydevd``, in which a stopped thread waits for orders by a queue and an event of its own."""
    kind = pydevd.PyDB
    made = kind.__init__

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        made(self, *args, **kwargs)
        _order_natively(self)

    debugger = getattr(pydevd, "get_global_debugger", lambda: None)()
    if debugger is not None:
        _order_natively(debugger)
    return _replace(kind, {"__init__": __init__})


def _order_natively(debugger: Any) -> None:
    """Give one debugger native queues and events, one of each per number of a thread."""
    queues: Any = getattr(debugger, "_cmd_queue", None)
    events: Any = getattr(debugger, "_thread_events", None)
    if not isinstance(queues, defaultdict) or not isinstance(events, defaultdict):
        return  # an unknown version, which is made differently
    events.default_factory, queues.default_factory = NativeEvent, NativeQueue
    events.clear()  # no thread is stopped while this runs, so none waits for the existing ones
    for thread, orders in list(queues.items()):
        queues[thread] = NativeQueue()
        while not orders.empty():
            queues[thread].put(orders.get_nowait())


debugpy: DriverPatch = DriverPatch(
    "debugpy",
    {
        "_pydevd_sys_monitoring._pydevd_sys_monitoring": _tell_greenlets_apart,
        "_pydevd_sys_monitoring._pydevd_sys_monitoring_cython": _tell_greenlets_apart,
        "pydevd": _stand_still,
    },
)
"""debugpy, imported before or after patching."""
