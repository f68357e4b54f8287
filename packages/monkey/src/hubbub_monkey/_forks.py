"""Locks that must be free at a fork: the holder does not exist in the child, which would wait for it for ever.

A module registers methods of such a lock with ``os.register_at_fork``. If that lock is exchanged for a cooperative
one, the methods remain those of the old lock, so this module registers those of the new one.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

__all__ = ["keep_free"]

_locks: list[Any] = []
_taken: list[Any] = []
_registered: list[bool] = []


def keep_free(lock: Any) -> Callable[[], None]:
    """Take ``lock`` before each fork, release it in the parent and reset it in the child.

    :returns: a function that ends this.
    """
    if not _registered:
        _registered.append(True)
        os.register_at_fork(before=_take, after_in_parent=_give_back, after_in_child=_make_anew)
    _locks.append(lock)
    return lambda: _locks.remove(lock)


def _take() -> None:
    for lock in list(_locks):
        lock.acquire()
        _taken.append(lock)


def _give_back() -> None:
    while _taken:
        _taken.pop().release()


def _make_anew() -> None:
    _taken.clear()
    for lock in _locks:
        lock._at_fork_reinit()
