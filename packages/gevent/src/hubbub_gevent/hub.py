"""gevent.hub on hubbub."""

from __future__ import annotations

import sys
from typing import Any

from greenlet import GreenletExit, getcurrent, greenlet
from hubbub import hub as _hub
from hubbub import lowlevel
from hubbub.exceptions import (
    BlockingSwitchOutError,
    ConcurrentObjectUseError,
    HubDestroyed,
    InvalidSwitchError,
    InvalidThreadUseError,
    LoopExit,
)
from hubbub.greenlet import iwait, wait
from hubbub.hub import reinit as _reinit
from hubbub.hub import spawn_raw as _spawn_raw
from hubbub.loop.base import BaseLoop
from hubbub.signal import SignalHandler

from hubbub_gevent._config import config
from hubbub_gevent._ident import IdentRegistry

__all__ = [
    "BlockingSwitchOutError",
    "ConcurrentObjectUseError",
    "GreenletExit",
    "Hub",
    "HubDestroyed",
    "InvalidSwitchError",
    "InvalidThreadUseError",
    "LoopExit",
    "Waiter",
    "get_hub",
    "get_hub_class",
    "get_hub_if_exists",
    "get_hub_noargs",
    "get_loop",
    "getcurrent",
    "idle",
    "iwait",
    "kill",
    "loop",
    "reinit",
    "set_default_hub_class",
    "set_hub",
    "signal",
    "sleep",
    "spawn_raw",
    "wait",
]

_NONE: Any = object()
_main_ident: list[int] = []
idle = _hub.idle
_sleep = _hub.sleep


class Hub(_hub.Hub):
    """gevent's hub: :class:`hubbub.hub.Hub` with the attributes that gevent's users know."""

    threadpool_size = 10
    periodic_monitoring_thread: Any = None

    def __init__(self, loop: Any = None, default: Any = None) -> None:
        super().__init__(loop)
        self.ident_registry = IdentRegistry()
        self.minimal_ident = _hub_idents.get_ident(self)

    @property
    def main_hub(self) -> bool:
        """Whether this is the hub of the main thread."""
        return self.thread_ident == _main_thread_ident()

    @property
    def WAITS_FOR_THREADS(self) -> bool:  # type: ignore[override]  # hubbub's is a constant
        """In the main thread LoopExit is raised as soon as nothing on its own loop is left."""
        return not self.main_hub

    @property
    def loop_class(self) -> Any:
        """The class of loops."""
        return config.loop

    @property
    def backend(self) -> Any:
        """What was asked of the loop."""
        return config.libev_backend

    @property
    def resolver_class(self) -> Any:
        """The class of resolvers."""
        return config.resolver

    @property
    def threadpool_class(self) -> Any:
        """The class of thread pools."""
        from hubbub_gevent.threadpool import ThreadPool

        return ThreadPool

    @property
    def threadpool(self) -> Any:
        """The thread pool; made on first use, assignable and deletable."""
        if self._threadpool is None:
            self._threadpool = self.threadpool_class(
                self.threadpool_size, hub=self, idle_task_timeout=config.threadpool_idle_task_timeout
            )
        return self._threadpool

    @threadpool.setter
    def threadpool(self, pool: Any) -> None:
        self._threadpool = pool

    @threadpool.deleter
    def threadpool(self) -> None:
        self._threadpool = None

    @property
    def format_context(self) -> Any:
        """Shows the context of an error."""
        return config.format_context

    def _normalize_exception(self, type: Any, value: Any, tb: Any) -> tuple[Any, Any, Any]:
        if type is not None and not isinstance(value, BaseException):
            value = type() if value is None else type(value)
        return type, value, tb

    def start_periodic_monitoring_thread(self) -> Any:
        """Start the thread that watches this hub; the same one each time."""
        if self.periodic_monitoring_thread is None:
            from hubbub_gevent._monitor import PeriodicMonitoringThread

            self.periodic_monitoring_thread = PeriodicMonitoringThread(self)
        return self.periodic_monitoring_thread

    def wait(self, watcher: Any) -> None:
        """Wait for one event of ``watcher``.

        :raises InvalidSwitchError: somebody else switched here.
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
        """Make who waits for ``watcher`` fail with ``error``."""
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
        """Make who waits for any of ``watchers`` fail, close them, and call ``then``."""
        self.loop.run_callback(self._cancel_waits_then, list(watchers), exc_kind, then, then_args)

    def _cancel_waits_then(self, watchers: Any, exc_kind: Any, then: Any, then_args: Any) -> None:
        for watcher in watchers:
            self._cancel_wait(watcher, exc_kind, True)
        then(*then_args)


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


def get_hub(*args: Any, **kwargs: Any) -> Any:
    """The hub of this thread; made if there is none yet."""
    return lowlevel.get_hub()


get_hub_noargs = lowlevel.get_hub


def get_hub_if_exists() -> Any:
    """The hub of this thread, or None."""
    return lowlevel.get_hub_if_exists()


_get_hub = get_hub_if_exists


set_hub = lowlevel.set_hub


def get_hub_class() -> Any:
    """The class of hubs to come."""
    return _hub_class[0]


_hub_class: list[Any] = [Hub]


def set_default_hub_class(cls: Any) -> None:
    """Use ``cls`` for hubs to come."""
    lowlevel.set_hub_class(cls)
    _hub_class[0] = cls


def get_loop() -> Any:
    """The loop of this thread."""
    return get_hub().loop


def sleep(seconds: float = 0, ref: bool = True) -> None:
    """Let others run for at least ``seconds``; 0 or less yields once.

    :raises InvalidSwitchError: somebody else switched here.
    """
    hub = get_hub()
    if seconds <= 0:
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
    """A bare greenlet, started soon.

    :raises TypeError: ``function`` is not callable.
    """
    if not callable(function):
        raise TypeError("function must be callable")
    new = _spawn_raw(function, *args, **kwargs)
    if config.track_greenlet_tree:
        from hubbub_gevent.greenlet import track_raw

        track_raw(new)
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
    """Call a function in a new greenlet whenever a signal arrives; does not keep the loop from ending."""

    greenlet_class: Any = None

    def __init__(self, signalnum: int, handler: Any, *args: Any, **kwargs: Any) -> None:
        if not callable(handler):
            raise TypeError("signal handler must be callable.")
        super().__init__(signalnum, handler, *args, **kwargs)


class Waiter:
    """The low-level place where one greenlet waits for one value. Only the hub may switch into it."""

    __slots__ = ["_exception", "greenlet", "hub", "value"]

    def __init__(self, hub: Any = None) -> None:
        self.hub = hub if hub is not None else get_hub()
        self.greenlet: Any = None
        self.value: Any = None
        self._exception: Any = _NONE

    def clear(self) -> None:
        """As new."""
        self.greenlet = None
        self.value = None
        self._exception = _NONE

    def __str__(self) -> str:
        if self._exception is _NONE:
            return f"<{type(self).__name__} greenlet={self.greenlet}>"
        if self._exception is None:
            return f"<{type(self).__name__} value={self.value!r}>"
        return f"<{type(self).__name__} exc_info={self.exc_info}>"

    def ready(self) -> bool:
        """Whether there is a value or an error."""
        return self._exception is not _NONE

    def successful(self) -> bool:
        """Whether there is a value."""
        return self._exception is None

    @property
    def exc_info(self) -> Any:
        """The error thrown in."""
        return self._exception if self._exception is not _NONE else None

    def switch(self, value: Any) -> None:
        """From the hub: hand ``value`` to the greenlet that waits, or keep it."""
        target = self.greenlet
        if target is None:
            self.value = value
            self._exception = None
            return
        if getcurrent() is not self.hub:
            raise AssertionError("Can only use Waiter.switch method from the Hub greenlet")
        try:
            target.switch(value)
        except BaseException:
            get_hub().handle_error(target.switch, *sys.exc_info())

    def switch_args(self, *args: Any) -> None:
        """The same with a tuple."""
        self.switch(args)

    def throw(self, *throw_args: Any) -> None:
        """From the hub: raise an error in the greenlet that waits, or keep it."""
        target = self.greenlet
        if target is None:
            self._exception = throw_args
            return
        if getcurrent() is not self.hub:
            raise AssertionError("Can only use Waiter.switch method from the Hub greenlet")
        try:
            target.throw(*throw_args)
        except BaseException:
            get_hub().handle_error(target.throw, *sys.exc_info())

    def get(self) -> Any:
        """The value; raises the error. Waits if there is neither."""
        if self._exception is not _NONE:
            if self._exception is None:
                return self.value
            return greenlet.throw(getcurrent(), *self._exception)
        if self.greenlet is not None:
            raise ConcurrentObjectUseError(f"This Waiter is already used by {self.greenlet!r}")
        self.greenlet = getcurrent()
        try:
            return self.hub.switch()
        finally:
            self.greenlet = None

    def __call__(self, source: Any) -> None:
        """As a link: take over the result of ``source``."""
        if source.exception is None:
            self.switch(source.value)
        else:
            self.throw(source.exception)


loop = BaseLoop
