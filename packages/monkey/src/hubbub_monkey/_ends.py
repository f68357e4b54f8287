"""The ends of threads, which other threads wait for.

An end comes once, and wakes all that wait for it. It is not a lock that is handed from one waiter to the next: every
waiter finds that the thread has ended, and so does every other caller that looks at the same moment.
"""

from __future__ import annotations

from collections.abc import Callable
from time import sleep as _native_sleep
from typing import Any, ClassVar, NoReturn

from hubbub.event import Event
from hubbub.hub import get_hub, get_hub_if_exists, sleep
from hubbub.thread import TIMEOUT_MAX, LockType

__all__ = ["End", "EndLock", "NativeEnd", "look_again"]

_LONGEST_PAUSE = 0.01
"""Seconds between two looks at a native thread."""


class End:
    """The end of one thread.

    :param also: called once, when the thread ends.
    """

    def __init__(self, also: Callable[[], Any] | None = None) -> None:
        self._also = also
        self.begun: bool = False
        self.over: Event = Event()

    def __repr__(self) -> str:
        state = "over" if self.over.is_set() else "to come" if self.begun else "of nothing yet"
        return f"<{type(self).__name__} {state}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"cannot pickle {type(self).__name__!r} object")

    def runs(self) -> bool:
        """Whether the thread runs."""
        return self.begun and not self.over.is_set()

    def begin(self) -> bool:
        """Note that the thread runs from now on. False if it did before."""
        begun, self.begun = self.begun, True
        return not begun

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end.

        :param timeout: at most so many seconds; None or negative for no limit.
        :returns: whether it has come.
        """
        if self.over.is_set():
            return True
        loop = get_hub().loop
        held = loop.hold()  # the thread may be a native one, which this loop does not know
        try:
            return self.over.wait(timeout if timeout is not None and 0 <= timeout <= TIMEOUT_MAX else None)
        finally:
            loop.let_go(held)

    def come(self) -> None:
        """Note that the end has come. A second call does nothing."""
        also, self._also = self._also, None
        self.over.set()
        if also is not None:
            also()


class EndLock(End):
    """An end in the form of a lock, by which :mod:`threading` waits for it up to CPython 3.12.

    The first ``acquire`` says that the thread runs, and the first ``release`` that it has ended. After that it is an
    ordinary lock, except that ``locked()`` is always false: every waiter finds that the thread has ended.
    """

    def __init__(self, also: Callable[[], Any] | None = None) -> None:
        super().__init__(also)
        self._lock = LockType()

    def _at_fork_reinit(self) -> None:
        """In the child after a fork: there are no waiters, and the thread does not run."""
        EndLock.__init__(self, self._also)

    def locked(self) -> bool:
        """Whether the thread runs."""
        return self.runs()

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Begin, or wait for the end and for the lock.

        :param timeout: at most so many seconds for each; negative for no limit.
        :returns: whether the lock was taken.
        """
        if self.begin():
            return True
        if self.runs() and not (blocking and self.wait(timeout)):
            return False
        return self._lock.acquire(blocking, timeout)

    def release(self) -> None:
        """The first time, note that the end has come; after that, release the lock, if it is held."""
        if self.runs():
            self.come()
        elif self._lock.locked():
            self._lock.release()

    acquire_lock: ClassVar[Any] = acquire
    release_lock: ClassVar[Any] = release
    locked_lock: ClassVar[Any] = locked

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


def look_again(ended: Callable[[], bool], timeout: float | None) -> bool:
    """Wait for the end of a native thread by looking again and again: such a thread wakes no greenlet when it ends.

    :param timeout: at most so many seconds; None for no limit.
    :returns: whether it has come.
    """
    pause, left = 0.001, float("inf") if timeout is None else timeout
    while not ended():
        if left <= 0:
            return False
        step = min(pause, left)
        (sleep if get_hub_if_exists() is not None else _native_sleep)(step)
        left -= step
        pause = min(pause * 2, _LONGEST_PAUSE)
    return True


class NativeEnd:
    """Takes the place of the lock of a thread that was started before patching, up to CPython 3.12."""

    def __init__(self, native: Any) -> None:
        self.native = native

    def __getattr__(self, name: str) -> Any:
        return getattr(self.native, name)

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """As the lock's."""
        limit = 0.0 if not blocking else None if timeout < 0 else timeout
        return look_again(lambda: bool(self.native.acquire(False)), limit)
