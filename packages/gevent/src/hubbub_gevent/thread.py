"""gevent.thread on hubbub."""

from __future__ import annotations

import _thread as _std_thread
from _thread import TIMEOUT_MAX, error, get_native_id, interrupt_main, stack_size
from collections.abc import Callable
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

__implements__: list[str] = [
    "allocate_lock",
    "get_ident",
    "exit",
    "LockType",
    "stack_size",
    "start_new_thread",
    "_local",
]
__target__ = "_thread"

_local = local
start_joinable_thread = start_joinable


class LockType(AbstractLinkable, _thread.LockType):
    """:class:`hubbub.thread.LockType` with the methods of a semaphore that gevent's lock has."""

    @property
    def counter(self) -> int:
        """How many greenlets can take it now: 1 or 0."""
        return int(not self.locked())

    def ready(self) -> bool:
        """Whether it can be taken."""
        return not self.locked()

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it can be taken, without taking it.

        :param timeout: seconds, or None for no limit.
        :returns: 1, or 0 when the time ran out first.
        """
        if not self.acquire(True, -1 if timeout is None else timeout):
            return 0
        self.release()
        return 1

    def rawlink(self, callback: Callable[[Any], Any]) -> None:
        """Call ``callback(self)`` in the hub, once, when the lock can be taken."""
        self.__class__ = _LinkedLock
        super().rawlink(callback)


class _LinkedLock(LockType):
    """The class of a lock that has had a link: only such a lock looks for links when it is released."""

    def release(self) -> None:
        """Give the lock back."""
        super().release()
        self.fire_links()


allocate_lock = LockType
allocate = LockType
exit_thread = exit
start_new = start_new_thread


def __getattr__(name: str) -> Any:
    return getattr(_std_thread, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *dir(_std_thread)})
