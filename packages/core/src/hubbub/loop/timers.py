"""The timers of a loop: a heap of ``[deadline, sequence, callback, repeat, ref]``, and its clock.

A stopped timer stays in the heap with None for a callback until its deadline comes up, or until too many stopped ones
are there. One that has fired is stopped, too, before its callback is queued. A timer counts (``ref``) while it is in
the heap with a callback, no longer.

A signal handler may start and stop timers between two bytecodes of these methods, that is after any call. So steps that
belong together have no call in between, or only one, as the last step.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from heapq import heapify, heappop, heappush, heapreplace
from itertools import compress, repeat
from operator import is_not, itemgetter
from typing import Any

from hubbub._originals import monotonic
from hubbub._twins import mirrored, twin

__all__ = ["SWEEP_ABOVE", "Timers"]

SWEEP_ABOVE = 64
"""How many stopped timers may lie in the heap, if they are fewer than the others."""
_callback_of = itemgetter(2)


class Timers:
    """Knows the time, and queues the callbacks that are due.

    A loop derives from it and does not hold one: that would make four calls of the two in each wait with a limit.
    """

    __slots__ = ("_heap", "_sequence", "_stopped", "_unref", "ready", "time")

    def __init__(self, ready: deque[Callable[[], Any]]) -> None:
        """:param ready: the run queue."""
        self.ready: deque[Callable[[], Any]] = ready
        self._heap: list[list[Any]] = []
        self._forget_timers()

    def _forget_timers(self) -> None:
        """Stop all for good: in the child after ``fork``, perhaps in the middle of one of these methods."""
        for entry in self._heap:
            entry[2] = None
        self._heap.clear()
        self._sequence: int = 0
        self._stopped: int = 0
        """How many timers in the heap are stopped."""
        self._unref: int = 0
        """How many running timers do not keep the loop from ending."""
        self.time: float = monotonic()
        """When the last poll ended, in seconds of :func:`time.monotonic`."""

    @twin("timers.c")
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
        if not ref:
            self._unref += 1
        heappush(self._heap, entry)
        return entry

    @twin("timers.c")
    def cancel_later(self, key: Any, callback: Callable[[], Any]) -> None:
        """Stop a timer; if it has fired already, take its callback (the same object) out of the run queue."""
        if key[3]:
            self.unschedule(callback)  # it may be in both places
        if key[2] is callback:
            key[2] = None
            if not key[4]:
                self._unref -= 1
            if self._heap[-1] is key:  # the latest deadline, as with most time limits: nothing is below it
                self._heap.pop()
                return
            self._stopped += 1
            if self._stopped > SWEEP_ABOVE and self._stopped * 2 > len(self._heap):
                self._sweep()
        elif self.ready:
            self.unschedule(callback)

    def moment(self) -> int:
        """A number greater than those of all timers that were started before, less than of all that come after."""
        self._sequence += 1
        return self._sequence

    def moment_of(self, key: Any) -> int:
        """The number of a timer, by its key. The numbers tell which of two things began first."""
        number: int = key[1]
        return number

    def unschedule(self, callback: Callable[[], Any]) -> None:
        """Take ``callback`` out of the run queue, if it is there."""
        try:
            self.ready.remove(callback)
        except ValueError:
            pass

    @mirrored("timers.c")
    def timer_runs(self, key: Any, callback: Callable[[], Any]) -> bool:
        """Whether the timer that was started with ``callback`` is still running."""
        return key[2] is callback

    def ref_timer(self, key: Any, ref: bool) -> None:
        """Let a timer count, or not, as a reason to go on. One that has fired or was stopped does not count anyhow."""
        if key[4] != ref:
            key[4] = ref
            if key[2] is not None:
                self._unref += -1 if ref else 1

    def timer_count(self) -> int:
        """How many timers are running."""
        return len(self._heap) - self._stopped

    def _timers_alive(self) -> bool:
        return self.timer_count() > self._unref

    def _sweep(self) -> None:
        heap = self._heap
        running = compress(heap, map(is_not, map(_callback_of, heap), repeat(None)))
        heap[:] = running  # one step of C code
        self._stopped = 0
        heapify(heap)

    def _time_left(self) -> float:
        """Seconds until the next timer; negative: there is none."""
        heap = self._heap
        while heap:
            if heap[0][2] is None:
                self._stopped -= 1
                heappop(heap)
                continue
            left: float = heap[0][0] - monotonic()
            return left if left > 0.0 else 0.0
        return -1.0

    @twin("timers.c")
    def _expire(self) -> None:
        """Queue the callbacks of the timers that are due."""
        heap, ready = self._heap, self.ready
        self.time = now = monotonic()
        while heap and heap[0][0] <= now:
            entry = heap[0]
            callback = entry[2]
            if callback is None:
                self._stopped -= 1
                heappop(heap)
            elif entry[3]:
                following = entry[0] + entry[3]
                entry[0] = following if following > now else now
                self._sequence += 1
                entry[1] = self._sequence
                heapreplace(heap, entry)
                if entry[2] is callback and callback not in ready:
                    ready.append(callback)
                if entry[0] <= now:  # it lags behind: once a turn
                    return
            else:
                entry[2] = None
                self._stopped += 1
                if not entry[4]:
                    self._unref -= 1
                ready.append(callback)

    def now(self) -> float:
        """The time of the last poll or :meth:`update_now`, in seconds of :func:`time.monotonic`."""
        return self.time

    def update_now(self) -> float:
        """Read the clock."""
        self.time = monotonic()
        return self.time
