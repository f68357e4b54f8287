"""Locks that nobody may hold at a fork, because the child would wait for ever for who holds them.

A module says so with ``os.register_at_fork`` and methods of its lock. If that lock is exchanged for a cooperative one
the methods remain those of the old one, so the new one is seen to here.
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
    """Have ``lock`` taken before each fork, given back in the parent and made anew in the child.

    :returns: what ends that.
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
