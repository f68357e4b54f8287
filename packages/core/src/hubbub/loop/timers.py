"""The timers of a loop: a heap of ``[deadline, sequence, callback, repeat, ref]``, and its clock.

A stopped timer stays in the heap with None for a callback until it comes up or too many of them do.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from time import monotonic
from typing import Any

from hubbub.abc import Loop

__all__ = ["Timers"]


class Timers(Loop):
    """The part of a loop that knows what time it is, and what is due."""

    # Beside the __dict__ of Loop.
    __slots__ = ("_heap", "_sequence", "_stopped", "_unref", "ready", "time")

    _heap: list[list[Any]]
    _sequence: int
    _stopped: int  # how many in the heap are
    _unref: int  # how many do not keep the loop from ending
    ready: deque[Callable[[], Any]]
    time: float

    def call_later(self, after: float, callback: Callable[[], Any], repeat: float = 0.0, ref: bool = True) -> Any:
        """Queue ``callback`` in ``after`` seconds, then every ``repeat`` seconds unless 0.

        The cheap form of :meth:`timer`, for those who wait.

        :returns: a key for :meth:`cancel_later`.
        :raises ValueError: ``after`` is NaN.
        """
        deadline = monotonic() + after
        if deadline != deadline:
            raise ValueError("a time in seconds cannot be NaN")
        self._sequence += 1
        entry = [deadline, self._sequence, callback, repeat, ref]
        heappush(self._heap, entry)
        if not ref:
            self._unref += 1
        return entry

    def cancel_later(self, key: Any, callback: Callable[[], Any]) -> None:
        """Stop a timer; if it has fired already, take its callback (the same object) out of the run queue."""
        if key[2] is callback:
            key[2] = None
            if not key[4]:
                self._unref -= 1
            if self._heap[-1] is key:  # the latest deadline, as with most time limits: nothing is below it
                self._heap.pop()
                return
            self._stopped += 1
            if self._stopped > 64 and self._stopped * 2 > len(self._heap):
                self._sweep()
        elif self.ready:
            self.unschedule(callback)

    def unschedule(self, callback: Callable[[], Any]) -> None:
        """Take ``callback`` out of the run queue, if it is there."""
        try:
            self.ready.remove(callback)
        except ValueError:
            pass

    def timer_runs(self, key: Any, callback: Callable[[], Any]) -> bool:
        """Whether the timer that was started with ``callback`` is still running."""
        return key[2] is callback

    def ref_timer(self, key: Any, ref: bool) -> None:
        """Let a running timer count, or not, as a reason to go on."""
        if key[4] != ref:
            key[4] = ref
            self._unref += -1 if ref else 1

    def timer_count(self) -> int:
        """How many timers are running."""
        return len(self._heap) - self._stopped

    def _timers_alive(self) -> bool:
        return self.timer_count() > self._unref

    def _sweep(self) -> None:
        self._heap[:] = [entry for entry in self._heap if entry[2] is not None]
        heapify(self._heap)
        self._stopped = 0

    def _time_left(self) -> float:
        """Seconds until the next timer; negative: there is none."""
        heap = self._heap
        while heap:
            if heap[0][2] is None:
                heappop(heap)
                self._stopped -= 1
                continue
            left: float = heap[0][0] - monotonic()
            return left if left > 0.0 else 0.0
        return -1.0

    def _expire(self) -> None:
        """Queue the callbacks of the timers that are due."""
        heap, ready = self._heap, self.ready
        self.time = now = monotonic()
        while heap and heap[0][0] <= now:
            entry = heappop(heap)
            callback = entry[2]
            if callback is None:
                self._stopped -= 1
                continue
            ready.append(callback)
            if entry[3]:
                entry[0] = max(entry[0] + entry[3], now)
                self._sequence += 1
                entry[1] = self._sequence
                heappush(heap, entry)
                if entry[0] <= now:  # it lags behind: once a turn
                    return
            else:
                entry[2] = None
                if not entry[4]:
                    self._unref -= 1

    def now(self) -> float:
        """The time of the last poll or :meth:`update_now`, in seconds of :func:`time.monotonic`."""
        return self.time

    def update_now(self) -> float:
        """Read the clock."""
        self.time = monotonic()
        return self.time
