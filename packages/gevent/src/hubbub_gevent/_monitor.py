"""The thread that watches a hub: ``hub.start_periodic_monitoring_thread()``."""

from __future__ import annotations

import sys
import time
from _thread import start_new_thread
from collections.abc import Callable
from typing import Any

from greenlet import gettrace, settrace
from zope.event import notify  # type: ignore[import-untyped]  # no types
from zope.interface import implementer  # type: ignore[import-untyped]  # no types

from hubbub_gevent._config import config
from hubbub_gevent.events import (
    EventLoopBlocked,
    IPeriodicMonitorThread,
    PeriodicMonitorThreadStartedEvent,
    notify_and_call_entry_points,
)

__all__ = ["PeriodicMonitoringThread"]

_start = start_new_thread
_sleep, _monotonic = time.sleep, time.monotonic


@implementer(IPeriodicMonitorThread)
class PeriodicMonitoringThread:
    """Calls functions every so often in a native thread; the first tells when the hub is blocked."""

    inactive_sleep_time = 2.0
    min_sleep_time = 0.005

    def __init__(self, hub: Any) -> None:
        self.hub = hub
        self.should_run = True
        self._functions: list[tuple[Callable[[Any], Any], float, list[float]]] = []
        self._switches = 0
        self._seen = -1
        self._active: Any = None
        self._ignored: Any = None
        self._previous = gettrace()
        settrace(self._switched)
        self.add_monitoring_function(self.monitor_blocking, config.max_blocking_time)
        _start(self._run, ())
        notify_and_call_entry_points(PeriodicMonitorThreadStartedEvent(self))

    def _switched(self, event: Any, args: Any) -> None:
        self._switches += 1
        self._active = args[1]
        if self._previous is not None:
            self._previous(event, args)

    def add_monitoring_function(self, function: Callable[[Any], Any], period: float | None) -> None:
        """Call ``function(hub)`` every ``period`` seconds, in the monitor's thread; None: no more.

        :raises ValueError: not a positive number.
        """
        if not callable(function):
            raise ValueError("function must be callable")
        if period is None:
            self._functions = [entry for entry in self._functions if entry[0] != function]
        elif period <= 0:
            raise ValueError("period must be positive")
        else:
            self._functions.append((function, period, [_monotonic() + period]))

    def monitoring_functions(self) -> list[Any]:
        """What is called."""
        return list(self._functions)

    def monitor_blocking(self, hub: Any) -> Any:
        """Whether the same greenlet has run since the last look; prints its stack if so."""
        same = self._switches == self._seen
        self._seen = self._switches
        if not same or self._active in (None, hub, self._ignored):
            return None
        event = EventLoopBlocked(self._active, config.max_blocking_time, [repr(hub)], hub=hub)
        notify(event)
        if config.print_blocking_reports:
            frame = sys._current_frames().get(hub.thread_ident)
            sys.stderr.write(f"{hub!r} is blocked by {self._active!r} at {frame!r}\n")
        return event

    def ignore_current_greenlet_blocking(self) -> None:
        """Say nothing of the current greenlet."""
        self._ignored = self._active

    def monitor_current_greenlet_blocking(self) -> None:
        """Undo :meth:`ignore_current_greenlet_blocking`."""
        self._ignored = None

    def can_monitor_memory_usage(self) -> bool:
        """Not done."""
        return False

    def install_monitor_memory_usage(self) -> None:
        """Not done."""

    def kill(self) -> None:
        """End the thread."""
        if self.should_run:
            self.should_run = False
            settrace(self._previous)

    def _run(self) -> None:
        while self.should_run:
            now = _monotonic()
            for function, period, due in list(self._functions):
                if now >= due[0]:
                    due[0] = now + period
                    function(self.hub)
            wait = min((due[0] for _, _, due in self._functions), default=now + self.inactive_sleep_time) - now
            _sleep(max(self.min_sleep_time, wait))
