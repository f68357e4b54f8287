"""The internals of :mod:`threading` in CPython 3.11: threads are joined by a lock that ends with them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import sleep as _native_sleep
from typing import Any

from hubbub.hub import get_hub_if_exists, sleep
from hubbub.local import local
from hubbub.thread import LockType, allocate_lock, get_ident

from hubbub_monkey.threads import RLock, set_sentinel, start, track_dummy

__all__ = ["adopt_threads", "replacements"]

_threading: Any = threading  # whose private names are not in the type stubs
_main_thread = threading.main_thread


class _DummyThread(_threading._DummyThread):  # type: ignore[misc]  # see above
    """The thread object of a greenlet that :mod:`threading` did not start; it goes with the greenlet."""

    def __init__(self) -> None:
        super().__init__()
        track_dummy(self)


def replacements() -> dict[str, dict[str, Any]]:
    """What is set, by module."""
    return {
        "_thread": {
            "LockType": LockType,
            "RLock": RLock,
            "_local": local,
            "_set_sentinel": set_sentinel,
            "allocate": allocate_lock,
            "allocate_lock": allocate_lock,
            "get_ident": get_ident,
            "start_new": start,
            "start_new_thread": start,
        },
        "threading": {
            "Lock": allocate_lock,
            "_CRLock": RLock,
            "_DummyThread": _DummyThread,
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


class _EndOfNative:
    """Stands for the lock of a thread that was started before patching: whoever joins it looks again and again.

    Nothing can be waited for that a native thread does not itself announce.
    """

    def __init__(self, native: Any) -> None:
        self.native = native

    def __getattr__(self, name: str) -> Any:
        return getattr(self.native, name)

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """As the lock's."""
        pause, left = 0.001, timeout if timeout >= 0 else float("inf")
        while not self.native.acquire(False):
            if not blocking or left <= 0:
                return False
            step = min(pause, left)
            (sleep if get_hub_if_exists() is not None else _native_sleep)(step)
            left -= step
            pause = min(pause * 2, 0.01)
        return True


def adopt_threads() -> Callable[[], None]:
    """Make threads joinable cooperatively that run already, the main thread among them; returns what undoes it."""
    before: list[tuple[Any, _EndOfNative]] = []
    for thread in threading.enumerate():
        native = getattr(thread, "_tstate_lock", None)
        if native is None:
            continue
        wrapped = _EndOfNative(native)
        mine: Any = wrapped
        if thread is _main_thread():
            mine = LockType()
            mine.acquire()
        before.append((thread, wrapped))
        _swap(thread, native, mine)

    def undo() -> None:
        for thread, wrapped in before:
            if getattr(thread, "_tstate_lock", None) is not None:
                _swap(thread, thread._tstate_lock, wrapped.native)

    return undo


def _swap(thread: Any, old: Any, new: Any) -> None:
    thread._tstate_lock = new
    awaited = _threading._shutdown_locks
    if old in awaited:
        awaited.discard(old)
        awaited.add(new)
