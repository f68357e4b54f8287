"""gevent.thread on hubbub."""

from __future__ import annotations

import _thread as _std_thread
from _thread import TIMEOUT_MAX, error, get_native_id, interrupt_main, stack_size
from typing import Any

from hubbub import thread as _thread
from hubbub.thread import RLock, exit, get_ident
from hubbub_monkey.threads import start as start_new_thread
from hubbub_monkey.threads import start_joinable

from hubbub_gevent._abstract_linkable import AbstractLinkable
from hubbub_gevent.local import local

__all__ = [
    "TIMEOUT_MAX",
    "LockType",
    "RLock",
    "allocate",
    "allocate_lock",
    "error",
    "exit",
    "exit_thread",
    "get_ident",
    "get_native_id",
    "interrupt_main",
    "stack_size",
    "start_new",
    "start_new_thread",
]

__implements__ = ["allocate_lock", "get_ident", "exit", "LockType", "stack_size", "start_new_thread", "_local"]
__target__ = "_thread"

_local = local
start_joinable_thread = start_joinable


class LockType(AbstractLinkable, _thread.LockType):
    """:class:`hubbub.thread.LockType`."""


allocate_lock = LockType
allocate = LockType
exit_thread = exit
start_new = start_new_thread


def __getattr__(name: str) -> Any:
    return getattr(_std_thread, name)
