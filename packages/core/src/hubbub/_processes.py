"""Waiting for the end of child processes without reaping them, from any thread.

Where there are process descriptors (pidfd_open(2), Linux 5.3), a greenlet waits until one is readable. Elsewhere, and
when no descriptor can be had, it waits for SIGCHLD in the main thread, and looks after longer and longer pauses in
others.
"""

from __future__ import annotations

import errno
import os
import signal
import threading
from collections.abc import Callable
from typing import TypeVar

from hubbub._originals import close as _os_close
from hubbub._originals import get_ident, monotonic
from hubbub._own_thread import in_own_thread
from hubbub.hub import get_hub, sleep
from hubbub.io import wait_readable

__all__ = ["wait_for_any", "wait_for_end"]

T = TypeVar("T")
# The originals: patching replaces some of them in their modules.
_pidfd_open: Callable[[int], int] | None = getattr(os, "pidfd_open", None)
_waitid = getattr(os, "waitid", None)
_main_thread = threading.main_thread
_FIRST_PAUSE, _LAST_PAUSE = 0.001, 0.05


def wait_for_end(pid: int, look: Callable[[], T | None], timeout: float | None = None) -> T | None:
    """Wait until ``look()`` returns something else than None, as it should when the child ``pid`` has ended.

    :param look: asks for the status without waiting, for instance by :func:`os.waitpid` with WNOHANG.
    :param timeout: seconds, or None for no limit.
    :returns: what ``look`` returned; None when the time ran out first.
    """
    found = look()
    if found is not None or (timeout is not None and timeout <= 0):
        return found
    deadline = None if timeout is None else monotonic() + timeout
    if _pidfd_open is None:
        return _wait_by_looking(look, deadline)
    try:
        pidfd = _pidfd_open(pid)
    except ProcessLookupError:
        return look()  # it was reaped meanwhile
    except OSError as error:
        if error.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSYS, errno.EPERM):
            raise
        return _wait_by_looking(look, deadline)
    try:
        while (found := look()) is None:
            left = None if deadline is None else deadline - monotonic()
            if left is not None and left <= 0:
                return None
            if wait_readable(pidfd, left):
                found = look()
                if found is not None:
                    return found
                sleep(0)  # another thread has reaped it, and is about to keep the status
    finally:
        _os_close(pidfd)
    return found


def _wait_by_looking(look: Callable[[], T | None], deadline: float | None) -> T | None:
    """Look after each SIGCHLD if this is the main thread, and after pauses too: the program may replace the handler."""
    watched = get_ident() == _main_thread().ident
    pause = _FIRST_PAUSE
    with _ChildSignal(watched) as arrived:
        while (found := look()) is None:
            left = None if deadline is None else deadline - monotonic()
            if left is not None and left <= 0:
                return None
            limit = 1.0 if watched else pause
            arrived(limit if left is None else min(limit, left))
            pause = min(pause * 2, _LAST_PAUSE)
    return found


class _ChildSignal:
    """Pauses. In the main thread SIGCHLD ends them early."""

    def __init__(self, watched: bool) -> None:
        self._watcher = get_hub().loop.signal(signal.SIGCHLD, ref=False) if watched else None

    def __enter__(self) -> Callable[[float], None]:
        if self._watcher is None:
            return sleep
        from hubbub.event import Event

        event = Event()
        self._watcher.start(event.set)

        def pause(seconds: float) -> None:
            event.wait(seconds)
            event.clear()

        return pause

    def __exit__(self, *_: object) -> None:
        if self._watcher is not None:
            self._watcher.close()


def wait_for_any(pid: int, options: int, look: Callable[[], T | None]) -> T | None:
    """Wait until ``look()`` returns something else than None: until a child that ``pid`` selects changes its state.

    :param pid: as for :func:`os.waitpid`.
    :param options: of :func:`os.waitpid`: WUNTRACED, WCONTINUED.
    """
    if _waitid is None:
        return _wait_by_looking(look, None)
    kind, number = os.P_ALL, 0
    if pid > 0:
        kind, number = os.P_PID, pid
    elif pid < -1 or pid == 0:
        kind, number = os.P_PGID, -pid or os.getpgrp()
    flags = os.WEXITED | os.WNOWAIT
    flags |= os.WSTOPPED if options & os.WUNTRACED else 0
    flags |= os.WCONTINUED if options & os.WCONTINUED else 0
    while (found := look()) is None:
        # With WNOWAIT the thread reaps nothing, so it does no harm if the wait is cut short and the thread goes on.
        in_own_thread(_waitid, kind, number, flags)
    return found
