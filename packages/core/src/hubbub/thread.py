"""Threads, locks and thread-local data on greenlets, with the interface of :mod:`_thread`.

A "thread" is a greenlet of the native thread that starts it. Locks may be shared with other native threads.
"""

from __future__ import annotations

import sys
from _thread import TIMEOUT_MAX, error, get_native_id, interrupt_main
from collections.abc import Callable
from contextvars import Context
from types import SimpleNamespace
from typing import Any, NoReturn

from greenlet import getcurrent

from hubbub._originals import get_ident as _native_ident
from hubbub.greenlet import Greenlet
from hubbub.hub import Hub, get_hub, make_way
from hubbub.local import local
from hubbub.lock import Semaphore

__all__ = [
    "TIMEOUT_MAX",
    "LockType",
    "RLock",
    "allocate_lock",
    "error",
    "exit",
    "get_ident",
    "get_native_id",
    "interrupt_main",
    "local",
    "run_thread",
    "start_new_thread",
]


def get_ident() -> int:
    """A number for the current greenlet, never 0; for the first greenlet of a native thread that of the thread.

    The hub counts as the first greenlet: what runs there does so on behalf of the native thread. So a signal handler,
    which runs in the hub while all others wait, finds itself in the main thread, as everywhere. Another greenlet may
    have a number after this one has ended.
    """
    try:
        current = getcurrent()
    except RuntimeError:  # the interpreter is ending, and greenlets with it
        return _native_ident()
    return _native_ident() if current.parent is None or isinstance(current, Hub) else id(current)


def _seconds(blocking: bool, timeout: float) -> float | None:
    """The time limit that ``acquire(blocking, timeout)`` means; None for no limit.

    :raises ValueError: a timeout without blocking, or a negative one other than -1.
    :raises OverflowError: longer than :data:`TIMEOUT_MAX`.
    """
    if not blocking:
        if timeout != -1:
            raise ValueError("can't specify a timeout for a non-blocking call")
        return 0.0
    if timeout == -1:
        return None
    if timeout < 0:
        raise ValueError("timeout value must be a non-negative number")
    if timeout > TIMEOUT_MAX:
        raise OverflowError("timeout value is too large")
    return timeout


class LockType(Semaphore):
    """A lock as :func:`_thread.allocate_lock` makes them. Anybody may release it. Greenlets get it in turn.

    As with a native lock, who waits for one that is never released waits for ever: no LoopExit.
    """

    def __init__(self) -> None:
        super().__init__(1)

    def __repr__(self) -> str:
        state = "locked" if self.locked() else "unlocked"
        return f"<{state} {type(self).__module__}.{type(self).__qualname__} object at {id(self):#x}>"

    # The parameters are those of threading.Lock, where -1 stands for no limit.
    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:  # type: ignore[override]
        """Take the lock.

        :param blocking: wait until it is free.
        :param timeout: wait at most so many seconds; -1 for no limit.
        :returns: whether it was taken.
        """
        if not blocking or timeout != -1:
            return super().acquire(blocking, _seconds(blocking, timeout))
        if super().acquire(False):
            return True
        while make_way():
            if super().acquire(False):
                return True
        # Whoever releases it may be out of this loop's sight: another native thread, or a signal handler.
        loop = get_hub().loop
        loop.refs += 1
        try:
            return super().acquire()
        finally:
            loop.refs -= 1

    def release(self) -> None:  # type: ignore[override]  # as threading.Lock
        """Give the lock back.

        :raises RuntimeError: it is not locked.
        """
        if self.counter and not self._waiters:
            raise RuntimeError("release unlocked lock")
        super().release()

    acquire_lock = acquire
    release_lock = release
    locked_lock = Semaphore.locked

    def __enter__(self) -> bool:  # type: ignore[override]  # as threading.Lock
        return self.acquire()

    def _at_fork_reinit(self) -> None:
        """In the child after a fork: free, and nobody waits. Called by :mod:`threading`."""
        Semaphore.__init__(self, 1)


allocate_lock = LockType
"""A class, not a function: as an attribute of a class, ``threading.Lock`` must not turn into a method."""


class RLock:
    """A lock that its owner may take again, with the interface of :class:`_thread.RLock`."""

    def __init__(self) -> None:
        self._block = LockType()
        self._owner = 0
        self._count = 0

    def __repr__(self) -> str:
        state = "locked" if self._count else "unlocked"
        name = f"{type(self).__module__}.{type(self).__qualname__}"
        return f"<{state} {name} object owner={self._owner} count={self._count} at {id(self):#x}>"

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Take the lock once more, waiting until it is free or mine; parameters as for :meth:`LockType.acquire`."""
        mine = get_ident()
        if self._owner == mine:
            _seconds(blocking, timeout)
            self._count += 1
            return True
        if not self._block.acquire(blocking, timeout):
            return False
        self._owner = mine
        self._count = 1
        return True

    def release(self) -> None:
        """Give it back once.

        :raises RuntimeError: the current greenlet does not own it.
        """
        if self._owner != get_ident():
            raise RuntimeError("cannot release un-acquired lock")
        self._count -= 1
        if not self._count:
            self._owner = 0
            self._block.release()

    def locked(self) -> bool:
        """Whether somebody owns it."""
        return self._count > 0

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()

    # What threading.Condition and threading's fork hook ask of a lock -------------------------------------------------

    def _is_owned(self) -> bool:
        return self._owner == get_ident()

    def _recursion_count(self) -> int:
        return self._count if self._owner == get_ident() else 0

    def _release_save(self) -> tuple[int, int]:
        if not self._count:
            raise RuntimeError("cannot release un-acquired lock")
        state = self._count, self._owner
        self._count = self._owner = 0
        self._block.release()
        return state

    def _acquire_restore(self, state: tuple[int, int]) -> None:
        self._block.acquire()
        self._count, self._owner = state

    def _at_fork_reinit(self) -> None:
        self._block._at_fork_reinit()
        self._count = self._owner = 0


def run_thread(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Call ``function`` as the body of a thread: SystemExit ends it, other errors go to :func:`sys.unraisablehook`.

    :raises KeyboardInterrupt: Ctrl-C found this greenlet; it is meant for the main thread.
    """
    try:
        function(*args, **kwargs)
    except SystemExit:
        pass
    except KeyboardInterrupt:
        raise
    except BaseException as failure:
        sys.unraisablehook(
            SimpleNamespace(
                exc_type=type(failure),
                exc_value=failure,
                exc_traceback=failure.__traceback__,
                err_msg="Exception ignored in thread started by",
                object=function,
            )
        )


def start_new_thread(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any] | None = None) -> int:
    """Run ``function(*args, **kwargs)`` in a new greenlet of this native thread, with no context variables.

    :returns: its :func:`get_ident`.
    :raises TypeError: an argument of the wrong type.
    """
    if not callable(function):
        raise TypeError("first arg must be callable")
    if not isinstance(args, tuple):
        raise TypeError("2nd arg must be a tuple")
    if kwargs is not None and not isinstance(kwargs, dict):
        raise TypeError("optional 3rd arg must be a dictionary")
    return id(Greenlet.spawn(run_thread, function, args, kwargs or {}, context=Context()))


def exit() -> NoReturn:
    """End the current thread."""
    raise SystemExit
