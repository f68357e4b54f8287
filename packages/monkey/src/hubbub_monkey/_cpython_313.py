"""The internals of :mod:`threading` in CPython 3.13: threads are joined by handles."""

from __future__ import annotations

import _thread
import os
import threading
from collections.abc import Callable
from functools import partial
from time import sleep as _native_sleep
from typing import Any

from hubbub.hub import get_hub_if_exists, sleep
from hubbub.local import local
from hubbub.thread import LockType, allocate_lock, get_ident

from hubbub_monkey.threads import Handle, RLock, forget_other_handles, shutdown, start, start_joinable

__all__ = ["adopt_threads", "replacements"]

_main_thread = threading.main_thread


def replacements() -> dict[str, dict[str, Any]]:
    """What is set, by module."""
    native: Any = _thread
    end = partial(shutdown, native._shutdown)
    return {
        "_thread": {
            "LockType": LockType,
            "RLock": RLock,
            "_ThreadHandle": Handle,
            "_local": local,
            "_make_thread_handle": Handle,
            "_shutdown": end,
            "allocate": allocate_lock,
            "allocate_lock": allocate_lock,
            "get_ident": get_ident,
            "lock": LockType,
            "start_joinable_thread": start_joinable,
            "start_new": start,
            "start_new_thread": start,
        },
        "threading": {
            "Lock": LockType,
            "_CRLock": RLock,
            "_LockType": LockType,
            "_ThreadHandle": Handle,
            "_active_limbo_lock": RLock(),
            "_allocate_lock": allocate_lock,
            "_make_thread_handle": Handle,
            "_start_joinable_thread": start_joinable,
            "_thread_local_info": local(),
            "_thread_shutdown": end,
            "get_ident": get_ident,
            "local": local,
        },
        "_threading_local": {"local": local},
    }


class _NativeHandle:
    """Stands for the handle of a thread that was started before patching: whoever joins it looks again and again.

    Nothing can be waited for that a native thread does not itself announce.
    """

    def __init__(self, native: Any) -> None:
        self._native = native

    def __getattr__(self, name: str) -> Any:
        return getattr(self._native, name)

    def join(self, timeout: float | None = None) -> None:
        """As the handle's."""
        pause, left = 0.001, timeout if timeout is not None and timeout >= 0 else float("inf")
        while not self._native.is_done() and left > 0:
            step = min(pause, left)
            (sleep if get_hub_if_exists() is not None else _native_sleep)(step)
            left -= step
            pause = min(pause * 2, 0.01)


_at_fork: list[bool] = []


def adopt_threads() -> Callable[[], None]:
    """Make threads joinable cooperatively that run already, the main thread among them; returns what undoes it."""
    if not _at_fork and hasattr(os, "register_at_fork"):
        _at_fork.append(True)
        os.register_at_fork(after_in_child=forget_other_handles)
    before: list[tuple[Any, Any]] = []
    for thread in threading.enumerate():
        native = getattr(thread, "_handle", None)
        if native is None:
            continue
        before.append((thread, native))
        own: Any = thread
        own._handle = Handle(thread.ident or 0) if thread is _main_thread() else _NativeHandle(native)

    def undo() -> None:
        for thread, native in before:
            thread._handle = native

    return undo
