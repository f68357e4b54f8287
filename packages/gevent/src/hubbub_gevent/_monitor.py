"""The thread that watches a hub: ``hub.start_periodic_monitoring_thread()``."""

from __future__ import annotations

import importlib.util
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hubbub_monkey import get_original
from zope.event import notify  # type: ignore[import-untyped]  # no types

from hubbub_gevent._config import config
from hubbub_gevent._tracer import GreenletTracer
from hubbub_gevent._zope import implementer
from hubbub_gevent.events import (
    EventLoopBlocked,
    IPeriodicMonitorThread,
    MemoryUsageThresholdExceeded,
    MemoryUsageUnderThreshold,
    PeriodicMonitorThreadStartedEvent,
    notify_and_call_entry_points,
)

__all__ = ["MonitorWarning", "PeriodicMonitoringThread"]

_start_new_thread = get_original("_thread", "start_new_thread")
_sleep, _monotonic = get_original("time", ["sleep", "monotonic"])


class MonitorWarning(RuntimeWarning):
    """A quantity cannot be watched."""


@dataclass(eq=False)
class _Entry:
    """A function that is called every ``period`` seconds."""

    function: Callable[[Any], Any]
    period: float
    last_run_time: float


@implementer(IPeriodicMonitorThread)
class PeriodicMonitoringThread:
    """Calls functions periodically in a native thread; the first one reports when the hub is blocked.

    It goes on in a child process.
    """

    inactive_sleep_time = 2.0
    """Seconds to sleep when there is nothing to call."""
    min_sleep_time = 0.005
    """Seconds: the shortest sleep."""
    min_memory_monitor_period = 2
    """Seconds: the shortest time between two looks at the memory in use."""

    def __init__(self, hub: Any) -> None:
        self.hub = hub
        self.should_run = True
        self.pid = os.getpid()
        self._entries: list[_Entry] = []
        self._peak = 0
        self._process: Any = None
        self._tracer = GreenletTracer()
        if config.max_blocking_time:
            self.add_monitoring_function(self.monitor_blocking, config.max_blocking_time)
        if config.max_memory_usage:
            self.install_monitor_memory_usage()
        self.start()
        notify_and_call_entry_points(PeriodicMonitorThreadStartedEvent(self))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} at {id(self):#x} of {self.hub!r}>"

    def start(self) -> None:
        """Start the thread."""
        _start_new_thread(self, ())
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._goes_on_in_child)

    def _goes_on_in_child(self) -> None:
        if self.should_run and self.pid != os.getpid():
            self.pid = os.getpid()
            self._process = None
            _start_new_thread(self, ())

    # What is called -------------------------------------------------------------------------------------------------

    def add_monitoring_function(self, function: Callable[[Any], Any], period: float | None) -> None:
        """Call ``function(hub)`` every ``period`` seconds, in the monitor's thread; None stops that.

        :raises ValueError: ``function`` is not callable, or ``period`` is not a positive number.
        """
        if not callable(function):
            raise ValueError("function must be callable")
        if period is not None and period <= 0:
            raise ValueError("Period must be positive.")
        others = [entry for entry in self._entries if entry.function != function]
        new = [] if period is None else [_Entry(function, period, _monotonic())]
        self._entries = others + new

    def monitoring_functions(self) -> list[Any]:
        """The functions that are called, as objects with ``function``, ``period`` and ``last_run_time``."""
        return list(self._entries)

    def calculate_sleep_time(self) -> float:
        """Seconds to sleep before the thread looks again for functions that are due."""
        shortest = min((entry.period for entry in self._entries), default=self.inactive_sleep_time)
        return max(self.min_sleep_time, shortest)

    def __call__(self) -> None:
        """The body of the thread."""
        while self.should_run:
            now = _monotonic()
            for entry in self.monitoring_functions():
                if now - entry.last_run_time >= entry.period:
                    entry.last_run_time = now
                    try:
                        entry.function(self.hub)
                    except Exception as error:
                        self.hub.print_exception(entry.function, type(error), error, error.__traceback__)
            _sleep(self.calculate_sleep_time())

    def kill(self) -> None:
        """End the thread."""
        if self.should_run:
            self.should_run = False
            self._tracer.kill()

    # Blocking -------------------------------------------------------------------------------------------------------

    def monitor_blocking(self, hub: Any) -> Any:
        """Whether the same greenlet has run ever since the last call; if so, print its stack."""
        blocked = self._tracer.did_block_hub(hub)
        if not blocked:
            return None
        active = blocked[1]
        report = self._tracer.did_block_hub_report(hub, active, {"greenlet_stacks": False})
        event = EventLoopBlocked(active, config.max_blocking_time, report, hub=hub)
        notify(event)
        if config.print_blocking_reports and hub.exception_stream is not None:
            hub.exception_stream.write("\n".join([*report, ""]))
        return event

    def ignore_current_greenlet_blocking(self) -> None:
        """Do not report the current greenlet."""
        self._tracer.ignore_current_greenlet_blocking()

    def monitor_current_greenlet_blocking(self) -> None:
        """Undo :meth:`ignore_current_greenlet_blocking`."""
        self._tracer.monitor_current_greenlet_blocking()

    # Memory ---------------------------------------------------------------------------------------------------------

    def can_monitor_memory_usage(self) -> bool:
        """Whether the package psutil is installed."""
        return importlib.util.find_spec("psutil") is not None

    def install_monitor_memory_usage(self) -> None:
        """Watch the memory in use from now on; warn if that is impossible."""
        if not self.can_monitor_memory_usage():
            warnings.warn("Unable to monitor memory usage: the package psutil is missing", MonitorWarning, stacklevel=2)
            return
        period = max(config.memory_monitor_period or 0, self.min_memory_monitor_period)
        self.add_monitoring_function(self.monitor_memory_usage, period)

    def monitor_memory_usage(self, _hub: Any) -> Any:
        """Tell subscribers when the process uses more than ``config.max_memory_usage`` bytes, again while its use
        grows, and when it uses less again.

        :returns: the event; -1 if there is no limit; None.
        """
        limit = config.max_memory_usage
        if not limit:
            return -1
        if self._process is None:
            import psutil  # type: ignore[import-untyped,unused-ignore]  # optional; it may have types

            self._process = psutil.Process()
        info = self._process.memory_full_info()
        used = getattr(info, "uss", info.rss)
        if used > limit:
            if used <= self._peak:
                return None
            self._peak = used
            event: Any = MemoryUsageThresholdExceeded(used, limit, info)
        elif self._peak:
            event = MemoryUsageUnderThreshold(used, limit, info, self._peak)
            self._peak = 0
        else:
            return None
        notify(event)
        return event
