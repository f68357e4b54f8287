"""Name servers asked over hubbub's own sockets: nothing waits but the greenlet that asked.

dnspython reads the records of :meth:`Resolver.query`. Replies to look-ups of addresses and host names are read by this
package: they come a thousand times as often, from anybody, and dnspython takes 0.3 ms for each of their records.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from time import monotonic
from typing import Any

import hubbub
from hubbub.lowlevel import get_hub

from hubbub_dns._answer import Answer
from hubbub_dns._errors import Failure, LookupFailed, gai_error
from hubbub_dns._flights import Flight
from hubbub_dns._fork import loading
from hubbub_dns._ports import Exchange
from hubbub_dns._servers import Server
from hubbub_dns._upstream import OURS, Upstream, answer_of
from hubbub_dns._wire import Reply, encode_name
from hubbub_dns.stub import StubResolver

try:
    import dns.exception
    import dns.message
    import dns.name
    import dns.rdatatype
    import dns.rrset
except ImportError as error:
    raise ImportError(
        f"the dnspython resolver needs dnspython: pip install 'hubbub-dns[dnspython]' ({error})"
    ) from error

__all__ = ["Resolver"]

_NXDOMAIN = 3
_PER_BYTE = 40
"""Bytes that the objects of dnspython take for each of a message, about."""
_TICK = 0.05
"""Seconds between two looks at what was lost, while something is under way."""


class Resolver(StubResolver):
    """Takes the parameters of :class:`hubbub_dns.stub.StubResolver`, and one more.

    ``servers`` may be behind TLS: ``tls://192.0.2.1#dns.example`` (RFC 7858) or
    ``https://192.0.2.1/dns-query#dns.example`` (RFC 8484), with the name that the certificate must have.

    :param ssl_context: an :mod:`ssl` context for such servers; None: the system's authorities are trusted.
    """

    def __init__(self, *args: Any, ssl_context: Any = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._upstream = Upstream(ssl_context)
        self._clock: Any = None

    def close(self) -> None:
        """Call off what is under way (those who wait get EAI_AGAIN), close all sockets."""
        super().close()
        self._stop_clock()
        self._upstream.close()

    def reinit(self) -> None:
        """In the child after ``fork``: the parent's questions and connections are the parent's."""
        super().reinit()
        self._clock = None
        self._upstream.abandon()

    def query(self, name: str | dns.name.Name, rdtype: str | int = "A") -> dns.rrset.RRset:
        """The records of one type that a name has: MX, TXT, SRV and all others that dnspython reads.

        The name is taken as complete (the search list is for host names), and CNAME records are followed.

        :param name: text beyond ASCII is turned into its IDNA form.
        :param rdtype: the type's name or number.
        :returns: the records (objects of dnspython's), with ``ttl`` the seconds that they may still be kept.
        :raises ValueError: ``name`` or ``rdtype`` is none.
        :raises socket.gaierror: EAI_NONAME, there is no such name; EAI_NODATA, it has no such records; EAI_AGAIN, no
            server answered; EAI_FAIL, the answer makes no sense.
        """
        try:
            asked = dns.name.from_text(name) if isinstance(name, str) else name
            number = dns.rdatatype.RdataType.make(rdtype)
            wire = asked.to_digestable()
        except (dns.exception.DNSException, ValueError) as error:
            raise ValueError(f"{name!r} {rdtype!r} cannot be asked for: {error!r}") from error
        settings = self._current_settings()
        key = ("records", self.servers, wire, int(number))
        known = self.cache.get(key) if self.cache is not None else None
        if known is None:
            try:
                servers = self._upstream.in_turn(settings, self.servers)
                reply = self._upstream.ask(settings, servers, wire, number)
                known = self._records(reply)
            except LookupFailed as failed:
                raise gai_error(failed.failure) from failed.__cause__
            if self.cache is not None:
                negative = isinstance(known[0], Failure)
                size = 0 if negative else len(reply.wire) * (1 + _PER_BYTE)
                self.cache.put(key, known, known[1] - monotonic(), negative=negative, size=size)
        records, until = known
        if isinstance(records, Failure):
            raise gai_error(records)
        copy: dns.rrset.RRset = records.copy()
        copy.ttl = max(0, round(until - monotonic()))
        return copy

    @staticmethod
    def _records(reply: Reply) -> tuple[dns.rrset.RRset | Failure, float]:
        """What a reply says, and until when it may be kept (on the monotonic clock)."""
        negative_until = monotonic() + (reply.negative_ttl or 0.0)
        if reply.rcode == _NXDOMAIN:
            return Failure.NOT_FOUND, negative_until
        try:
            with loading:  # dnspython imports the types of records when it meets them
                message: Any = dns.message.from_wire(reply.wire, ignore_trailing=True)
            found = message.resolve_chaining()
        except (dns.exception.DNSException, ValueError, struct.error, IndexError):
            raise LookupFailed(Failure.NO_RECOVERY) from None
        if found.answer is None:
            return Failure.NO_DATA, negative_until
        # resolve_chaining gives the set of records under its own name.
        return found.answer, monotonic() + found.minimum_ttl

    def _servers_changed(self) -> None:
        self._upstream.forget()

    def _begin(self, flight: Flight[Answer]) -> None:
        servers = self._upstream.in_turn(flight.context, self.servers)
        task = flight.task = _Task(self._upstream, flight, servers)
        task.begin()
        if self._clock is None and task.exchange is not None:
            self._clock = get_hub().loop.timer(_TICK, _TICK, ref=False)
            self._clock.start(self._tick)

    def _stop(self, flight: Flight[Answer]) -> None:
        flight.task.stop()

    def _tick(self) -> None:
        """Questions without an answer for a while go on in a greenlet."""
        now, idle = monotonic(), True
        for exchange in self._upstream.ports.under_way():
            if exchange.listener is not None:
                idle = False
                if now >= exchange.started + exchange.resend:
                    exchange.tell()
        if idle:
            self._stop_clock()

    def _stop_clock(self) -> None:
        clock, self._clock = self._clock, None
        if clock is not None:
            clock.close()


class _Task:
    """The asking of one question: no more than a datagram there and one back, if all goes well; else in a greenlet."""

    __slots__ = ("_upstream", "exchange", "flight", "servers", "worker")

    def __init__(self, upstream: Upstream, flight: Flight[Answer], servers: Sequence[Server]) -> None:
        self._upstream = upstream
        self.flight = flight
        self.servers = servers
        self.exchange: Exchange | None = None
        self.worker: hubbub.Greenlet | None = None

    def begin(self) -> None:
        """Send the question to the first server."""
        first = self.servers[0]
        if not first.scheme and not self.flight.context.use_vc:
            _, name, rtype = self.flight.key
            try:
                self.exchange = self._upstream.begin(first, encode_name(name), rtype, self._settled)
                return
            except OSError as error:
                if error.errno in OURS:
                    raise
        self.worker = hubbub.spawn(self._work)

    def _settled(self, exchange: Exchange) -> None:
        """There is a reply, or none for a while."""
        flight = self.flight
        reply = self._upstream.finish(exchange)
        if reply is not None:
            _, name, rtype = flight.key
            try:
                answer, complete = answer_of(reply, (name,), rtype, float("inf"))
            except LookupFailed as failed:
                flight.land(failed)
                return
            if complete:
                flight.land(answer)
                return
        self.worker = hubbub.spawn(self._work)

    def _work(self) -> None:
        flight = self.flight
        _, name, rtype = flight.key
        try:
            flight.land(self._upstream.look_up(flight.context, self.servers, name, rtype, self.exchange))
        except Exception as error:
            flight.land(error)  # raised by those who wait

    def stop(self) -> None:
        """Nobody waits for the answer any more."""
        if self.worker is not None:
            self.worker.kill(block=False)
        if self.exchange is not None:
            self.exchange.end()
