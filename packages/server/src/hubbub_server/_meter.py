"""How a worker's servers and its loop are, and have been, published a few times a second."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import hubbub

from hubbub_server._counters import STATES, Counters, Page
from hubbub_server.http.tally import Tally

if TYPE_CHECKING:
    from hubbub_server.http.server import HTTPServer

__all__ = ["Meter"]

_PERIOD = 0.25
"""Seconds between two publications."""
_REMEMBERED = round(10 / _PERIOD)


class Meter:
    """Counts what the servers of a process do, and publishes it.

    :param page: where to.
    :param servers: they are given an access log that counts, before the one that they have.
    """

    def __init__(self, page: Page, servers: Iterable[HTTPServer]) -> None:
        self.counters = Counters()
        self._page = page
        self._servers = list(servers)
        self._tallies: list[Tally] = []
        self._lags: deque[float] = deque([0.0], maxlen=_REMEMBERED)
        self._expected = 0.0
        self._timer: Any = None
        for server in self._servers:
            server.access_log = tally = Tally(server.access_log)
            self._tallies.append(tally)

    def start(self) -> None:
        """Publish from now on."""
        self._expected = time.monotonic() + _PERIOD
        self._timer = hubbub.get_hub().loop.timer(_PERIOD, _PERIOD, ref=False)
        self._timer.start(self._tick)
        self.publish()

    def stop(self) -> None:
        """Publish for the last time."""
        if self._timer is not None:
            self._timer.close()
        self.publish()

    def _tick(self) -> None:
        now = time.monotonic()
        self._lags.append(max(now - self._expected, 0.0))
        self._expected = now + _PERIOD
        self.publish()

    def publish(self) -> None:
        """Let the supervisor have how things stand."""
        counters = self.counters
        counters.published = time.monotonic()
        counters.lag, counters.longest_lag = self._lags[-1], max(self._lags)
        counters.take(self._tallies)
        self._count_connections()
        found = hubbub.get_hub().statistics()
        counters.polls, counters.switches = found.polls, found.switches
        counters.greenlets, counters.native_threads = found.greenlets, found.threads
        counters.descriptors, counters.timers = found.descriptors, found.timers
        self._page.write(counters)

    def _count_connections(self) -> None:
        found: Counter[str] = Counter()
        for server in self._servers:
            found.update(each.state for each in server.handlers.values() if each is not None)
            found["handshake"] += server.handshake_count
        self.counters.states = [float(found[state]) for state in STATES]
