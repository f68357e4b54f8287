"""What :mod:`threading` gets in place of the primitives of :mod:`_thread`, the same for every CPython.

A thread becomes a greenlet of the native thread that starts it, except where that cannot work:

- while an asyncio loop runs in this native thread, because the loop's helper threads must run beside it, and code in
  them must not see the running loop (``asyncio.to_thread``, ``run_in_executor``);
- helpers of ``multiprocessing`` and ``ProcessPoolExecutor``, which wait for other processes in ways of their own;
- helpers of debuggers, because a debugger stops the native thread;
- in a native thread without a hub, where no greenlet would ever run.

These stay native, and so do threads that they start.
"""

from __future__ import annotations

import _thread
import sys
import threading
import weakref
from _thread import allocate_lock as _native_lock
from _thread import get_ident as native_ident
from _thread import start_new_thread as _start_native
from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn

from hubbub.hub import get_hub_if_exists
from hubbub.thread import RLock as _RLock
from hubbub.thread import get_ident, run_thread, start_new_thread

from hubbub_monkey._dummies import expect, expect_no_more
from hubbub_monkey._ends import End, EndLock
from hubbub_monkey._native_event import NativeEvent
from hubbub_monkey._tracing import traced

try:
    from _queue import SimpleQueue as _NativeQueue
except ImportError:  # PyPy's is written in Python
    from queue import SimpleQueue as _NativeQueue

__all__ = [
    "Handle",
    "NativeHandle",
    "RLock",
    "forget_others",
    "named_by_system",
    "natives_run",
    "runs_natively",
    "set_sentinel",
    "shutdown",
    "start",
    "start_joinable",
    "waits_natively",
]

_main_thread = threading.main_thread
_DEBUGGERS = ("_pydev_bundle", "_pydevd_bundle", "debugpy", "pydevd")
_NATIVE_CLASSES = ("concurrent.futures.process", *_DEBUGGERS)
"""The beginnings of the names of the modules of their classes."""
_NATIVE_TARGETS = frozenset(
    {
        *(
            f"{package}.{module}"
            for package in ("multiprocessing", "multiprocess")  # the latter is a copy that pickles more
            for module in ("managers", "pool", "queues", "resource_sharer", "spawn")
        ),
        "pycares",  # waits inside c-ares for its queries to end
    }
)
_DUMMIES = ("multiprocessing.dummy", "multiprocess.dummy")
"""Where the threads of a ``ThreadPool`` come from: they are greenlets."""
# Threads of gRPC wait inside it for its events, unless gRPC was told to wait by gevent or by hubbub-gevent.
_GRPC_TARGETS = frozenset({"grpc._cython.cygrpc", "grpc._server"})


def waits_natively() -> bool:
    """Whether the current native thread has no hub to run: if it waited cooperatively, nothing would run meanwhile."""
    mine = native_ident()
    # Waiting for a lock may have made a hub in a native thread. That does not mean that the thread will run it again.
    return mine != _main_thread().ident and (mine in _natives or get_hub_if_exists() is None)


def runs_natively(function: Callable[..., Any]) -> bool:
    """Whether a thread with this body has to be a native one; see the module's docstring."""
    if waits_natively():
        return True
    events = sys.modules.get("asyncio.events")
    if events is not None and events._get_running_loop() is not None:
        return True
    thread = _thread_of(function)
    if thread is None:
        return False
    if type(thread).__module__.startswith(_NATIVE_CLASSES) or _waits_in_c(thread):
        return True
    module = getattr(getattr(thread, "_target", None), "__module__", None) or ""
    if module.partition(".")[0].partition("_")[0] == "hubbub":
        return True
    if module in _GRPC_TARGETS:
        return "grpc.experimental.gevent" not in sys.modules
    return module in _NATIVE_TARGETS and type(thread).__module__ not in _DUMMIES


def _thread_of(function: Any) -> threading.Thread | None:
    """The thread whose body this is; None if it is not one of :mod:`threading`'s."""
    body = getattr(function, "original_func", function)  # pydevd wraps the bodies of all threads so
    thread = getattr(body, "__self__", None)
    return thread if isinstance(thread, threading.Thread) else None


def _start_while_stopped(function: Callable[..., Any]) -> None:
    """Make the caller that starts a debugger's helper block until the helper runs. The caller may be a greenlet that
    the debugger has stopped, which must not let other greenlets run."""
    thread: Any = _thread_of(function)  # its private names are not in the type stubs
    if thread is not None and type(thread).__module__.startswith(_DEBUGGERS):
        thread._started = NativeEvent()


def _waits_in_c(thread: Any) -> bool:
    """Whether the thread uses a queue that waits in C, made before patching, or a worker in another interpreter."""
    given = getattr(thread, "_args", None) or ()
    kinds = {type(item) for item in given} if isinstance(given, tuple | list) else set()
    return _NativeQueue in kinds or any(kind.__module__ == "concurrent.futures.interpreter" for kind in kinds)


# Starting -----------------------------------------------------------------------------------------------------------

_sentinels: dict[int, EndLock] = {}
_natives: set[int] = set()
"""Native threads that were started here."""


def _go_native(body: Callable[..., Any], *args: Any, ended: Callable[[], None]) -> int:
    """Run ``body(*args)`` in a native thread, and after it ``ended()``. Returns the thread's number.

    A caller that joins the thread may rely on its having dropped its arguments: futures, queues and semaphores are
    closed when the last reference to them goes. So the thread gets them in a list, and empties it before ``ended``.
    """
    begun = _native_lock()
    begun.acquire()
    ident = _start_native(_native_body, ([begun, body, args, ended],))
    # Until the thread runs the interpreter does not count it, and a greenlet that waits for it would look deadlocked.
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


def set_sentinel() -> EndLock:
    """``_thread._set_sentinel``: a lock that is released when the current thread ends."""
    end = _sentinels[get_ident()] = EndLock()
    return end


def _pass_on_interrupts(function: Callable[..., Any]) -> None:
    """Make Ctrl-C, if it interrupts the thread whose body this is, reach the main thread instead of ``excepthook``."""
    thread = _thread_of(function)
    if thread is not None:
        mine: Any = thread  # its private names are not in the type stubs
        mine._invoke_excepthook = partial(_invoke_excepthook, mine._invoke_excepthook)


def _invoke_excepthook(hook: Callable[[threading.Thread], None], thread: threading.Thread) -> None:
    if isinstance(sys.exc_info()[1], KeyboardInterrupt):
        raise  # called in an except block
    hook(thread)


def _body(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    try:
        traced(run_thread, function, args, kwargs)
    finally:
        expect_no_more()
        _release_sentinel()


def _release_sentinel() -> None:
    end = _sentinels.pop(get_ident(), None)
    if end is not None:
        end.come()


def start(function: Callable[..., Any], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> int:
    """``_thread.start_new_thread``."""
    if callable(function) and isinstance(args, tuple) and runs_natively(function):
        _start_while_stopped(function)
        return _go_native(run_thread, function, args, kwargs or {}, ended=_release_sentinel)
    if callable(function) and isinstance(args, tuple) and isinstance(kwargs or {}, dict):
        _pass_on_interrupts(function)
        ident = start_new_thread(_body, (function, args, kwargs or {}))
        expect(ident, _thread_of(function))
        return ident
    return start_new_thread(function, args, kwargs)  # which raises the right error


class RLock(_RLock):
    """``_thread.RLock``, which takes any arguments and ignores them, as CPython's does before 3.15.

    :raises TypeError: there are arguments, from 3.15 on.
    """

    __module__ = _thread.__name__
    """As of the original: by it trio sees whether signal handlers may enter the lock. They may enter this one, too."""
    _made_in = __name__

    def __init__(self, *args: object, **kwargs: object) -> None:
        if (args or kwargs) and sys.version_info >= (3, 15):
            raise TypeError("RLock() takes no arguments")
        super().__init__()


def named_by_system(native: Callable[[str], None]) -> Callable[[str], None]:
    """``_thread.set_name``: tells the system the current thread's name, unless that thread is a greenlet."""

    def set_name(name: str) -> None:
        if not isinstance(name, str):
            raise TypeError(f"set_name() argument 'name' must be str, not {type(name).__name__}")
        if get_ident() == native_ident():
            native(name)

    return set_name


# Joining by handles, as CPython does it since 3.13 --------------------------------------------------------------------

_native: Any = _thread  # its newer names are not in the type stubs of all versions
NativeHandle: Any = getattr(_native, "_ThreadHandle", ())
_start_joinable_native: Any = getattr(_native, "start_joinable_thread", None)
_shutdown_native: Any = getattr(_native, "_shutdown", None)


class Handle:
    """``_thread._ThreadHandle``: a thread that can be joined.

    :param ident: of a thread that runs; 0 for one that is to be started.
    :param also: called at its end.
    """

    __slots__ = ("__weakref__", "_end", "ident")

    def __init__(self, ident: int = 0, also: Callable[[], Any] | None = None) -> None:
        self.ident: int = ident
        self._end = End(also)
        if ident:
            self.begin()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} object: ident={self.ident}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"cannot pickle {type(self).__name__!r} object")

    def is_done(self) -> bool:
        """Whether the thread has ended."""
        return self._end.over.is_set()

    def _set_done(self) -> None:
        if not self._end.begun:
            raise RuntimeError("thread not started")
        self._end.come()

    def join(self, timeout: float | None = None) -> None:
        """Wait for the end, at most ``timeout`` seconds.

        :raises RuntimeError: the thread was not started, or is the current one.
        """
        if not self._end.begun:
            raise RuntimeError("thread not started")
        if self.ident == get_ident() and not self.is_done():
            raise RuntimeError("Cannot join current thread")
        self._end.wait(timeout)

    def begin(self) -> None:
        """Called when the thread starts.

        :raises RuntimeError: a second time.
        """
        if not self._end.begin():
            raise RuntimeError("thread already started")
        _begun.add(self)


_begun: weakref.WeakSet[Handle] = weakref.WeakSet()
_awaited: set[Handle] = set()
"""The handles of threads whose end the process waits for before it ends."""


def _joinable_body(handle: Handle, function: Callable[[], Any]) -> None:
    try:
        traced(_run_joinable, handle, function)
    finally:
        expect_no_more()
        _finish(handle)


def _run_joinable(handle: Handle, function: Callable[[], Any]) -> None:
    handle.ident = get_ident()
    run_thread(function, (), {})


def _finish(handle: Handle) -> None:
    _awaited.discard(handle)
    handle._set_done()


def start_joinable(function: Callable[[], Any], handle: Any = None, daemon: bool = True) -> Any:
    """``_thread.start_joinable_thread``. A thread with one of the interpreter's own handles becomes a native thread."""
    if not callable(function):
        raise TypeError("thread function must be callable")
    if handle is not None and isinstance(handle, NativeHandle):
        return _start_joinable_native(function, handle=handle, daemon=daemon)
    handle = handle if handle is not None else Handle()
    if not isinstance(handle, Handle):
        raise TypeError(f"'handle' must be a _ThreadHandle, not {type(handle).__name__}")
    handle.begin()
    if not daemon:
        _awaited.add(handle)
    try:
        if runs_natively(function):
            _start_while_stopped(function)
            handle.ident = _go_native(_run_joinable, handle, function, ended=partial(_finish, handle))
        else:
            _pass_on_interrupts(function)
            handle.ident = start_new_thread(_joinable_body, (handle, function))
            expect(handle.ident, _thread_of(function))
    except BaseException:
        _finish(handle)  # the system could not start another native thread
        raise
    return handle


def shutdown() -> None:
    """``_thread._shutdown``: wait for threads that are not daemons, also those that were started before patching."""
    while _awaited:
        next(iter(_awaited)).join()
    _shutdown_native()


def forget_others() -> None:
    """In the child after a fork: all threads but the current one are gone."""
    mine = get_ident()
    _awaited.clear()
    for handle in list(_begun):
        if handle.ident != mine:
            handle._set_done()
