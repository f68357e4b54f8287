"""Starting and joining by handles, as :mod:`threading` does it since CPython 3.13."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

from hubbub.local import local
from hubbub.thread import LockType, allocate_lock, get_ident

from hubbub_monkey._dummies import Active, track_dummy
from hubbub_monkey._ends import look_again
from hubbub_monkey.threads import Handle, NativeHandle, RLock, forget_others, shutdown, start, start_joinable

__all__ = ["adopt", "leans_on", "replacements"]

_main_thread = threading.main_thread


def leans_on(handle: str) -> dict[str, tuple[str, ...]]:
    """For each function of the module: the names that it must use; else the replacements have no effect on it.

    :param handle: the name of the handle in a thread object.
    """
    return {
        "Condition.__init__": ("RLock",),
        "Condition.wait": ("_allocate_lock",),
        "Thread.__init__": ("_ThreadHandle", "_dangling", handle),
        "Thread.start": ("_active_limbo_lock", "_limbo", "_start_joinable_thread", handle),
        "Thread._bootstrap_inner": ("_active", "_active_limbo_lock", "_limbo"),
        "Thread._set_ident": ("get_ident",),
        "Thread._delete": ("_active", "_active_limbo_lock", "get_ident"),
        "Thread.join": (handle,),
        "Thread.is_alive": (handle, "is_done"),
        "_DummyThread.__init__": ("_DeleteDummyThreadOnDel", "_active", "_make_thread_handle", "_set_ident", handle),
        "_MainThread.__init__": ("_active", "_get_main_thread_ident", "_make_thread_handle", handle),
        "_after_fork": ("_MainThread", "_active", "_main_thread", "get_ident"),
        "_shutdown": ("_main_thread", "_set_done", "_thread_shutdown", handle),
        "current_thread": ("_DummyThread", "_active", "get_ident"),
    }


def replacements() -> dict[str, dict[str, Any]]:
    """The names to set, by module, on every CPython that has handles."""
    return {
        "_thread": {
            "LockType": LockType,
            "RLock": RLock,
            "_ThreadHandle": Handle,
            "_local": local,
            "_make_thread_handle": Handle,
            "_shutdown": shutdown,
            "allocate_lock": allocate_lock,
            "get_ident": get_ident,
            "lock": LockType,
            "start_joinable_thread": start_joinable,
            "start_new_thread": start,
        },
        "threading": {
            "Lock": LockType,
            "_CRLock": RLock,
            "_DeleteDummyThreadOnDel": track_dummy,
            "_LockType": LockType,
            "_ThreadHandle": Handle,
            "_active": Active(),
            "_active_limbo_lock": RLock(),
            "_allocate_lock": allocate_lock,
            "_get_main_thread_ident": get_ident,  # called after a fork, when the current thread is the main one
            "_make_thread_handle": Handle,
            "_start_joinable_thread": start_joinable,
            "_thread_shutdown": shutdown,
            "get_ident": get_ident,
            "local": local,
        },
        "_threading_local": {"local": local},
    }


# Threads that were made before patching -------------------------------------------------------------------------------


class _Earlier:
    """Takes the place of the handle of a thread that was started before patching."""

    def __init__(self, native: Any) -> None:
        self._native = native

    def __getattr__(self, name: str) -> Any:
        return getattr(self._native, name)

    def join(self, timeout: float | None = None) -> None:
        """As the handle's."""
        look_again(self._native.is_done, None if timeout is None or timeout < 0 else timeout)


_at_fork: list[bool] = []


def adopt(attribute: str) -> Callable[[], None]:
    """Give all existing thread objects, the main thread's among them, a cooperative handle. Returns what undoes it.

    :param attribute: the name of the handle in a thread object.
    """
    if not _at_fork and hasattr(os, "register_at_fork"):
        _at_fork.append(True)
        os.register_at_fork(after_in_child=forget_others)
    before: list[tuple[Any, Any]] = []
    for thread in list(threading._dangling):  # type: ignore[attr-defined]  # not in the type stubs
        native = getattr(thread, attribute, None)
        if isinstance(native, NativeHandle):
            before.append((thread, native))
            setattr(thread, attribute, _fitting(thread, native))

    def undo() -> None:
        for thread, native in before:
            setattr(thread, attribute, native)
        for thread in list(threading._dangling):  # type: ignore[attr-defined]  # see above
            mine = getattr(thread, attribute, None)
            if isinstance(mine, Handle) and not mine._end.begun:
                setattr(thread, attribute, NativeHandle())

    return undo


def _fitting(thread: threading.Thread, native: Any) -> Any:
    if thread is _main_thread():
        return Handle(thread.ident or 0, also=native._set_done)
    return _Earlier(native) if thread.ident is not None else Handle()
