"""The internals of :mod:`threading` in CPython 3.11: a thread is joined by a lock that is released at its end."""

from __future__ import annotations

import _thread
import threading
from collections.abc import Callable
from typing import Any

from hubbub.local import local
from hubbub.thread import LockType, allocate_lock, get_ident

from hubbub_monkey._adapter import Adapter
from hubbub_monkey._dummies import Active, track_dummy
from hubbub_monkey._ends import EndLock, NativeEnd
from hubbub_monkey.threads import RLock, set_sentinel, start

__all__ = ["ADAPTER", "LEANS_ON", "adopt_threads", "replacements"]

_threading: Any = threading  # its private names are not in the type stubs
_main_thread = threading.main_thread

LEANS_ON = {
    "Condition.__init__": ("RLock",),
    "Condition.wait": ("_allocate_lock",),
    "Thread.start": ("_active_limbo_lock", "_limbo", "_start_new_thread"),
    "Thread._bootstrap_inner": ("_active", "_active_limbo_lock", "_limbo", "_set_tstate_lock"),
    "Thread._set_tstate_lock": ("_set_sentinel", "_shutdown_locks", "_shutdown_locks_lock", "_tstate_lock"),
    "Thread._set_ident": ("get_ident",),
    "Thread._delete": ("_active", "get_ident"),
    "Thread._wait_for_tstate_lock": ("_tstate_lock", "acquire", "release"),
    "_DummyThread.__init__": ("_active", "_set_ident"),
    "_after_fork": ("_active", "_MainThread", "_main_thread", "get_ident"),
    "_shutdown": ("_main_thread", "_shutdown_locks", "_tstate_lock", "get_ident"),
    "current_thread": ("_DummyThread", "_active", "get_ident"),
}
"""For each function of the module: the names that it must use; else the replacements have no effect on it."""


class _DummyThread(_threading._DummyThread):  # type: ignore[misc]  # see above
    """The thread object of a greenlet that :mod:`threading` did not start."""

    def __init__(self) -> None:
        super().__init__()
        track_dummy(self)


def replacements() -> dict[str, dict[str, Any]]:
    """The names to set, by module."""
    return {
        "_thread": {
            "LockType": LockType,
            "RLock": RLock,
            "_local": local,
            "_set_sentinel": set_sentinel,
            "allocate_lock": allocate_lock,
            "get_ident": get_ident,
            "start_new_thread": start,
        },
        "threading": {
            "Lock": allocate_lock,
            "_CRLock": RLock,
            "_DummyThread": _DummyThread,
            "_active": Active(),
            "_active_limbo_lock": RLock(),
            "_allocate_lock": allocate_lock,
            "_set_sentinel": set_sentinel,
            "_shutdown_locks_lock": LockType(),
            "_start_new_thread": start,
            "get_ident": get_ident,
            "local": local,
        },
        "_threading_local": {"local": local},
    }


def adopt_threads() -> Callable[[], None]:
    """Make threads that run already, the main thread among them, joinable cooperatively. Returns what undoes it."""
    before: list[tuple[Any, Any]] = []
    for thread in threading.enumerate():
        native = getattr(thread, "_tstate_lock", None)
        if isinstance(native, _NativeLock):
            before.append((thread, native))
            _swap(thread, _main_end(native) if thread is _main_thread() else NativeEnd(native))

    def undo() -> None:
        for thread, native in before:
            if thread._tstate_lock is not None:
                _swap(thread, native)

    return undo


_NativeLock: Any = type(_thread.allocate_lock())


def _main_end(native: Any) -> EndLock:
    """The end of the main thread. Native threads that wait for it already are woken too."""
    end = EndLock(also=lambda: native.release() if native.locked() else None)
    end.begin()
    return end


def _swap(thread: Any, new: Any) -> None:
    old, thread._tstate_lock = thread._tstate_lock, new
    awaited = _threading._shutdown_locks
    if old in awaited:
        awaited.discard(old)
        awaited.add(new)


ADAPTER = Adapter((3, 11), replacements, adopt_threads, LEANS_ON)
