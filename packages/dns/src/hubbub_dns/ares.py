"""c-ares, on the hub's loop.

c-ares sends the queries, again when they are lost, over TCP when replies are too long, and reads what comes back. The
hosts file, the search list, the cache and the order of addresses are this package's, as for the dnspython resolver.
"""

from __future__ import annotations

from typing import Any

from hubbub.lowlevel import get_hub

from hubbub_dns._answer import Answer
from hubbub_dns._flights import Flight
from hubbub_dns.stub import StubResolver

try:
    from hubbub_dns._channels import PER_PORT, Channel, Question
except ImportError as error:
    raise ImportError(f"the ares resolver needs pycares: pip install 'hubbub-dns[ares]' ({error})") from error

__all__ = ["Resolver"]

_MAX_IDLE = 16
_TICK = 0.05
"""Seconds between two looks at what was lost, while something is under way."""


class Resolver(StubResolver):
    """Takes the parameters of :class:`hubbub_dns.stub.StubResolver`.

    ``timeout`` times ``attempts`` times the number of servers is the limit in total; within it c-ares sends again
    sooner, and then less and less often.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for server in self._given_servers or ():
            if server.scheme:
                raise ValueError(f"c-ares asks no server over {server.scheme}; the dnspython resolver does")
        self._start_afresh()

    def _start_afresh(self) -> None:
        self._busy: set[Channel] = set()
        self._idle: list[Channel] = []
        self._filling: Channel | None = None
        self._clock: Any = None

    def _servers_changed(self) -> None:
        self._filling = None
        while self._idle:
            self._idle.pop().close()

    def _begin(self, flight: Flight[Answer]) -> None:
        channel = self._filling
        if channel is None or channel.taken >= PER_PORT:
            if self._idle:
                channel = self._filling = self._idle.pop()
            else:
                channel = self._filling = Channel(flight.context, self.servers, self._emptied)
            self._busy.add(channel)
        channel.ask(flight)
        if self._clock is None:
            seconds = min(_TICK, channel.limit / 20)
            self._clock = get_hub().loop.timer(seconds, seconds)
            self._clock.start(self._tick)

    def _stop(self, flight: Flight[Answer]) -> None:
        question: Question | None = flight.task
        if question is not None:
            question.call_off()

    def _tick(self) -> None:
        for channel in list(self._busy):
            channel.tick()

    def _emptied(self, channel: Channel) -> None:
        self._busy.discard(channel)
        if self._filling is channel:
            self._filling = None
        if channel.settings is self._settings and len(self._idle) < _MAX_IDLE:
            self._idle.append(channel)
        else:
            channel.close()
        if not self._busy:
            self._stop_clock()

    def _stop_clock(self) -> None:
        clock, self._clock = self._clock, None
        if clock is not None:
            clock.close()

    def close(self) -> None:
        """Call off what is under way (those who wait get EAI_AGAIN) and give the channels back."""
        super().close()
        self._servers_changed()
        self._read = None

    def reinit(self) -> None:
        """In the child after ``fork``: the channels are the parent's."""
        super().reinit()
        self._stop_clock()
        for channel in (*self._busy, *self._idle):
            channel.abandon()
        self._start_afresh()
