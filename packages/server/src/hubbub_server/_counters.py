"""What a worker counts, and the page of memory in which its supervisor finds it, whatever the worker is busy with.

A page has two halves that are written in turn, each with a checksum. A reader takes the newer one that is whole, so a
worker may be killed in the middle of a write, and nobody locks anything.
"""

from __future__ import annotations

import mmap
import os
import struct
import tempfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from hubbub_server.http.tally import BOUNDS, STATUSES, Tally

__all__ = ["STATES", "Counters", "Page"]

STATES: Final = ("handshake", "idle", "reading", "answering", "closing", "stream")
"""What a connection may be doing; and the streams of HTTP/2 that are open, which are no connections."""
_GAUGES: Final = ("greenlets", "lag", "longest_lag", "native_threads", "descriptors", "timers")


@dataclass(slots=True)
class Counters:
    """The figures of a worker, or the sum of several."""

    published: float = 0.0
    """When they were true, as :func:`time.monotonic` has it: the system has one such clock for all processes."""
    sent: float = 0.0
    """Bytes of bodies of responses."""
    seconds: float = 0.0
    """The sum of all response times."""
    polls: float = 0.0
    """Turns of the loop."""
    switches: float = 0.0
    """Callbacks that the loop has called; most switch to a greenlet."""
    greenlets: float = 0.0
    """Greenlets that live."""
    lag: float = 0.0
    """How late a timer was just now, in seconds: what a greenlet waits that could run."""
    longest_lag: float = 0.0
    """The longest lag of the last ten seconds."""
    native_threads: float = 0.0
    """Threads of the hub's pool."""
    descriptors: float = 0.0
    """Descriptors that the loop knows."""
    timers: float = 0.0
    """Timers that run."""
    statuses: list[float] = field(default_factory=lambda: [0.0] * len(STATUSES))
    """Requests by their responses."""
    times: list[float] = field(default_factory=lambda: [0.0] * (len(BOUNDS) + 1))
    """Requests by their response times."""
    states: list[float] = field(default_factory=lambda: [0.0] * len(STATES))
    """Connections by what they do."""

    @property
    def requests(self) -> float:
        """Requests that were answered, refused or cut."""
        return sum(self.statuses)

    def take(self, tallies: Iterable[Tally]) -> None:
        """Have what these have counted."""
        self.sent = self.seconds = 0.0
        self.statuses, self.times = [0.0] * len(STATUSES), [0.0] * (len(BOUNDS) + 1)
        for tally in tallies:
            self.add(
                Counters(sent=tally.sent, seconds=tally.seconds, statuses=tally.statuses, times=tally.times), False
            )

    def add(self, other: Counters, live: bool = True) -> None:
        """Add what another worker has counted; what it has at the moment only if it is alive. The lags of several are
        the longest among them."""
        self.sent += other.sent
        self.seconds += other.seconds
        self.polls += other.polls
        self.switches += other.switches
        self.statuses = [a + b for a, b in zip(self.statuses, other.statuses, strict=True)]
        self.times = [a + b for a, b in zip(self.times, other.times, strict=True)]
        if live:
            self.published = max(self.published, other.published)
            self.states = [a + b for a, b in zip(self.states, other.states, strict=True)]
            for name in _GAUGES:
                mine, theirs = getattr(self, name), getattr(other, name)
                setattr(self, name, max(mine, theirs) if "lag" in name else mine + theirs)

    def as_numbers(self) -> list[float]:
        """All of them in a row."""
        return [*(getattr(self, name) for name in _SCALARS), *self.statuses, *self.times, *self.states]

    @classmethod
    def of_numbers(cls, numbers: list[float]) -> Counters:
        """What :meth:`as_numbers` gave.

        :raises ValueError: there are more or fewer.
        """
        if len(numbers) != _COUNT:
            raise ValueError(f"{_COUNT} numbers are needed, not {len(numbers)}")
        made = cls()
        for name, number in zip(_SCALARS, numbers, strict=False):
            setattr(made, name, number)
        rest = numbers[len(_SCALARS) :]
        made.statuses = rest[: len(STATUSES)]
        made.times = rest[len(STATUSES) : len(STATUSES) + len(BOUNDS) + 1]
        made.states = rest[len(STATUSES) + len(BOUNDS) + 1 :]
        return made


_SCALARS = ("published", "sent", "seconds", "polls", "switches", *_GAUGES)
_COUNT = len(_SCALARS) + len(STATUSES) + len(BOUNDS) + 1 + len(STATES)
_NUMBERS = struct.Struct(f"<Q{_COUNT}d")
_CHECK = struct.Struct("<I")
_HALF = 2048
_SIZE = 2 * _HALF


class Page:
    """A page of memory with the counters of one worker.

    :param descriptor: of a file as :meth:`make` gives it. The page keeps a duplicate.
    :raises OSError: it cannot be mapped.
    :raises ValueError: it is too short.
    """

    def __init__(self, descriptor: int) -> None:
        self._memory = mmap.mmap(descriptor, _SIZE)
        self._written = 0
        self._last = Counters()

    @staticmethod
    def make() -> int:
        """The descriptor of a new page, which no child inherits. It is in memory where the system can do that.

        :raises OSError: there is no room.
        """
        if hasattr(os, "memfd_create"):
            descriptor = os.memfd_create("hubbub-counters", os.MFD_CLOEXEC)
        else:
            with tempfile.TemporaryFile() as file:
                descriptor = os.dup(file.fileno())
        try:
            os.ftruncate(descriptor, _SIZE)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def write(self, counters: Counters) -> None:
        """Let the reader have these."""
        self._written += 1
        data = _NUMBERS.pack(self._written, *counters.as_numbers())
        start = _HALF * (self._written % 2)
        self._memory[start : start + _CHECK.size + len(data)] = _CHECK.pack(zlib.crc32(data)) + data

    def read(self) -> Counters:
        """The last that were written; zeros if none were."""
        found = [half for half in (self._half(0), self._half(1)) if half is not None]
        if found:
            self._last = Counters.of_numbers(list(max(found)[1:]))
        return self._last

    def _half(self, number: int) -> tuple[float, ...] | None:
        """A half that is whole."""
        start = _HALF * number + _CHECK.size
        data = self._memory[start : start + _NUMBERS.size]
        (check,) = _CHECK.unpack(self._memory[start - _CHECK.size : start])
        return _NUMBERS.unpack(data) if check == zlib.crc32(data) and any(data) else None

    def close(self) -> None:
        """Give the memory back."""
        self._memory.close()
