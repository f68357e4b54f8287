"""A watchdog that notices when something keeps the hub from polling, and says what: ``HUBBUB_BLOCKING=0.1``."""

from __future__ import annotations

import faulthandler
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from hubbub._current import hub_made
from hubbub._frames import frame_of, split, stack_of
from hubbub._identity import Reduce, refuse_copies
from hubbub._kernel import activity
from hubbub._originals import monotonic
from hubbub._reports import complain, name_of
from hubbub._sidethread import SideThread
from hubbub.hub import Hub, get_hub, hubs
from hubbub.snapshot import runner_of
from hubbub.timeline import last_events

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["BlockingDetector", "BlockingReport", "watch_from_environment"]

_GIL_PATIENCE = 2.0
"""Seconds for which code may hold the GIL beyond the limit of a watchdog."""


@dataclass(frozen=True)
class BlockingReport:
    """One stretch in which a hub could not poll."""

    hub: Hub
    seconds: float
    """How long it had lasted when it was noticed."""
    stack: tuple[str, ...]
    """What the thread was doing then: ``file:line function``, innermost call last."""
    greenlet: str | None = None
    """The name of the greenlet that ran then; ``main``, or ``hub`` for a callback of the loop."""
    line: str | None = None
    """The innermost line outside hubbub, as ``file:line function``."""
    native: str | None = None
    """On Linux the system call that the thread is in, or ``computing``."""
    events: tuple[str, ...] = ()
    """The last events of the hub, if they are recorded: see :mod:`hubbub.timeline`."""
    skipped: int = 0
    """How many stretches since the last report were not reported, because they came too soon after it."""

    def __str__(self) -> str:
        lines = [
            f"{name_of(self.hub)} has not polled for {self.seconds:.3f} s: {self.greenlet} runs {self.line}",
            *self.stack,
            *([f"the kernel says: {self.native}"] if self.native is not None else []),
            *self.events,
        ]
        if self.skipped:
            lines.append(f"({self.skipped} more since the last report)")
        return "\n    ".join(lines)


class BlockingDetector:
    """Watches one hub from a native thread. Costs the hub nothing: it only looks at the loop's count of turns.

    :param max_blocking_time: seconds without a poll, while not waiting in one, that are too long.
    :param report: called with a :class:`BlockingReport`, in the watchdog's thread, once per stretch; by default the
        report is written to the hub's ``exception_stream``.
    :param hub: the hub to watch, by default that of this thread.
    :param interval: seconds between two reports, at least. Stretches in between are counted.
    :raises ValueError: ``max_blocking_time`` is not more than 0, or ``interval`` is less than 0.
    """

    __reduce_ex__: ClassVar[Reduce] = refuse_copies

    def __init__(
        self,
        max_blocking_time: float = 0.1,
        report: Callable[[BlockingReport], Any] | None = None,
        hub: Hub | None = None,
        *,
        interval: float = 0.0,
    ) -> None:
        if not max_blocking_time > 0:
            raise ValueError(f"max_blocking_time must be more than 0 seconds, not {max_blocking_time!r}")
        if not interval >= 0:
            raise ValueError(f"interval must be 0 seconds or more, not {interval!r}")
        self.max_blocking_time = max_blocking_time
        self.interval = interval
        self.hub: Hub = hub if hub is not None else get_hub()
        self._report = report if report is not None else self._write
        self._thread = SideThread(self._watch, "the watchdog of a hub")
        self._last = -math.inf
        self._skipped = 0

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread, and wait for its end."""
        self._thread.stop()

    def __enter__(self) -> BlockingDetector:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _watch(self) -> None:
        loop = self.hub.loop
        turn, unchanged = -1, 0
        period = self.max_blocking_time / 2
        while self._thread.pause(period) and not loop.destroyed:
            if loop.iteration != turn or loop.in_poll or not loop.running:
                turn, unchanged = loop.iteration, 0
                continue
            unchanged += 1
            if unchanged == 2:
                self._noticed(unchanged * period)

    def _noticed(self, seconds: float) -> None:
        if monotonic() - self._last < self.interval:
            self._skipped += 1
            return
        self._last, skipped, self._skipped = monotonic(), self._skipped, 0
        try:
            self._report(self._described(seconds, skipped))
        except Exception as error:  # the watchdog goes on
            complain("the report of a hub that is blocked", error)

    def _described(self, seconds: float, skipped: int) -> BlockingReport:
        hub = self.hub
        frame = frame_of(hub.thread_ident)
        user = split(frame)[1]
        doing = activity(hub.thread_ident)
        return BlockingReport(
            hub=hub,
            seconds=seconds,
            stack=stack_of(frame),
            greenlet=runner_of(frame, hub) if frame is not None else None,
            line=stack_of(user, 1)[0] if user is not None else None,
            native=doing,
            events=tuple(last_events(hub)),
            skipped=skipped,
        )

    def _write(self, found: BlockingReport) -> None:
        stream = self.hub.exception_stream
        if stream is not None:
            stream.write(f"{found}\n")


def watch_from_environment(seconds: str) -> None:
    """Watch every hub, those that are made later too, as ``HUBBUB_BLOCKING`` asks for: at most a report a second each.

    C code that does not release the GIL keeps the watchdogs from running, too. For that there is :mod:`faulthandler`,
    which needs no GIL: it writes the stacks of all native threads to the standard error stream when no watchdog could
    run for two seconds more. A value that is no number is reported, and changes nothing else.
    """
    try:
        limit = float(seconds)
        if not 0 < limit < math.inf:
            raise ValueError("it must be more than 0")
    except ValueError as error:
        sys.stderr.write(f"hubbub: HUBBUB_BLOCKING={seconds}: a number of seconds is needed: {error}\n")
        return

    def watch(hub: Hub) -> None:
        BlockingDetector(limit, hub=hub, interval=1.0).start()

    hub_made.append(watch)
    for hub in hubs():
        watch(hub)
    guard = SideThread(lambda: _guard_gil(limit, guard.pause), "the watchdog of the GIL")
    guard.start()


def _guard_gil(limit: float, pause: Callable[[float], bool]) -> None:
    stream = sys.__stderr__
    try:
        descriptor = stream.fileno() if stream is not None else 2
    except (OSError, ValueError):
        return  # the stream is closed, or has no descriptor
    while True:
        faulthandler.dump_traceback_later(limit + _GIL_PATIENCE, file=descriptor)
        if not pause(1.0):
            faulthandler.cancel_dump_traceback_later()
            return
