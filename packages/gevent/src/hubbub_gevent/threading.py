"""gevent.threading on hubbub."""

from __future__ import annotations

import threading as _std_threading
from typing import Any

from hubbub.thread import get_ident
from hubbub_monkey.threads import RLock

from hubbub_gevent.local import local
from hubbub_gevent.thread import LockType, start_new_thread

__all__ = ["Lock", "RLock", "allocate_lock", "get_ident", "local", "start_new_thread"]

__implements__: list[str] = [
    "local",
    "_allocate_lock",
    "Lock",
    "_DummyThread",
    "_start_new_thread",
    "Thread",
    "Timer",
    "_set_sentinel",
    "get_ident",
    "_CRLock",
]

# What threading.RLock() makes. gevent has None here, and thus CPython's RLock in Python. If a signal handler
# interrupts one of that lock's methods between two steps and takes the same lock, it waits for ever.
_CRLock = RLock
Lock = LockType
allocate_lock = LockType
_allocate_lock = LockType
_start_new_thread = start_new_thread
_get_ident = get_ident


def __getattr__(name: str) -> Any:
    return getattr(_std_threading, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *dir(_std_threading)})
