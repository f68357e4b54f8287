"""A watchdog thread that notices when something keeps the hub from polling, and says what."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from threading import Thread
from typing import TYPE_CHECKING, Any, ClassVar

from hubbub._identity import Reduce, refuse_copies
from hubbub._originals import allocate_lock
from hubbub._reports import complain, name_of
from hubbub.hub import Hub, get_hub
from hubbub.inspect import stack_of

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["BlockingDetector", "BlockingReport"]


@dataclass(frozen=True)
class BlockingReport:
    """One stretch in which a hub could not poll."""

    hub: Hub
    seconds: float
    """How long it had lasted when it was noticed."""
    stack: tuple[str, ...]
    """What the thread was doing then: ``file:line function``, innermost call last."""


class BlockingDetector:
    """Watches one hub from a native thread. Costs the hub nothing: it only looks at the loop's count of turns.

    :param max_blocking_time: seconds without a poll, while not waiting in one, that are too long.
    :param report: called with a :class:`BlockingReport`, in the watchdog's thread, once per stretch; by default the
        report is written to the hub's ``exception_stream``.
    """

    __reduce_ex__: ClassVar[Reduce] = refuse_copies

    def __init__(
        self,
        max_blocking_time: float = 0.1,
        report: Callable[[BlockingReport], Any] | None = None,
        hub: Hub | None = None,
    ) -> None:
        if not max_blocking_time > 0:
            raise ValueError(f"max_blocking_time must be more than 0 seconds, not {max_blocking_time!r}")
        self.max_blocking_time = max_blocking_time
        self.hub: Hub = hub if hub is not None else get_hub()
        self._report = report if report is not None else self._write
        self._running = allocate_lock()  # held until stop(), which the watchdog waits for
        self._running.acquire()
        self._thread = Thread(target=self._watch, name="hubbub-blocking-detector", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread, and wait for its end."""
        try:
            self._running.release()
        except RuntimeError:
            pass  # stopped before
        if self._thread.ident is not None:
            self._thread.join()

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
        while True:
            if self._running.acquire(True, period):
                return
            if loop.destroyed:
                return
            if loop.iteration != turn or loop.in_poll or not loop.running:
                turn, unchanged = loop.iteration, 0
                continue
            unchanged += 1
            if unchanged == 2:
                try:
                    self._report(BlockingReport(self.hub, unchanged * period, self._stack()))
                except Exception as error:  # the watchdog goes on
                    complain("the report of a hub that is blocked", error)

    def _stack(self) -> tuple[str, ...]:
        return stack_of(sys._current_frames().get(self.hub.thread_ident))

    def _write(self, found: BlockingReport) -> None:
        stream = self.hub.exception_stream
        if stream is not None:
            lines = [f"{name_of(found.hub)} has not polled for {found.seconds:.3f} s:", *found.stack]
            stream.write("\n    ".join(lines) + "\n")
