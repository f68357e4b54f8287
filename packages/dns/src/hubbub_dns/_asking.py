"""Questions put to name servers: one datagram to the server and one back; a greenlet goes on if that does not do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import hubbub
from hubbub.lowlevel import get_hub, monotonic

from hubbub_dns._answer import Answer
from hubbub_dns._errors import LookupFailed
from hubbub_dns._flights import Flight
from hubbub_dns._servers import Server
from hubbub_dns._upstream import OURS, Exchange, Upstream

__all__ = ["Asking"]

_TICK = 0.05
"""Seconds between two checks for questions whose time is over, while some are under way."""


class Asking:
    """Begins and stops the asking of questions, and checks their time limits."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._clock: Any = None
        self.servers: tuple[Server, ...] = ()
        """The servers to ask."""

    def begin(self, flight: Flight[Answer]) -> None:
        """Begin to ask a question, without waiting. The flight lands with an Answer or LookupFailed.

        :param flight: its key ends with the name, which is absolute and in small letters, and the type of records; its
            context holds the settings.
        """
        servers: Sequence[Server] = self.servers
        if flight.context.rotate:
            servers = self._upstream.in_turn(flight.context, servers)
        flight.task = _Task(self._upstream, flight, servers)
        if self._clock is None:
            self._clock = get_hub().loop.timer(_TICK, _TICK, ref=False)
            self._clock.start(self._tick)

    def stop(self, flight: Flight[Answer]) -> None:
        """Stop asking: no greenlet waits for the answer any more."""
        flight.task.stop()

    def ask_now(self, servers: tuple[Server, ...]) -> None:
        """Ask these servers from now on, and forget what is known of them: they or the settings have changed."""
        self.servers = servers
        self._upstream.forget()

    def close(self) -> None:
        """Close all sockets."""
        self._stop_clock()
        self._upstream.close()

    def reinit(self) -> None:
        """In the child after ``fork``: forget the questions and connections, which are the parent's."""
        self._clock = None
        self._upstream.abandon()

    def _tick(self) -> None:
        """Tell the listeners of questions whose time is over; each goes on in a greenlet."""
        now, idle = monotonic(), True
        for exchange in self._upstream.ports.under_way():
            idle = False
            if now >= exchange.deadline:
                exchange.tell()
        if idle:
            self._stop_clock()

    def _stop_clock(self) -> None:
        clock, self._clock = self._clock, None
        if clock is not None:
            clock.close()


class _Task:
    """The asking of one question. It begins at once, with a datagram to the first server.

    :raises OSError: there is no socket.
    """

    __slots__ = ("_upstream", "exchange", "flight", "servers", "worker")

    def __init__(self, upstream: Upstream, flight: Flight[Answer], servers: Sequence[Server]) -> None:
        self._upstream = upstream
        self.flight = flight
        self.servers = servers
        self.exchange: Exchange | None = None
        self.worker: hubbub.Greenlet | None = None
        first, settings = servers[0], flight.context
        if upstream.takes(first, settings):
            _, name, rtype = flight.key
            try:
                self.exchange = upstream.begin(first, name, rtype, settings.timeout, self._settled)
                return
            except OSError as error:
                if error.errno in OURS:
                    raise
        self.worker = hubbub.spawn(self._work)

    def _settled(self, exchange: Exchange) -> None:
        """The listener of the exchange: a reply has come, the time is over, or the server seems to dislike EDNS."""
        flight = self.flight
        exchange.listener = None
        _, name, rtype = flight.key
        try:
            answer = self._upstream.finish(exchange, name, rtype)
        except LookupFailed as failed:
            flight.land(failed)
            return
        if answer is not None:
            flight.land(answer)
            return
        self.worker = hubbub.spawn(self._work)

    def _work(self) -> None:
        flight = self.flight
        _, name, rtype = flight.key
        try:
            flight.land(self._upstream.look_up(flight.context, self.servers, name, rtype, self.exchange))
        except Exception as error:
            flight.land(error)  # the greenlets that wait raise it

    def stop(self) -> None:
        """Stop asking: no greenlet waits for the answer any more."""
        if self.worker is not None:
            self.worker.kill(block=False)
        if self.exchange is not None:
            self.exchange.end()
