"""The clock by which a server measures its clients. No I/O.

It counts ticks of a timer of the loop, which stands still while the process does: no client is blamed for what the
server was busy with. The deadlines of a connection are numbers that are compared at each tick, so that a wait costs no
timer.
"""

from __future__ import annotations

import math
from typing import Any, Final

from hubbub_server.http.limits import Limits

__all__ = ["NEVER", "Clock", "Pace"]

NEVER: Final = math.inf
"""The deadline of what has no time limit."""
_PER_LIMIT = 8
"""The shortest time limit is at least so many ticks."""
_SHORTEST, _LONGEST = 0.005, 0.5
"""Bounds of the length of a tick, in seconds."""


class Pace:
    """How fast something has to move, with some patience: each byte that moves earns a little time.

    :param ticks: the most time without progress, in ticks.
    :param gain: what a byte earns, in ticks.
    """

    __slots__ = ("gain", "ticks")

    def __init__(self, ticks: float, gain: float) -> None:
        self.ticks: float = ticks
        self.gain: float = gain

    def after(self, patience: float, waited: float, moved: int) -> float:
        """What is left of ``patience``, in ticks, after a wait of ``waited`` ticks in which ``moved`` bytes moved."""
        left = patience - waited + moved * self.gain
        return left if left < self.ticks else self.ticks


class Clock:
    """Counts the ticks of one server, and has the time limits on its clients in ticks.

    :param limits: those with ``seconds`` in their names, and the rates.
    """

    __slots__ = ("body", "busy_until", "first_ticks", "header_ticks", "idle_deadline", "idle_ticks", "linger_ticks",
                 "now", "request_deadline", "request_ticks", "seconds", "watched", "write")  # fmt: skip

    def __init__(self, limits: Limits) -> None:
        times = (
            *(limits.header_seconds, limits.body_seconds, limits.request_seconds),
            *(limits.idle_seconds, limits.write_seconds, limits.linger_seconds),
            *(limits.websocket_ping_seconds, limits.websocket_pong_seconds, limits.websocket_close_seconds),
        )
        shortest = min(time for time in times if time is not None)
        self.seconds: float = min(max(shortest / _PER_LIMIT, _SHORTEST), _LONGEST)
        """The length of a tick; time limits are that exact."""
        self.now: float = 0.0
        """Ticks so far."""
        self.header_ticks: float = self.ticks(limits.header_seconds)
        self.first_ticks: float = self.header_ticks
        """The time for the first head of a connection, which begins before its first byte."""
        self.idle_ticks: float = self.ticks(limits.idle_seconds)
        self.linger_ticks: float = self.ticks(limits.linger_seconds)
        self.request_ticks: float = self.ticks(limits.request_seconds)
        self.body: Pace = Pace(self.ticks(limits.body_seconds), 1.0 / (limits.body_rate * self.seconds))
        self.write: Pace = Pace(self.ticks(limits.write_seconds), 1.0 / (limits.write_rate * self.seconds))
        self.idle_deadline: float = self.idle_ticks
        """When the time of a connection that becomes idle now will be over. One number for all of them."""
        self.request_deadline: float = self.request_ticks
        """The same for a request that begins now."""
        self.watched: list[Any] = []
        """Those of its senders for which the operating system may hold something; shared by the servers of a hub."""
        self.busy_until: float = 0.0
        """Until when a server that stops lets clients of HTTP/2 whose requests run begin more of them."""

    def ticks(self, seconds: float | None) -> float:
        """The ticks that take at least ``seconds``; :data:`NEVER` for None."""
        return NEVER if seconds is None else math.ceil(seconds / self.seconds) + 1.0

    def tick(self) -> float:
        """A tick has passed; the new count."""
        self.now = now = self.now + 1.0
        self.idle_deadline = now + self.idle_ticks
        self.request_deadline = now + self.request_ticks
        return now

    def hurry(self, seconds: float, busy: float = 0.0) -> float:
        """The server stops: from now on clients have ``seconds`` to begin a request, those of HTTP/2 who are never idle
        ``busy`` seconds. When the former ends, for those who are idle already."""
        self.busy_until = self.now + self.ticks(busy)
        self.first_ticks = self.idle_ticks = self.ticks(seconds)
        self.idle_deadline = self.now + self.idle_ticks
        return self.idle_deadline
