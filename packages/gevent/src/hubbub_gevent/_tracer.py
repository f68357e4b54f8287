"""gevent._tracer on hubbub: watching greenlet switches from another thread, through :func:`greenlet.settrace`."""

from __future__ import annotations

import sys
import traceback
from datetime import UTC, datetime
from time import perf_counter
from typing import Any

from greenlet import getcurrent, gettrace, settrace

__all__ = ["GreenletTracer", "HubSwitchTracer", "MaxSwitchTracer"]


class GreenletTracer:
    """Counts the switches of the thread that makes it, until :meth:`kill`. An earlier tracer is still called."""

    def __init__(self) -> None:
        self.greenlet_switch_counter = 0
        self.active_greenlet: Any = None
        self.previous_trace_function: Any = gettrace()
        self._seen = -1
        self._killed = False
        settrace(self)

    def __call__(self, event: str, args: Any) -> None:
        """The trace function."""
        self._trace(event, args)
        previous = self.previous_trace_function
        if previous is not None:
            previous(event, args)

    def _trace(self, event: str, args: Any) -> None:
        self.greenlet_switch_counter += 1
        self.active_greenlet = args[1] if event in ("switch", "throw") else None

    def did_block_hub(self, hub: Any) -> Any:
        """Whether the same greenlet has run ever since the last call.

        :returns: ``(True, greenlet)``, or something false.
        """
        active, switches = self.active_greenlet, self.greenlet_switch_counter
        same = switches == self._seen
        self._seen = switches
        return (True, active) if same and active is not None and active is not _runner(hub) else False

    def ignore_current_greenlet_blocking(self) -> None:
        """Do not report the greenlet that runs, until the next switch."""
        self.active_greenlet = None

    def monitor_current_greenlet_blocking(self) -> None:
        """Undo :meth:`ignore_current_greenlet_blocking`."""
        self.active_greenlet = getcurrent()

    def did_block_hub_report(self, hub: Any, active_greenlet: Any, format_kwargs: dict[str, Any]) -> list[str]:
        """Lines that tell which greenlet blocks, and what all others are doing."""
        from hubbub_gevent.util import format_run_info

        frame = sys._current_frames().get(hub.thread_ident)
        stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        lines = [
            "=" * 80,
            f"\n{stamp} : Greenlet {active_greenlet} appears to be blocked",
            f"    Reported by {self}",
            f"Blocked Stack (for thread id {hub.thread_ident:#x}):",
            "".join(traceback.format_stack(frame)) if frame is not None else "    (not running)",
            "Info:",
        ]
        return lines + format_run_info(**format_kwargs)

    def kill(self) -> None:
        """Stop, and put back the earlier tracer. Called in the thread that made this one."""
        if not self._killed:
            self._killed = True
            current: Any = gettrace()
            if current is self:
                settrace(self.previous_trace_function)
            self.previous_trace_function = self.active_greenlet = None


def _runner(hub: Any) -> Any:
    """The greenlet that runs the loop: ``hub``, or a stand-in while a callback waits."""
    return getattr(hub, "runner", hub)


class HubSwitchTracer(GreenletTracer):
    """Tells whether the hub was not entered for more than ``max_blocking_time`` seconds."""

    def __init__(self, hub: Any, max_blocking_time: float) -> None:
        self.hub = hub
        self.max_blocking_time = max_blocking_time
        self.last_entered_hub = 0.0
        super().__init__()

    def _trace(self, event: str, args: Any) -> None:
        super()._trace(event, args)
        if self.active_greenlet is _runner(self.hub):
            self.last_entered_hub = perf_counter()

    def did_block_hub(self, hub: Any) -> Any:
        """See the class."""
        if perf_counter() - self.last_entered_hub > self.max_blocking_time:
            return True, self.active_greenlet
        return None


class MaxSwitchTracer(GreenletTracer):
    """Tells whether the longest time between two switches was more than ``max_blocking_time`` seconds."""

    def __init__(self, hub: Any, max_blocking_time: float) -> None:
        self.hub = hub
        self.max_blocking_time = max_blocking_time
        self.max_blocking = 0.0
        self.last_switch = perf_counter()
        super().__init__()

    def _trace(self, event: str, args: Any) -> None:
        now = perf_counter()
        self.max_blocking = max(self.max_blocking, now - self.last_switch)
        self.last_switch = now
        super()._trace(event, args)

    def did_block_hub(self, hub: Any) -> Any:
        """See the class."""
        if max(self.max_blocking, perf_counter() - self.last_switch) > self.max_blocking_time:
            return True, self.active_greenlet
        return None
