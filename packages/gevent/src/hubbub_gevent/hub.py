"""gevent.hub on hubbub."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from operator import methodcaller
from typing import Any, ClassVar

from greenlet import GreenletExit, getcurrent
from hubbub import hub as _hub
from hubbub import lowlevel
from hubbub.exceptions import BlockingSwitchOutError as BlockingSwitchOutError
from hubbub.exceptions import ConcurrentObjectUseError as ConcurrentObjectUseError
from hubbub.exceptions import HubDestroyed as HubDestroyed
from hubbub.exceptions import InvalidSwitchError as InvalidSwitchError
from hubbub.exceptions import InvalidThreadUseError as InvalidThreadUseError
from hubbub.exceptions import LoopExit as LoopExit
from hubbub.greenlet import Greenlet as _Greenlet
from hubbub.hub import idle as idle
from hubbub.hub import reinit as _reinit
from hubbub.hub import set_hub as set_hub
from hubbub.hub import spawn_raw as _spawn_raw
from hubbub.loop.base import BaseLoop
from hubbub.lowlevel import native_local
from hubbub.signal import SignalHandler
from hubbub.waiting import iwait as iwait
from hubbub.waiting import wait as wait
from hubbub_monkey import get_original
from hubbub_monkey.threads import natives_run

from hubbub_gevent._config import Config, config
from hubbub_gevent._ident import IdentRegistry
from hubbub_gevent._loop import loop_class
from hubbub_gevent._spawning import track
from hubbub_gevent._waiter import Waiter

__all__ = [
    "GreenletExit",
    "Hub",
    "Waiter",
    "get_hub",
    "getcurrent",
    "kill",
    "reinit",
    "signal",
    "sleep",
    "spawn_raw",
]

_main_ident: list[int] = []
_kept = native_local()
"""The loop that a destroyed hub of this thread has left."""
_get_ident = get_original("_thread", "get_ident")
_sleep = _hub.sleep


class Hub(_hub.Hub):
    """gevent's hub: :class:`hubbub.hub.Hub` with the attributes that gevent's users know."""

    threadpool_size = 10
    periodic_monitoring_thread: Any = None
    loop: Any = None
    name: Any = ""
    ident_registry: Any = None
    thread_ident: Any = None

    def __init__(self, loop: Any = None, default: Any = None) -> None:
        kept = _take_kept_loop() if loop is None else None
        super().__init__(kept or self._new_loop(loop))
        self.ident_registry = IdentRegistry()
        self.minimal_ident: int = _hub_idents.get_ident(self)

    def run(self) -> None:
        """Turn the loop, watched by a monitor if ``config.monitor_thread`` says so."""
        self.start_periodic_monitoring_thread()
        super().run()

    def _new_loop(self, loop: Any) -> Any:
        if isinstance(loop, BaseLoop):
            return loop
        cls = loop_class(lowlevel.loop_class(loop)) if loop is not None else self.loop_class
        return cls(self.backend, _get_ident() == _main_thread_ident())

    def __repr__(self) -> str:
        loop = self.__dict__.get("loop")
        state = "destroyed" if self.destroyed or loop is None else f"{getattr(loop, 'backend', loop.name)}"
        if loop is not None and not self.destroyed:
            state += f"{' default' if loop.default else ''} pending={loop.pendingcnt} ref={loop.activecnt}"
        return f"<{type(self).__name__} {self.name!r} at {id(self):#x} {state} thread_ident={self.thread_ident:#x}>"

    PRINTS_FOR_MAIN: ClassVar[bool] = True  # as gevent does

    @property
    def main_hub(self) -> bool:
        """Whether this is the hub of the main thread."""
        ident: int = self.thread_ident
        return ident == _main_thread_ident()

    @property
    def WAITS_FOR_THREADS(self) -> bool:  # type: ignore[override]  # hubbub's is a constant
        """Whether the hub waits for other threads to wake it. The main thread's does so only while threads run that
        patching has left native, of which gevent has none; else it raises LoopExit once its loop has nothing left.
        """
        return not self.main_hub or natives_run()

    @property
    def loop_class(self) -> Any:
        """The class of loops."""
        return config.loop

    @property
    def backend(self) -> Any:
        """The backend that was asked for."""
        return config.libev_backend

    @property
    def resolver_class(self) -> Any:
        """The class of resolvers."""
        return config.resolver

    @property
    def threadpool_class(self) -> Any:
        """The class of thread pools."""
        return config.threadpool

    def _new_resolver(self) -> Any:
        return self.resolver_class(hub=self)

    def _new_threadpool(self) -> Any:
        timeout = config.threadpool_idle_task_timeout
        return self.threadpool_class(self.threadpool_size, hub=self, idle_task_timeout=timeout)

    resolver: Any = lowlevel.HubLocal(
        "Who looks up names; made on first use, assignable and deletable.",
        _new_resolver,
        end=methodcaller("close"),
        renew=methodcaller("reinit"),
    )
    threadpool: Any = lowlevel.HubLocal(
        "The thread pool; made on first use, assignable and deletable.", _new_threadpool, end=methodcaller("kill")
    )

    @property
    def format_context(self) -> Any:
        """Shows the context of an error."""
        return self.__dict__.get("_format_context") or config.format_context

    @format_context.setter
    def format_context(self, function: Any) -> None:
        self.__dict__["_format_context"] = function

    def destroy(self, destroy_loop: bool | None = None) -> None:
        """End the hub. The main thread's loop is kept, for the next hub, unless ``destroy_loop`` is true."""
        if self.destroyed:
            return
        loop = self.loop
        if destroy_loop is None:
            destroy_loop = not loop.default
        if self.periodic_monitoring_thread is not None:
            self.periodic_monitoring_thread.kill()
            self.periodic_monitoring_thread = None
        super().destroy(destroy_loop)
        if not destroy_loop:
            _kept.loop = loop, os.getpid()

    def switch_out(self) -> None:
        """Never called by hubbub: code in the hub may wait, and a stand-in runs the loop meanwhile.

        :raises BlockingSwitchOutError: always, as in gevent.
        """
        raise BlockingSwitchOutError("Impossible to call blocking function in the event loop callback")

    def print_exception(self, context: Any, t: Any, v: Any, tb: Any) -> None:
        """Print what failed to ``exception_stream``; see :meth:`hubbub.hub.Hub.print_exception`."""
        super().print_exception(context, t, v, tb)

    def _normalize_exception(self, type: Any, value: Any, tb: Any) -> tuple[Any, Any, Any]:
        if type is not None and not isinstance(value, BaseException):
            value = type() if value is None else type(value)
        return type, value, tb

    def start_periodic_monitoring_thread(self) -> Any:
        """Start the thread that watches this hub, if ``config.monitor_thread`` says so; the same one each time."""
        if self.periodic_monitoring_thread is None and config.monitor_thread:
            from hubbub_gevent._monitor import PeriodicMonitoringThread

            self.periodic_monitoring_thread = PeriodicMonitoringThread(self)
        return self.periodic_monitoring_thread

    def wait(self, watcher: Any) -> None:
        """Wait for one event of ``watcher``.

        :raises InvalidSwitchError: something other than the watcher switched to this greenlet.
        """
        waiter = Waiter(self)
        watcher.start(waiter.switch, waiter)
        try:
            result = waiter.get()
            if result is not waiter:
                raise InvalidSwitchError(
                    f"Invalid switch into {getcurrent()!r}: got {result!r} (expected {waiter!r}; "
                    f"waiting on {self!r} with {watcher!r})"
                )
        finally:
            watcher.stop()

    def cancel_wait(self, watcher: Any, error: Any, close_watcher: bool = False) -> None:
        """Throw ``error`` into the greenlet that waits for ``watcher``."""
        self.loop.run_callback(self._cancel_wait, watcher, error, close_watcher)

    @staticmethod
    def _cancel_wait(watcher: Any, error: Any, close_watcher: bool) -> None:
        active = watcher.active
        callback = getattr(watcher, "callback", None)
        if close_watcher:
            watcher.close()
        if active and callback is not None:
            waiter = getattr(callback, "__self__", None)
            if waiter is not None:
                waiter.throw(error)

    def cancel_waits_close_and_then(self, watchers: Any, exc_kind: Any, then: Any, *then_args: Any) -> None:
        """Throw an error into the greenlets that wait for ``watchers``, close the watchers, and call ``then``."""
        self.loop.run_callback(self._cancel_waits_then, list(watchers), exc_kind, then, then_args)

    def _cancel_waits_then(self, watchers: Any, exc_kind: Any, then: Any, then_args: Any) -> None:
        for watcher in watchers:
            self._cancel_wait(watcher, exc_kind, True)
        then(*then_args)


def _take_kept_loop() -> Any:
    """The loop that a destroyed hub of this thread has left, or None."""
    loop, pid = _kept.__dict__.pop("loop", (None, 0))
    if loop is None or loop.destroyed:
        return None
    if pid != os.getpid():
        loop.reinit()
    return loop


class _Idents:
    """Small numbers for hubs, used again when a hub is gone."""

    def __init__(self) -> None:
        self.registry = IdentRegistry()

    def get_ident(self, hub: Any) -> int:
        """The number of ``hub``."""
        return self.registry.get_ident(hub)


_hub_idents = _Idents()


def _main_thread_ident() -> int | None:
    if not _main_ident:
        import threading

        ident = threading.main_thread().ident
        if ident is not None:
            _main_ident.append(ident)
    return _main_ident[0] if _main_ident else None


lowlevel.set_hub_class(Hub)


get_hub: Any = lowlevel.get_hub
get_hub_noargs: Any = lowlevel.get_hub


def get_hub_if_exists() -> Any:
    """The hub of this thread, or None."""
    return lowlevel.get_hub_if_exists()


_get_hub = get_hub_if_exists


def get_hub_class() -> Any:
    """The class of hubs that are made from now on."""
    return _hub_class[0]


_hub_class: list[Any] = [Hub]


def set_default_hub_class(hubtype: Any) -> None:
    """Use ``hubtype`` for hubs that are made from now on."""
    lowlevel.set_hub_class(hubtype)
    _hub_class[0] = hubtype


def get_loop() -> Any:
    """The loop that a destroyed hub of this thread has left for the next hub, or None."""
    return getattr(_kept, "loop", (None, 0))[0]


def set_loop(loop: Any) -> None:
    """Set the loop that :func:`get_loop` returns."""
    _kept.loop = loop, os.getpid()


def sleep(seconds: float = 0, ref: bool = True) -> None:
    """Let others run for at least ``seconds``; 0 or less yields once.

    :raises InvalidSwitchError: something other than the timer switched to this greenlet.
    """
    hub = get_hub()
    try:
        at_once = seconds <= 0
    except TypeError:
        raise TypeError(f"sleep takes a number of seconds, not {seconds!r}") from None
    if at_once:
        waiter = Waiter(hub)
        call = hub.loop.run_callback(waiter.switch, waiter)
        try:
            result = waiter.get()
        finally:
            call.stop()
        if result is not waiter:
            raise InvalidSwitchError(f"Invalid switch into {getcurrent()!r}: got {result!r}")
        return
    hub.loop.update_now()
    with hub.loop.timer(seconds, ref=ref) as timer:
        hub.wait(timer)


def spawn_raw(function: Any, *args: Any, **kwargs: Any) -> Any:
    """Make a raw greenlet that starts soon.

    :raises TypeError: ``function`` is not callable.
    """
    if not callable(function):
        raise TypeError("function must be callable")
    new = _spawn_raw(function, *args, **kwargs)
    if config.track_greenlet_tree:
        track(new)
    return new


def kill(greenlet: Any, exception: Any = GreenletExit) -> None:
    """Kill ``greenlet`` without waiting."""
    if not greenlet.dead:
        if hasattr(greenlet, "kill"):
            greenlet.kill(exception=exception, block=False)
        else:
            get_hub().loop.run_callback(greenlet.throw, exception)


def reinit(hub: Any = None) -> None:
    """In the child after a fork."""
    _reinit(hub)


class signal(SignalHandler):
    """Call a function in a new greenlet whenever a signal arrives; does not keep the loop from ending.

    :raises TypeError: the handler is not callable.
    :raises ValueError: no such signal, or this is not the main thread.
    """

    greenlet_class: Any = _Greenlet
    """The class of the new greenlet; the module :mod:`gevent.greenlet` sets gevent's."""

    def __init__(self, signalnum: int, handler: Any, *args: Any, **kwargs: Any) -> None:
        if not callable(handler):
            raise TypeError("signal handler must be callable.")
        super().__init__(signalnum, handler, *args, **kwargs)

    def arrived(self) -> None:
        """Handle it in a new greenlet."""
        self.greenlet_class.spawn(self.handle)

    def handle(self) -> None:
        """Call the handler in the current greenlet. An error of the handler goes to the hub's error handler."""
        try:
            self.handler(*self.args, **self.kwargs)
        except BaseException:
            get_hub().handle_error(None, *sys.exc_info())


class linkproxy:
    """Calls ``callback(obj)``, whatever its own arguments are."""

    __slots__ = ["callback", "obj"]

    def __init__(self, callback: Callable[[Any], object], obj: Any) -> None:
        self.callback: Callable[[Any], object] = callback
        self.obj: Any = obj

    def __call__(self, *args: object) -> None:
        """Call it; the arguments are dropped."""
        self.callback(self.obj)


loop = BaseLoop
GEVENT_CONFIG: Config = config
WaitOperationsGreenlet = Hub
MAIN_THREAD_IDENT = _main_thread_ident()
get_thread_ident = _get_ident
