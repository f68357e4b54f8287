"""How long a WebSocket's client may be silent, and how slow. No I/O: numbers of ticks."""

from __future__ import annotations

from hubbub_server.http.clock import NEVER, Clock
from hubbub_server.http.limits import Limits

__all__ = ["Patience"]

_LOOK_SECONDS = 1.0
"""So often a WebSocket is looked at, or more often if a limit is shorter."""


class Patience:
    """Notes when a client was heard, and says what it is time for.

    :param clock: of the server.
    :param limits: ``websocket_ping_seconds``, ``websocket_pong_seconds``, ``body_seconds`` and ``body_rate``.
    """

    __slots__ = ("_asked", "_body", "_heard", "_left", "_ping", "_pong", "_seen", "_step")

    def __init__(self, clock: Clock, limits: Limits) -> None:
        self._ping = clock.ticks(limits.websocket_ping_seconds)
        self._pong = clock.ticks(limits.websocket_pong_seconds)
        self._body = clock.body
        self._left = clock.body.ticks
        self._heard = self._seen = clock.now
        """When bytes came last; until when the time of a message was counted."""
        self._asked = NEVER
        """When the client was asked for a sign of life, and none has come since."""
        self._step = min(clock.ticks(_LOOK_SECONDS), self._ping, self._pong, self._body.ticks)

    def next(self, now: float) -> float:
        """When to look the next time."""
        return now + self._step

    def begin(self, now: float) -> None:
        """A wait for bytes begins. Time in which nobody received does not count against the client."""
        self._seen = now

    def complete(self) -> None:
        """No message is under way."""
        self._left = self._body.ticks

    def heard(self, now: float, size: int) -> None:
        """Bytes have come."""
        self._left = self._body.after(self._left, now - self._seen, size)
        self._seen = self._heard = now
        self._asked = NEVER

    def wants_ping(self, now: float) -> bool:
        """Whether it is time to send a ping; if so, it is noted as sent."""
        if self._asked != NEVER or now - self._heard < self._ping:
            return False
        self._asked = now
        return True

    def is_silent(self, now: float) -> bool:
        """Whether a ping was sent that has been without response for too long."""
        return now - self._asked >= self._pong

    def is_stalled(self, now: float) -> bool:
        """Whether the message that is being received has made too little progress."""
        return self._left - (now - self._seen) <= 0
