"""gevent.os on hubbub."""

from __future__ import annotations

import os as _os
import os as _std_os
from collections.abc import Callable
from typing import Any

from hubbub.os import close, fork, forkpty, make_nonblocking, nb_read, nb_write, tp_read, tp_write, waitpid

from hubbub_gevent.hub import get_hub

__all__ = [
    "close",
    "fork",
    "fork_and_watch",
    "fork_gevent",
    "forkpty",
    "forkpty_and_watch",
    "forkpty_gevent",
    "make_nonblocking",
    "nb_read",
    "nb_write",
    "posix_spawn",
    "posix_spawnp",
    "tp_read",
    "tp_write",
    "waitpid",
]

__implements__ = ["fork", "close", "forkpty", "waitpid", "posix_spawn", "posix_spawnp"]
__extensions__ = [name for name in __all__ if name not in __implements__]

fork_gevent = fork
forkpty_gevent = forkpty
posix_spawn = _os.posix_spawn
posix_spawnp = _os.posix_spawnp


def _watched(pid: int, callback: Callable[[Any], Any] | None, loop: Any, ref: bool) -> None:
    if pid and callback is not None:
        watcher = (loop or get_hub().loop).child(pid, ref=ref)
        watcher.start(callback, watcher)


def fork_and_watch(
    callback: Callable[[Any], Any] | None = None, loop: Any = None, ref: bool = False, fork: Any = fork
) -> int:
    """Fork; in the parent ``callback(watcher)`` is called when the child has ended."""
    pid: int = fork()
    _watched(pid, callback, loop, ref)
    return pid


def forkpty_and_watch(
    callback: Callable[[Any], Any] | None = None, loop: Any = None, ref: bool = False, forkpty: Any = forkpty
) -> Any:
    """The same with a terminal."""
    result = forkpty()
    _watched(result[0], callback, loop, ref)
    return result


def __getattr__(name: str) -> Any:
    return getattr(_std_os, name)
