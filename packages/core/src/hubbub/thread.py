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

from hubbub._builtin import Place, as_builtin
from hubbub._latch import Latch, ReentrantLatch
from hubbub._originals import get_ident as _native_ident
from hubbub._standin import Runner
from hubbub._twins import mirrored, twin
from hubbub.greenlet import Greenlet
from hubbub.hub import get_hub, hubs, make_way
from hubbub.local import local

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


@as_builtin
def get_ident(_: Place) -> int:
    """A number for the current greenlet, never 0; for the main greenlet of a native thread the thread's own number.

    The hub counts as the main greenlet: what runs there does so on behalf of the native thread. So a signal handler,
    which runs in the hub while all others wait, finds itself in the main thread, as everywhere. Another greenlet may
    get the number after this one has ended.
    """
    try:
        current = getcurrent()
    except RuntimeError:  # the interpreter is ending, and greenlets with it
        return _native_ident()
    return _native_ident() if current.parent is None or isinstance(current, Runner) else id(current)


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
    if not timeout >= 0:  # NaN among them
        raise ValueError(f"timeout value must be a non-negative number, not {timeout}")
    if timeout > TIMEOUT_MAX:
        raise OverflowError("timeout value is too large")
    return timeout


_ENDING = object()


def _ident_of(greenlet: Any) -> int:
    """The :func:`get_ident` of ``greenlet``, of whatever thread; 0 for None."""
    if greenlet is None:
        return 0
    if isinstance(greenlet, Runner):
        return int(greenlet.hub.thread_ident)
    if greenlet is _current():
        return get_ident()
    return next((hub.thread_ident for hub in hubs() if hub.main is greenlet), id(greenlet))


def _getcurrent() -> Any:
    try:
        return getcurrent()
    except RuntimeError:  # the interpreter is ending, and greenlets with it
        return _ENDING


def _current() -> Any:
    """The greenlet that stands for the current thread: see :func:`get_ident`."""
    current = _getcurrent()
    return current.hub.main if isinstance(current, Runner) else current


class _Patient(Latch):
    """A lock that code out of the loop's sight may release: another native thread, or a signal handler.

    So a greenlet that waits for one that is never released waits for ever, as for a native lock, without a LoopExit.
    """

    __slots__ = ()

    @mirrored("latch.c")
    def _wait_turn(self, who: object, timeout: float | None) -> bool:
        if timeout is not None:
            return super()._wait_turn(who, timeout)
        while make_way():
            if self._holder.setdefault(0, who) is who:
                return True
        loop = get_hub().loop
        held = loop.hold()
        try:
            return super()._wait_turn(who, None)
        finally:
            loop.let_go(held)

    def _named(self, more: str = "") -> str:
        state = "locked" if self.locked() else "unlocked"
        name = f"{type(self).__module__}.{type(self).__qualname__}"
        return f"<{state} {name} object{more} at {id(self):#x}>"


def _hold() -> float:
    """A fresh object that stands for a hold of a lock, and tells reports which greenlet took it: its ``id``.

    A number, so that the lock keeps no greenlet alive.
    """
    return float(id(_getcurrent()))


class LockType(_Patient):
    """A lock as :func:`_thread.allocate_lock` makes them. Any greenlet may release it. Greenlets get it in turn."""

    __slots__ = ()

    def __repr__(self) -> str:
        return self._named()

    @twin("latch.c")
    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Take the lock.

        :param blocking: wait until it is free.
        :param timeout: wait at most so many seconds; -1 for no limit.
        :returns: whether it was taken.
        """
        return self._take(_hold(), None if blocking and timeout == -1 else _seconds(blocking, timeout))

    @twin("latch.c")
    def release(self) -> None:
        """Give the lock back.

        :raises RuntimeError: it is not locked.
        """
        if not self._leave():
            raise RuntimeError("release unlocked lock")

    @property
    def counter(self) -> int:
        """As of a semaphore: 1 if the lock is free, else 0."""
        return 0 if self.locked() else 1

    def wait(self, timeout: float | None = None) -> int:
        """Wait until the lock is free, without taking it.

        :returns: 1; 0 when ``timeout`` seconds have passed.
        """
        if self.locked():
            if not self._take(_hold(), timeout):
                return 0
            self._leave()
        return 1

    acquire_lock = acquire
    release_lock = release

    def locked_lock(self) -> bool:
        """:meth:`locked`, by its old name."""
        return self.locked()

    @twin("latch.c")
    def __enter__(self) -> bool:
        return self.acquire()

    @twin("latch.c")
    def __exit__(self, *error: object) -> None:
        holder = self._holder.get(0)
        try:
            self.release()
        except BaseException:  # of a signal handler: the block has ended all the same
            if holder is not None and self._holder.get(0) is holder:
                self.release()
            raise

    _is_owned = Latch.locked
    """For :class:`threading.Condition`, which would otherwise try to take the lock to learn that."""

    def _at_fork_reinit(self) -> None:
        """In the child after a fork: free, and nobody waits. Called by :mod:`threading`."""
        self._reset()


allocate_lock = LockType
"""A class, not a function: as an attribute of a class, ``threading.Lock`` must not turn into a method."""


class RLock(ReentrantLatch, _Patient):
    """A lock that its owner may take again, with the interface of :class:`_thread.RLock`."""

    __slots__ = ()

    def _me(self) -> Any:
        """The greenlet that takes it. Code in the hub may enter what the main greenlet holds: both are one thread."""
        me = _getcurrent()
        if isinstance(me, Runner) and self._holder.get(0) is me.hub.main:
            return me.hub.main
        return me

    def __repr__(self) -> str:
        owner = self._holder.get(0)
        return self._named(f" owner={_ident_of(owner)} count={self._depth + 1 if owner is not None else 0}")

    @twin("latch.c")
    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Take the lock once more, waiting until it is free or mine; parameters as for :meth:`LockType.acquire`."""
        return self._take_again(None if blocking and timeout == -1 else _seconds(blocking, timeout))

    @twin("latch.c")
    def release(self) -> None:
        """Give it back once.

        :raises RuntimeError: the current greenlet does not own it.
        """
        super().release()

    @twin("latch.c")
    def __enter__(self) -> bool:
        return self.acquire()

    @twin("latch.c")
    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)


def run_thread(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Call ``function`` as the body of a thread: SystemExit ends it, other errors go to :func:`sys.unraisablehook`.

    :raises KeyboardInterrupt: Ctrl-C interrupted this greenlet; it is meant for the main thread.
    """
    try:
        function(*args, **kwargs)
    except SystemExit:
        pass
    except KeyboardInterrupt:
        raise
    except BaseException as failure:
        message = "Exception ignored in thread started by"
        in_text = sys.version_info >= (3, 13)  # as in CPython: the message names the function, and there is no object
        sys.unraisablehook(
            SimpleNamespace(
                exc_type=type(failure),
                exc_value=failure,
                exc_traceback=failure.__traceback__,
                err_msg=f"{message} {function!r}" if in_text else message,
                object=None if in_text else function,
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
