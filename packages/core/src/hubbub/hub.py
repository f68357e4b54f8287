"""The hub: the greenlet of a thread that runs the loop, and to which every waiting greenlet switches."""

from __future__ import annotations

import os
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, ParamSpec

from greenlet import GreenletExit, getcurrent, greenlet

from hubbub._arguments import as_seconds, check_function
from hubbub._at_fork import at_fork
from hubbub._config import accelerate, loop_class
from hubbub._current import (
    all_hubs,
    drop_foreign_hubs,
    forget_hub,
    get_hub,
    get_hub_if_exists,
    hub_class,
    hubs,
    make_way,
    set_hub,
)
from hubbub._hublocal import HubLocal, end_locals, renew_locals
from hubbub._identity import Reduce, refuse_copies
from hubbub._originals import get_ident
from hubbub._reports import last_words, tell
from hubbub._standin import HubRunner, Runner
from hubbub._struck import is_of_handler, shielded
from hubbub._twins import known_to_c, twin
from hubbub._workers import threads_at_work, threads_may_begin
from hubbub.abc import Backend, Loop, Resolver
from hubbub.exceptions import (
    BlockingSwitchOutError,
    HubDestroyed,
    InvalidThreadUseError,
    LoopDestroyed,
    LoopExit,
    StandInRetired,
)
from hubbub.loop._signals import handlers_may_wake
from hubbub.loop.base import BaseLoop, make_loop

if TYPE_CHECKING:
    from hubbub.threadpool import ThreadPool

__all__ = [
    "Hub",
    "HubStatistics",
    "accelerate",
    "get_hub",
    "get_hub_if_exists",
    "hubs",
    "idle",
    "make_way",
    "reinit",
    "set_hub",
    "set_hub_class",
    "sleep",
    "spawn_raw",
]

P = ParamSpec("P")


_main_thread = threading.main_thread


@dataclass(frozen=True)
class HubStatistics:
    """What :meth:`Hub.statistics` returns."""

    polls: int
    """How many times the loop asked for events."""
    switches: int
    """How many callables of the run queue were called; nearly all of them switch to a greenlet."""
    greenlets: int
    """How many greenlets have begun and not ended; raw ones do not count."""
    ready: int
    """How many callables are in the run queue now."""
    timers: int
    """How many timers are running."""
    descriptors: int
    """How many descriptors are registered."""
    waiting: int
    """How many greenlets wait for a descriptor."""
    stand_ins: int
    """How many greenlets run the loop, or could, while callbacks of the loop wait."""
    longest_turn: float
    """Seconds: the longest time from one poll to the next while there was work, that is how late an event may have
    been seen."""
    threads: int
    """How many threads the user's pool has."""


@known_to_c
class Hub(greenlet, HubRunner):
    """Runs the event loop of its thread. One per thread, made on first use by :func:`get_hub`.

    ``NOT_ERROR`` and ``SYSTEM_ERROR`` are tuples of exception classes and may be assigned: the first are not reported,
    the second are raised in the main greenlet.
    """

    __reduce_ex__: ClassVar[Reduce] = refuse_copies

    NOT_ERROR: ClassVar[Any] = (GreenletExit, SystemExit)
    SYSTEM_ERROR: ClassVar[Any] = (KeyboardInterrupt, SystemExit, SystemError)
    if not TYPE_CHECKING:  # type checkers see that of a greenlet
        throw = HubRunner.throw
    PRINTS_FOR_MAIN: ClassVar[bool] = False
    """Whether an error of a signal handler is printed, although it is raised in the main greenlet."""
    WAITS_FOR_THREADS: ClassVar[bool] = True
    """While other native threads live (idle ones of pools apart), the hub waits for them instead of raising LoopExit:
    one of them may set what the main greenlet waits for."""

    describe_blocked: ClassVar[Callable[[], str]] = staticmethod(lambda: "")
    """What :meth:`blocked` returns. :mod:`hubbub.inspect` sets it."""

    threadpool: HubLocal[ThreadPool] = HubLocal(
        "The user's thread pool. Made on first use; may be assigned and deleted."
    )
    file_pool: HubLocal[ThreadPool] = HubLocal("The threads for regular files, apart from those of the user.")
    resolver: HubLocal[Resolver] = HubLocal(
        "Names to addresses. Made on first use, see :func:`hubbub.configure`; may be assigned and deleted."
    )

    loop: BaseLoop

    def __init__(self, loop: str | type[Backend] | type[Loop] | BaseLoop | None = None) -> None:
        """:param loop: a loop, a class of backends, or the entry-point name of one; see :func:`hubbub.configure`."""
        super().__init__()
        self._begin()
        self.main: greenlet = _main_greenlet()
        """The main greenlet of the thread."""
        self.parent = self.main
        self.__dict__["run"] = shielded(self.run, self._struck)
        self.thread_ident: int = get_ident()
        self.name = ""
        self._destroyed = False
        self.locals: dict[Any, Any] = {}
        """The values that variables (:class:`hubbub.lowlevel.HubLocal`) have for this hub."""
        self._pid = os.getpid()
        self._forker: greenlet | None = None
        if isinstance(loop, BaseLoop):
            self.loop = loop
        else:
            self.loop = make_loop(loop_class(loop))
        self._joining = False
        self.loop.hub = self
        self.loop.error_handler = self
        self.loop.outside = self._others_may_wake
        self.loop.current_hub = get_hub
        all_hubs.add(self)

    def __repr__(self) -> str:
        state = "destroyed" if self._destroyed else repr(self.loop)
        name = f" {self.name}" if self.name else ""
        return f"<{type(self).__name__}{name} at {id(self):#x} thread={self.thread_ident:#x} {state}>"

    def _others_may_wake(self) -> bool:
        """Whether native threads live, or signal handlers are set, that could wake the main greenlet."""
        if self._joining:
            return False
        if self.WAITS_FOR_THREADS and (threads_at_work() > 0 or threads_may_begin()):
            return True
        return self.thread_ident == _main_thread().ident and handlers_may_wake()

    def interrupt(self, error: BaseException, frame: FrameType | None = None) -> bool:
        """Have ``error``, which a signal handler has raised, raised in the main greenlet, whatever was interrupted.

        The hub raises it there in its next callback. If the signal interrupted user code in another greenlet, which may
        never wait, an error of ``SYSTEM_ERROR`` is raised at once; the interrupted greenlet goes on later.

        :param frame: the frame that the signal interrupted.
        :returns: False if that was the main greenlet's, or the hub has ended: then the caller raises the error.
        """
        current = getcurrent()
        if current is self.main or self.main.dead or self._destroyed:
            return False
        if not isinstance(current, Runner) and isinstance(error, self.SYSTEM_ERROR) and not _is_ours(frame):
            self.handle_system_error(type(error), error)
        else:
            self.raise_soon(error)
        return True

    def raise_soon(self, error: BaseException) -> None:
        """Raise ``error`` in the main greenlet, in the hub's next callback. From any thread."""
        self.loop.run_callback_threadsafe(self.handle_system_error, type(error), error)

    def _struck(self, error: BaseException) -> None:
        tell(self, None, error)

    # Running --------------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Turn the loop; when it ends while a greenlet waits, raise LoopExit in the main greenlet."""
        while self.go_on(self.loop.run):
            pass

    def go_on(self, run: Callable[[], None]) -> bool:
        """Have ``run`` turn the loop; if it ends while a greenlet waits, raise LoopExit in the main greenlet.

        :returns: False if the hub was destroyed.
        """
        shifts = self.shifts
        try:
            run()
        except HubDestroyed:
            return False
        except (LoopDestroyed, InvalidThreadUseError, StandInRetired):
            raise
        except BaseException as error:
            # One of Python's signal handlers raised between two steps of the loop.
            tell(self, None, error)
            return True
        if self._destroyed:
            return False
        if self.free and getcurrent() is not self:
            return True
        if self._forker is not None and self._forker.dead:
            self._end_child(getattr(self._forker, "exception", None))
        # In a child process the greenlet that forked takes the main greenlet's place.
        target = self._forker or self.main
        exit = LoopExit("This operation would block forever", self, repr(self.loop))
        if self.shifts == shifts:  # a signal handler that has waited meanwhile may have changed everything
            target.throw(exit)
        return True

    def join(self, timeout: float | None = None) -> bool:
        """Run until nothing is left to wait for. Only from the main greenlet of the thread.

        :param timeout: seconds, or None for no limit.
        :returns: True when nothing was left, False when the time ran out first.
        """
        current = getcurrent()
        if isinstance(current, Runner):
            raise BlockingSwitchOutError("the hub cannot wait for itself")
        if current is not self.main:
            raise RuntimeError("hub.join() is for the main greenlet of the thread")
        if self._destroyed or self.dead:
            return True
        expired = object()
        loop = self.loop
        expire: Callable[[], Any] | None = None
        key: Any = None
        if timeout is not None:

            def expire() -> None:
                current.switch(expired)

            key = loop.call_later(as_seconds(timeout), expire, ref=False)
        self._joining = True
        try:
            while True:
                if self.switch() is expired:
                    return False
        except LoopExit:
            return True
        finally:
            self._joining = False
            if expire is not None:
                loop.cancel_later(key, expire)

    def wait(self, watcher: Any) -> None:
        """Wait for one event of ``watcher``, which must not be active yet."""
        current = getcurrent()
        if isinstance(current, Runner):
            self._wait_in_callback_for(current, watcher)
            return
        fired = object()
        watcher.start(current.switch, fired)
        try:
            while self.switch() is not fired:
                pass
        finally:
            watcher.stop()

    def _wait_in_callback_for(self, current: Runner, watcher: Any) -> None:
        waits = [True]

        def fired() -> None:
            waits.clear()
            current.resume()

        watcher.start(fired)
        try:
            self.wait_while(lambda: waits)
        finally:
            watcher.stop()

    @property
    def destroyed(self) -> bool:
        """Whether :meth:`destroy` was called."""
        return self._destroyed

    def destroy(self, destroy_loop: bool | None = None) -> None:
        """End the hub: its resolver, thread pool and (unless ``destroy_loop`` is False) its loop.

        Greenlets that wait are left where they are and never run again. Idempotent. The thread's next
        :func:`get_hub` makes a new hub.

        :raises InvalidThreadUseError: its loop is waiting in another thread; then nothing has changed.
        """
        if self._destroyed:
            return
        if destroy_loop is not False and not self.loop.destroyed:
            self.loop.take_over()
        forget_hub(self)
        self.end(destroy_loop)

    def end(self, destroy_loop: bool | None = None) -> None:
        """:meth:`destroy` without a change of thread-local storage, which is going away when a thread ends."""
        self._destroyed = True
        end_locals(self)
        if destroy_loop is not False:
            self.loop.destroy()
        if getcurrent() is self.main:
            self.end_runners()
        self.__dict__.pop("run", None)  # one that never began would keep itself
        all_hubs.discard(self)

    # Diagnosis ------------------------------------------------------------------------------------------------------

    def blocked(self) -> str:
        """What every greenlet waits for, a line each; see :mod:`hubbub.inspect`."""
        return type(self).describe_blocked()

    def statistics(self) -> HubStatistics:
        """Counts since the hub was made."""
        loop = self.loop
        pool = type(self).threadpool.if_made(self)
        return HubStatistics(
            polls=loop.iteration,
            switches=loop.calls,
            greenlets=loop.greenlets,
            ready=len(loop.ready),
            timers=loop.timer_count(),
            descriptors=len(loop.handles),
            waiting=loop.waiting_count(),
            stand_ins=len(self.stand_ins),
            longest_turn=loop.longest_turn,
            threads=pool.size if pool is not None else 0,
        )

    # In a child process ---------------------------------------------------------------------------------------------

    def _start_in_child(self) -> None:
        self._pid = os.getpid()
        self.thread_ident = get_ident()
        current = getcurrent()
        self._forker = current if current is not self.main else None
        if isinstance(links := getattr(current, "_links", None), list):
            links.clear()  # the greenlets that join it are in the parent
        self.loop.reinit()
        self.loop.hub = self
        renew_locals(self)

    def _end_child(self, error: BaseException | None) -> NoReturn:
        """End the child: the greenlet that forked has ended, and the main program, the parent's, must not run here.

        When a thread forks, the child ends with that thread too.
        """
        code: Any = 0 if error is None else 1
        if isinstance(error, SystemExit):
            code = error.code if error.code is not None else 0
            if not isinstance(code, int):
                self.exception_stream.write(f"{code}\n")
                code = 1
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        os._exit(code & 0xFF)

    # Errors ---------------------------------------------------------------------------------------------------------

    @property
    def exception_stream(self) -> Any:
        """Where failures are printed: ``sys.stderr`` unless assigned; None prints nothing."""
        return self.__dict__.get("_exception_stream", sys.stderr)

    @exception_stream.setter
    def exception_stream(self, stream: Any) -> None:
        self.__dict__["_exception_stream"] = stream

    def handle_error(
        self,
        context: object,
        type: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Report that a greenlet or callback (``context``) failed. May be replaced, also on a hub; must not raise.

        Errors that are not in ``NOT_ERROR`` are printed. Those in ``SYSTEM_ERROR``, and those without a context, are
        raised in the main greenlet. A KeyboardInterrupt, or an error without a context, is a signal handler's and only
        raised: if the main greenlet does not catch it, the interpreter prints it.
        """
        if type is not None and issubclass(type, HubDestroyed) and self._destroyed:
            raise value or type()
        if self._is_printed(context, type):
            self.print_exception(context, type, value, tb)
        if context is None or (type is not None and issubclass(type, self.SYSTEM_ERROR)):
            self.handle_system_error(type, value, tb)

    def _is_printed(self, context: object, type: type[BaseException] | None) -> bool:
        if type is None:
            return True
        if issubclass(type, self.NOT_ERROR):
            return False
        return self.PRINTS_FOR_MAIN or not (context is None or issubclass(type, KeyboardInterrupt))

    def handle_system_error(
        self, type: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None = None
    ) -> None:
        """Raise the error in the main greenlet."""
        current = getcurrent()
        main = self.main
        if self._forker is not None:
            self._end_child(value)
        if current is main or main.dead:
            raise (value if value is not None else RuntimeError(f"{type} without a value"))
        error = value if value is not None else (type() if type is not None else RuntimeError("unknown failure"))
        if not isinstance(current, Runner):
            self.loop.ready.append(current.switch)
        try:
            main.throw(error.__class__, error, error.__traceback__)
        except BaseException as another:
            if not is_of_handler(another):
                raise
            # A second signal, when main waits and the hub goes on.
            self.raise_soon(another)

    def print_exception(
        self,
        context: object,
        type: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Print a traceback, the time and what failed to :attr:`exception_stream`. If that fails, nothing is raised."""
        stream = self.exception_stream
        if stream is None:
            return
        try:
            stream.write(_report(context, type, value, tb))
        except (OSError, ValueError):
            pass  # the stream is closed or broken, and there is no other to report that to
        except Exception as failure:
            last_words(context, value, failure)


hub_class[:] = [Hub]


def set_hub_class(cls: Any) -> None:
    """Use ``cls``, a subclass of :class:`Hub`, for hubs that are made from now on.

    :raises TypeError: ``cls`` is no subclass.
    """
    if not (isinstance(cls, type) and issubclass(cls, Hub)):
        raise TypeError(f"a hub class derives from hubbub.hub.Hub; {cls!r} does not")
    hub_class[:] = [cls]


def _main_greenlet() -> greenlet:
    main: greenlet | None = getcurrent()
    while main is not None and main.parent is not None:
        main = main.parent
    return main or getcurrent()


def _is_ours(frame: FrameType | None) -> bool:
    """Whether ``frame`` is one of hubbub's, whose code may have been interrupted in the middle of a change."""
    name = "" if frame is None else frame.f_globals.get("__name__", "")
    return isinstance(name, str) and (name == "hubbub" or name.startswith(("hubbub.", "hubbub_")))


def _report(
    context: object, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None
) -> str:
    lines = traceback.format_exception(kind, value, tb) if value is not None else []
    if context is not None:
        stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        what = context if isinstance(context, str) else _shown(context)
        lines.append(f"{stamp} {what} failed with {getattr(kind, '__name__', 'an exception')}\n\n")
    return "".join(lines)


def _shown(context: object) -> str:
    try:
        return repr(context)
    except Exception as error:
        return f"<{type(context).__name__} whose repr failed with {type(error).__name__}>"


class _Pauses:
    """What :func:`sleep` does, as a method: only methods have twins."""

    __slots__ = ()

    @twin("sleep.c")
    def pause(self, seconds: float, ref: bool) -> None:
        """See :func:`sleep`."""
        hub = get_hub()
        loop = hub.loop
        current = getcurrent()
        switch = current.switch if current is not hub else hub.resume
        try:
            yields = seconds <= 0
        except TypeError:
            as_seconds(seconds)  # says what is wrong
            raise
        if yields:
            if current is hub.runner:
                _yield_in_callback(hub, current)
                return
            loop.ready.append(switch)
            try:
                hub.switch()
            except BaseException:
                loop.unschedule(switch)
                raise
            return
        began = loop.time  # noqa: F841  # read by hubbub.inspect
        key = loop.call_later(seconds, switch, 0.0, ref)
        try:
            hub.switch()
            if loop.timer_runs(key, switch):
                hub.wait_while(partial(loop.timer_runs, key, switch))
        except BaseException:
            loop.cancel_later(key, switch)
            raise


_pauses = _Pauses()


def sleep(seconds: float = 0, ref: bool = True) -> None:
    """Let other greenlets run for at least ``seconds``; 0 or less yields once.

    :param ref: whether the wait keeps the loop from ending.
    """
    _pauses.pause(seconds, ref)


def _yield_in_callback(hub: Hub, current: Any) -> None:
    waits = [True]

    def resume() -> None:
        waits.clear()
        current.resume()

    hub.loop.ready.append(resume)
    hub.wait_while(lambda: waits)


def idle(priority: int = 0) -> None:
    """Wait until the loop has nothing else to do at this priority or above."""
    hub = get_hub()
    watcher = hub.loop.idle(priority=priority)
    try:
        hub.wait(watcher)
    finally:
        watcher.close()


def spawn_raw(function: Callable[P, Any], *args: P.args, **kwargs: P.kwargs) -> greenlet:
    """Make a raw greenlet that starts soon. It cannot be joined; its failure is reported.

    :raises TypeError: ``function`` is not callable.
    """
    check_function(function)
    hub = get_hub()
    new = greenlet(partial(function, **kwargs) if kwargs else function, hub)
    if args:
        hub.loop.run_callback(new.switch, *args)
    else:
        hub.loop.ready.append(new.switch)
    return new


def reinit(hub: Hub | None = None) -> None:
    """In the child after a fork: make the thread's hub, if there is one, work there. Nothing of the parent goes on.

    :func:`os.fork` does this by itself; a second call does nothing.
    """
    hub = hub if hub is not None else get_hub_if_exists()
    if hub is not None and not hub._destroyed and hub._pid != os.getpid():
        hub._start_in_child()


def _after_fork_in_child() -> None:
    reinit(drop_foreign_hubs())


at_fork(in_child=_after_fork_in_child)
