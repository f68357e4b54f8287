"""The interface of :mod:`threading` on greenlets, without patching anything.

A :class:`Thread` is a greenlet of the native thread that starts it; locks and the rest may be shared with other native
threads. For threads of the operating system use :mod:`threading` itself, or :mod:`hubbub.threadpool`.
"""

from __future__ import annotations

import atexit
import sys
import threading
from collections.abc import Callable, Iterable
from contextvars import Context
from itertools import count
from threading import (
    TIMEOUT_MAX,
    BrokenBarrierError,
    ExceptHookArgs,
    ThreadError,
    excepthook,
    get_native_id,
    getprofile,
    gettrace,
    setprofile,
    settrace,
)
from typing import Any, ClassVar
from weakref import WeakKeyDictionary, ref

from greenlet import getcurrent, greenlet

from hubbub import lock as _lock
from hubbub._at_fork import at_fork
from hubbub._identity import Reduce, refuse_copies
from hubbub._iterators import concurrent_tee, serialize_iterator, synchronized_iterator
from hubbub._originals import get_ident as _native_ident
from hubbub._weak import snapshot
from hubbub.event import Event
from hubbub.greenlet import Greenlet
from hubbub.local import local
from hubbub.lock import Condition
from hubbub.thread import LockType as Lock
from hubbub.thread import RLock, get_ident

__all__ = [
    "TIMEOUT_MAX",
    "Barrier",
    "BoundedSemaphore",
    "BrokenBarrierError",
    "Condition",
    "Event",
    "ExceptHookArgs",
    "Lock",
    "RLock",
    "Semaphore",
    "Thread",
    "ThreadError",
    "Timer",
    "active_count",
    "concurrent_tee",
    "current_thread",
    "enumerate",
    "excepthook",
    "get_ident",
    "get_native_id",
    "getprofile",
    "gettrace",
    "local",
    "main_thread",
    "serialize_iterator",
    "setprofile",
    "settrace",
    "stack_size",
    "synchronized_iterator",
]

_native_main_thread = threading.main_thread
_stack_size = threading.stack_size
_numbers = count(1)


def stack_size(size: int = 0, /) -> int:
    """:func:`threading.stack_size`, for native threads: greenlets have no stack of a fixed size.

    :param size: bytes, or 0 to leave it as it is.
    :returns: what it was, in bytes.
    """
    return _stack_size(size)


class Semaphore(_lock.Semaphore):
    """:class:`threading.Semaphore` for greenlets."""

    def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool:
        """Take a permit.

        :param timeout: seconds, or None for no limit.
        :returns: whether it was taken.
        :raises ValueError: a time limit without waiting.
        """
        if not blocking and timeout is not None:
            raise ValueError("can't specify timeout for non-blocking acquire")
        return super().acquire(blocking, timeout)

    def release(self, n: int = 1) -> None:  # type: ignore[override]  # as threading.Semaphore
        """Give ``n`` permits.

        :raises ValueError: fewer than one.
        """
        if n < 1:
            raise ValueError("n must be one or more")
        for _ in range(n):
            super().release()


class BoundedSemaphore(_lock.BoundedSemaphore, Semaphore):
    """:class:`threading.BoundedSemaphore` for greenlets."""

    def release(self, n: int = 1) -> None:  # type: ignore[override]  # as threading.Semaphore
        """Give ``n`` permits.

        :raises ValueError: fewer than one, or more than were taken.
        """
        if n < 1:
            raise ValueError("n must be one or more")
        self._give_back(n)


class Barrier:
    """:class:`threading.Barrier` for greenlets: ``wait`` returns when ``parties`` greenlets have called it.

    :param action: called by one of them before all go on.
    :param timeout: the default limit of :meth:`wait`, in seconds.
    """

    __reduce_ex__: ClassVar[Reduce] = refuse_copies

    def __init__(self, parties: int, action: Callable[[], Any] | None = None, timeout: float | None = None) -> None:
        if parties < 1:
            raise ValueError("parties must be >= 1")
        self._parties = parties
        self._action = action
        self._timeout = timeout
        self._cond = Condition(Lock())
        self._round = _Round()

    def __repr__(self) -> str:
        state = "broken" if self.broken else f"waiters={self.n_waiting}/{self.parties}"
        return f"<{type(self).__module__}.{type(self).__qualname__} at {id(self):#x}: {state}>"

    @property
    def parties(self) -> int:
        """How many greenlets open the barrier together."""
        return self._parties

    @property
    def n_waiting(self) -> int:
        """How many greenlets wait now."""
        return self._round.arrived if not self._round.broken else 0

    @property
    def broken(self) -> bool:
        """Whether :meth:`wait` raises BrokenBarrierError."""
        return self._round.broken

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the others.

        :param timeout: seconds; None: the barrier's own limit.
        :returns: a number from 0 to ``parties`` - 1, different for each.
        :raises BrokenBarrierError: it was reset or broken, or the time of one of them ran out.
        """
        limit = timeout if timeout is not None else self._timeout
        with self._cond:
            mine = self._round
            if mine.broken:
                raise BrokenBarrierError
            index = mine.arrived
            mine.arrived += 1
            if mine.arrived == self._parties:
                self._open(mine)
                return index
            try:
                self._cond.wait_for(lambda: mine.opened or mine.broken, limit)
            except BaseException:
                if not mine.opened:
                    self._break(mine)
                raise
            if not mine.opened:
                self._break(mine)
                raise BrokenBarrierError
            return index

    def _open(self, mine: _Round) -> None:
        try:
            if self._action is not None:
                self._action()
        except BaseException:
            self._break(mine)
            raise
        mine.opened = True
        self._round = _Round()
        self._cond.notify_all()

    def _break(self, mine: _Round) -> None:
        mine.broken = True
        self._cond.notify_all()

    def reset(self) -> None:
        """Start over. Greenlets that wait get BrokenBarrierError."""
        with self._cond:
            if self._round.arrived:
                self._break(self._round)
            self._round = _Round()

    def abort(self) -> None:
        """Break it: greenlets that wait, or call :meth:`wait` before :meth:`reset`, get BrokenBarrierError."""
        with self._cond:
            self._break(self._round)


class _Round:
    """One filling of a barrier."""

    __slots__ = ("arrived", "broken", "opened")

    def __init__(self) -> None:
        self.arrived = 0
        self.broken = False
        self.opened = False


# Threads --------------------------------------------------------------------------------------------------------------

_threads: WeakKeyDictionary[greenlet, Thread] = WeakKeyDictionary()
"""The Thread of each greenlet that runs one, or has called current_thread()."""


class Thread:
    """:class:`threading.Thread` as a greenlet. Like a new native thread it starts without context variables.

    The process does not end before its threads that are not daemons, if they were started in the main thread.
    """

    __reduce_ex__: ClassVar[Reduce] = refuse_copies

    def __init__(
        self,
        group: None = None,
        target: Callable[..., Any] | None = None,
        name: str | None = None,
        args: Iterable[Any] = (),
        kwargs: dict[str, Any] | None = None,
        *,
        daemon: bool | None = None,
    ) -> None:
        if group is not None:
            raise AssertionError("group argument must be None for now")  # as threading.Thread
        self._target = target
        self._args = args
        self._kwargs = kwargs or {}
        self.name: str = str(name) if name else _new_name(target)
        self._daemon = daemon if daemon is not None else current_thread().daemon
        self._ident: int | None = None
        self._native_id: int | None = None
        self._ended = Event()

    def __repr__(self) -> str:
        state = "initial" if self._ident is None else "started" if self.is_alive() else "stopped"
        if self._daemon:
            state += " daemon"
        if self._ident is not None:
            state += f" {self._ident}"
        return f"<{type(self).__name__}({self.name}, {state})>"

    @property
    def ident(self) -> int | None:
        """Its :func:`get_ident`; None before it was started."""
        return self._ident

    @property
    def native_id(self) -> int | None:
        """The kernel's number of the native thread it runs in; None before it was started."""
        return self._native_id

    @property
    def daemon(self) -> bool:
        """Whether the process may end before it. Inherited from the creator; to be set before the start."""
        return self._daemon

    @daemon.setter
    def daemon(self, value: bool) -> None:
        if self._ident is not None:
            raise RuntimeError("cannot set daemon status of active thread")
        self._daemon = bool(value)

    def start(self) -> None:
        """Begin to run, when the hub gets to it.

        :raises RuntimeError: it was started before.
        """
        if self._ident is not None:
            raise RuntimeError("threads can only be started once")
        new = Greenlet(self._bootstrap, context=Context())
        new.name = self.name
        new.rawlink(self._left)
        self._ident = id(new)
        self._native_id = get_native_id()
        _threads[new] = self
        if not self._daemon and _native_ident() == _native_main_thread().ident:
            _keep_process(self)
        new.start()

    def _bootstrap(self) -> None:
        if (trace := gettrace()) is not None:
            sys.settrace(trace)
        if (profile := getprofile()) is not None:
            sys.setprofile(profile)
        try:
            self.run()
        except SystemExit:
            pass
        except Exception:
            excepthook(ExceptHookArgs((*sys.exc_info(), self)))

    def _left(self, ended: greenlet) -> None:
        _threads.pop(ended, None)
        _undone.discard(self)
        self._ended.set()

    def run(self) -> None:
        """Call the target. Subclasses may do something else."""
        try:
            if self._target is not None:
                self._target(*self._args, **self._kwargs)
        finally:
            del self._target, self._args, self._kwargs

    def join(self, timeout: float | None = None) -> None:
        """Wait until it has ended, at most ``timeout`` seconds. From any thread.

        :raises RuntimeError: it was not started, or would wait for itself.
        """
        if self._ident is None:
            raise RuntimeError("cannot join thread before it is started")
        if self is current_thread():
            raise RuntimeError("cannot join current thread")
        self._ended.wait(None if timeout is None else max(timeout, 0.0))

    def is_alive(self) -> bool:
        """Whether it was started and has not ended."""
        return self._ident is not None and not self._ended.is_set()


class _MainThread(Thread):
    """Stands for the main greenlet of the main thread."""

    def __init__(self) -> None:
        super().__init__(name="MainThread", daemon=False)
        self._ident = _native_main_thread().ident
        self._native_id = _native_main_thread().native_id


class _DummyThread(Thread):
    """Stands for another greenlet that no Thread has started."""

    def __init__(self, current: greenlet) -> None:
        super().__init__(name=f"Dummy-{next(_numbers)}", daemon=True)
        self._ident = get_ident()
        self._native_id = get_native_id()
        self._greenlet = ref(current)

    def is_alive(self) -> bool:
        found = self._greenlet()
        return found is not None and not found.dead

    def join(self, timeout: float | None = None) -> None:
        raise RuntimeError("cannot join a dummy thread")


class Timer(Thread):
    """:class:`threading.Timer`: a thread that calls a function after ``interval`` seconds, unless cancelled."""

    def __init__(
        self,
        interval: float,
        function: Callable[..., Any],
        args: Iterable[Any] | None = None,
        kwargs: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.interval = interval
        self.function = function
        self.args: Iterable[Any] = args if args is not None else []
        self.kwargs: dict[str, Any] = kwargs if kwargs is not None else {}
        self.finished: Event = Event()

    def cancel(self) -> None:
        """Do not call the function, if it was not called yet."""
        self.finished.set()

    def run(self) -> None:
        """Wait, then call."""
        self.finished.wait(self.interval)
        if not self.finished.is_set():
            self.function(*self.args, **self.kwargs)
        self.finished.set()


def _new_name(target: Callable[..., Any] | None) -> str:
    name = getattr(target, "__name__", None)
    return f"Thread-{next(_numbers)}" + (f" ({name})" if name is not None else "")


def current_thread() -> Thread:
    """The Thread of the current greenlet; one that stands for it, if it was started in another way."""
    current = getcurrent()
    thread = _threads.get(current)
    if thread is None:
        if get_ident() == _native_main_thread().ident:
            return _main[-1]
        thread = _threads[current] = _DummyThread(current)
    return thread


def main_thread() -> Thread:
    """The Thread of the main greenlet of the main thread; in a child process, of the greenlet that forked it."""
    return _main[-1]


def enumerate() -> list[Thread]:
    """The main thread, all Threads that run, and those that stand for greenlets that do."""
    return [thread for thread in {main_thread(), *snapshot(_threads.values)} if thread.is_alive()]


def active_count() -> int:
    """How many :func:`enumerate` finds."""
    return len(enumerate())


# The ends of processes ------------------------------------------------------------------------------------------------

_undone: set[Thread] = set()
"""Threads of the main thread that keep the process from ending."""


def _keep_process(thread: Thread) -> None:
    if not _undone:
        atexit.unregister(_finish)
        atexit.register(_finish)
    _undone.add(thread)


def _finish() -> None:
    while _undone:
        next(iter(_undone)).join()


def _after_fork_in_child() -> None:
    _undone.clear()
    mine = current_thread()
    for thread in list(_threads.values()):
        if thread is not mine:
            thread._ended.set()
    _threads.clear()
    if mine is not main_thread():
        main_thread()._ended.set()
        _main.append(mine)
        _threads[getcurrent()] = mine


_main: list[Thread] = [_MainThread()]

at_fork(in_child=_after_fork_in_child)
