"""What :mod:`threading` is given in place of the primitives of :mod:`_thread`, the same for every CPython.

A thread becomes a greenlet of the native thread that starts it, except where that cannot work:

- while an asyncio loop runs in this native thread, because the loop's helper threads must run beside it, and code in
  them must not see the running loop (``asyncio.to_thread``, ``run_in_executor``);
- helpers of ``multiprocessing`` and ``ProcessPoolExecutor``, which wait in ways of their own for other processes;
- in a native thread without a hub, where no greenlet would ever run.

These stay native, and so do threads that they start.
"""

from __future__ import annotations

import sys
import threading
import weakref
from _thread import allocate_lock as _native_lock
from _thread import get_ident as native_ident
from _thread import start_new_thread as _start_native
from collections.abc import Callable
from functools import partial
from typing import Any

from greenlet import getcurrent
from hubbub.hub import get_hub_if_exists
from hubbub.thread import LockType, get_ident, run_thread, start_new_thread
from hubbub.thread import RLock as _RLock

__all__ = [
    "Handle",
    "RLock",
    "forget_other_handles",
    "natives_run",
    "runs_natively",
    "set_sentinel",
    "shutdown",
    "start",
    "start_joinable",
    "track_dummy",
    "waits_natively",
]

_main_thread = threading.main_thread
_NATIVE_CLASSES = frozenset({"concurrent.futures.process"})
_NATIVE_TARGETS = frozenset(
    {
        "multiprocessing.managers",
        "multiprocessing.pool",
        "multiprocessing.queues",
        "multiprocessing.resource_sharer",
        "multiprocessing.spawn",
        "pycares",  # waits inside c-ares for its queries to end
    }
)
# They wait inside gRPC for its events, unless gRPC was told to wait by gevent, or what stands for it.
_GRPC_TARGETS = frozenset({"grpc._cython.cygrpc", "grpc._server"})


def waits_natively() -> bool:
    """Whether nobody would run meanwhile if the current native thread waited cooperatively: it has no hub to run."""
    mine = native_ident()
    # Waiting for a lock may have made a hub there. That does not mean that the thread will run it again.
    return mine != _main_thread().ident and (mine in _natives or get_hub_if_exists() is None)


def runs_natively(function: Callable[..., Any]) -> bool:
    """Whether a thread with this body has to be a native one; see above."""
    if waits_natively():
        return True
    events = sys.modules.get("asyncio.events")
    if events is not None and events._get_running_loop() is not None:
        return True
    thread = getattr(function, "__self__", None)
    if not isinstance(thread, threading.Thread):
        return False
    if type(thread).__module__ in _NATIVE_CLASSES:
        return True
    module = getattr(getattr(thread, "_target", None), "__module__", None) or ""
    if module.partition(".")[0].partition("_")[0] == "hubbub":
        return True
    if module in _GRPC_TARGETS:
        return "grpc.experimental.gevent" not in sys.modules
    return module in _NATIVE_TARGETS and type(thread).__module__ != "multiprocessing.dummy"


# Starting -----------------------------------------------------------------------------------------------------------

_sentinels: dict[int, LockType] = {}
_natives: set[int] = set()
"""Native threads that were started here."""


def _go_native(body: Callable[..., Any], *args: Any, ended: Callable[[], None]) -> int:
    """Run ``body(*args)`` in a native thread, and after it ``ended()``; its number.

    Who joins the thread may count on its having let go of its arguments: futures, queues and semaphores are closed when
    the last reference to them goes. So they are handed over in a list, which is emptied, and gone before ``ended``.
    """
    begun = _native_lock()
    begun.acquire()
    ident = _start_native(_native_body, ([begun, body, args, ended],))
    # Until it runs the interpreter does not count it, and who waits for it next would seem to wait for nobody.
    begun.acquire()
    return ident


def natives_run() -> bool:
    """Whether a native thread that was started here has not ended."""
    return bool(_natives)


def _native_body(job: list[Any]) -> None:
    begun, body, args, ended = job
    job.clear()
    mine = native_ident()
    _natives.add(mine)
    begun.release()
    try:
        body(*args)
    finally:
        _natives.discard(mine)
        del body, args
        ended()


def set_sentinel() -> LockType:
    """``_thread._set_sentinel``: a lock that is released when the current thread ends."""
    lock = _sentinels[get_ident()] = LockType()
    return lock


def _pass_on_interrupts(function: Callable[..., Any]) -> None:
    """Make Ctrl-C, if it finds the thread whose body this is, reach the main thread instead of ``excepthook``."""
    thread = getattr(function, "__self__", None)
    if isinstance(thread, threading.Thread):
        mine: Any = thread  # whose private names are not in the type stubs
        mine._invoke_excepthook = partial(_invoke_excepthook, mine._invoke_excepthook)


def _invoke_excepthook(hook: Callable[[threading.Thread], None], thread: threading.Thread) -> None:
    if isinstance(sys.exc_info()[1], KeyboardInterrupt):
        raise  # called in an except block
    hook(thread)


def _body(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    try:
        run_thread(function, args, kwargs)
    finally:
        _release_sentinel()


def _release_sentinel() -> None:
    lock = _sentinels.pop(get_ident(), None)
    if lock is not None and lock.locked():
        lock.release()


def start(function: Callable[..., Any], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> int:
    """``_thread.start_new_thread``."""
    if callable(function) and isinstance(args, tuple) and runs_natively(function):
        return _go_native(run_thread, function, args, kwargs or {}, ended=_release_sentinel)
    if callable(function) and isinstance(args, tuple) and isinstance(kwargs or {}, dict):
        _pass_on_interrupts(function)
        return start_new_thread(_body, (function, args, kwargs or {}))
    return start_new_thread(function, args, kwargs)  # which refuses it


class RLock(_RLock):
    """``_thread.RLock``, which takes any arguments and ignores them, as CPython's does."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__()


# Joining, as CPython 3.13 does it -----------------------------------------------------------------------------------


class Handle:
    """``_thread._ThreadHandle``: a thread that can be joined."""

    def __init__(self, ident: int = 0) -> None:
        self.ident = ident
        self._end = LockType()
        self._started = ident != 0
        if self._started:
            self._end.acquire()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} object: ident={self.ident}>"

    def is_done(self) -> bool:
        """Whether the thread has ended."""
        return self._started and not self._end.locked()

    def _set_done(self) -> None:
        if not self._started:
            raise RuntimeError("thread not started")
        if self._end.locked():
            self._end.release()

    def join(self, timeout: float | None = None) -> None:
        """Wait for the end, at most ``timeout`` seconds.

        :raises RuntimeError: the thread was not started, or is the current one.
        """
        if not self._started:
            raise RuntimeError("thread not started")
        if self.ident == get_ident() and not self.is_done():
            raise RuntimeError("Cannot join current thread")
        if self._end.acquire(timeout=-1 if timeout is None or timeout < 0 else timeout):
            self._end.release()

    def begin(self) -> None:
        """Called by :func:`start_joinable`.

        :raises RuntimeError: a second time.
        """
        if self._started:
            raise RuntimeError("thread already started")
        self._started = True
        self._end.acquire()


_joinable: weakref.WeakSet[Handle] = weakref.WeakSet()
_awaited: set[Handle] = set()


def _joinable_body(handle: Handle, function: Callable[[], Any]) -> None:
    try:
        _run_joinable(handle, function)
    finally:
        _end(handle)


def _run_joinable(handle: Handle, function: Callable[[], Any]) -> None:
    handle.ident = get_ident()
    run_thread(function, (), {})


def _end(handle: Handle) -> None:
    _awaited.discard(handle)
    handle._set_done()


def start_joinable(function: Callable[[], Any], handle: Handle | None = None, daemon: bool = True) -> Handle:
    """``_thread.start_joinable_thread``."""
    if not callable(function):
        raise TypeError("thread function must be callable")
    handle = handle if handle is not None else Handle()
    handle.begin()
    _joinable.add(handle)
    if not daemon:
        _awaited.add(handle)
    if runs_natively(function):
        handle.ident = _go_native(_run_joinable, handle, function, ended=partial(_end, handle))
    else:
        _pass_on_interrupts(function)
        handle.ident = start_new_thread(_joinable_body, (handle, function))
    return handle


def shutdown(native: Callable[[], None]) -> None:
    """``_thread._shutdown``: wait for the threads that are no daemons.

    :param native: the original, which waits for those that were started before patching.
    """
    while _awaited:
        next(iter(_awaited)).join()
    native()


def forget_other_handles() -> None:
    """In the child after a fork: all threads but the current one are gone."""
    mine = get_ident()
    _awaited.clear()
    for handle in list(_joinable):
        if handle.ident != mine:
            handle._set_done()


# Threads that nobody started here -----------------------------------------------------------------------------------

_watched: dict[int, weakref.ref[Any]] = {}


def track_dummy(thread: threading.Thread) -> None:
    """Forget the dummy thread object of the current greenlet when that is gone; another may then have its number."""
    ident = get_ident()
    _watched[ident] = weakref.ref(getcurrent(), partial(_forget_dummy, ident, thread))


def _forget_dummy(ident: int, thread: threading.Thread, _: object) -> None:
    _watched.pop(ident, None)
    active = threading._active  # type: ignore[attr-defined]  # not in the type stubs
    if active.get(ident) is thread:
        del active[ident]
