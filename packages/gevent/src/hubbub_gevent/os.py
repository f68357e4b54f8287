"""gevent.os on hubbub."""

from __future__ import annotations

import os as _os
import os as _std_os
from collections.abc import Callable
from typing import Any

from hubbub import os as _cooperative
from hubbub.os import close, make_nonblocking, nb_read, nb_write, tp_read, tp_write
from hubbub.os import fork as fork_gevent
from hubbub.os import forkpty as forkpty_gevent

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
    "tp_read",
    "tp_write",
    "waitpid",
]

__implements__: list[str] = ["fork", "close", "forkpty", "waitpid"]
if hasattr(_os, "posix_spawn"):  # PyPy has none
    from os import posix_spawn as posix_spawn
    from os import posix_spawnp as posix_spawnp

    __implements__ += ["posix_spawn", "posix_spawnp"]
    __all__ += ["posix_spawn", "posix_spawnp"]
__extensions__: list[str] = [name for name in __all__ if name not in __implements__]


def waitpid(pid: int, options: int) -> tuple[int, int]:
    """:func:`hubbub.os.waitpid`, whose arguments may be given by name."""
    return _cooperative.waitpid(pid, options)


def _watched(pid: int, callback: Callable[[Any], Any] | None, loop: Any, ref: bool) -> None:
    if pid and callback is not None:
        watcher = (loop or get_hub().loop).child(pid, ref=ref)
        watcher.start(callback, watcher)


def fork_and_watch(
    callback: Callable[[Any], Any] | None = None, loop: Any = None, ref: bool = False, fork: Any = fork_gevent
) -> int:
    """Fork; in the parent ``callback(watcher)`` is called when the child has ended."""
    pid: int = fork()
    _watched(pid, callback, loop, ref)
    return pid


def forkpty_and_watch(
    callback: Callable[[Any], Any] | None = None, loop: Any = None, ref: bool = False, forkpty: Any = forkpty_gevent
) -> Any:
    """The same with a terminal."""
    result = forkpty()
    _watched(result[0], callback, loop, ref)
    return result


def fork(*args: Any, **kwargs: Any) -> int:
    """:func:`hubbub.os.fork`; parameters as for :func:`fork_and_watch`."""
    return fork_and_watch(*args, **kwargs) if args or kwargs else fork_gevent()


def forkpty(*args: Any, **kwargs: Any) -> Any:
    """:func:`hubbub.os.forkpty`; parameters as for :func:`forkpty_and_watch`."""
    return forkpty_and_watch(*args, **kwargs) if args or kwargs else forkpty_gevent()


def __getattr__(name: str) -> Any:
    return getattr(_std_os, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *dir(_std_os)})
