"""Name servers asked over hubbub's own sockets: nothing waits but the greenlet that asked.

dnspython reads the records of :meth:`Resolver.query`. Replies to look-ups of addresses and host names are read by this
package: they come a thousand times as often, from anybody, and dnspython takes 0.3 ms for each of their records.
"""

from __future__ import annotations

import errno
import itertools
import struct
from collections.abc import Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any

import hubbub

from hubbub_dns._answer import MAX_CHAIN, Answer, follow
from hubbub_dns._errors import Failure, LookupFailed, gai_error
from hubbub_dns._flights import Flight
from hubbub_dns._resolvconf import Settings
from hubbub_dns._servers import OpenSockets, Server, over_tcp, over_udp
from hubbub_dns._wire import Malformed, Query, Reply, encode_name
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

if TYPE_CHECKING:
    from hubbub_dns._secure import SecureServers

__all__ = ["Resolver"]

_NOERROR, _FORMERR, _SERVFAIL, _NXDOMAIN, _NOTIMP, _REFUSED = range(6)
_OURS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""Errors that no other server will mend."""
_FIRST_RESEND, _LEAST_RESEND = 0.4, 0.25
"""Seconds; before a server's round trip is known, and in any case."""


class Resolver(StubResolver):
    """Takes the parameters of :class:`hubbub_dns.stub.StubResolver`, and one more.

    ``servers`` may be behind TLS: ``tls://192.0.2.1#dns.example`` (RFC 7858) or
    ``https://192.0.2.1/dns-query#dns.example`` (RFC 8484), with the name that the certificate must have.

    :param ssl_context: an :mod:`ssl` context for such servers; None: the system's authorities are trusted.
    """

    def __init__(self, *args: Any, ssl_context: Any = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._sockets = OpenSockets()
        self._secure: SecureServers | None = None
        self._ssl_context = ssl_context

    def close(self) -> None:
        """Call off what is under way (those who wait get EAI_AGAIN), close all sockets."""
        super().close()
        self._sockets.close()
        if self._secure is not None:
            self._secure.close()

    def reinit(self) -> None:
        """In the child after ``fork``: the parent's questions and connections are the parent's."""
        super().reinit()
        self._sockets.close()
        if self._secure is not None:
            self._secure.close()

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
                known = self._records(self._ask_all(settings, self.servers, wire, number))
            except LookupFailed as failed:
                raise gai_error(failed.failure) from failed.__cause__
            if self.cache is not None:
                self.cache.put(key, known, known[1] - monotonic(), negative=isinstance(known[0], Failure))
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
            message: Any = dns.message.from_wire(reply.wire, ignore_trailing=True)
            found = message.resolve_chaining()
        except (dns.exception.DNSException, ValueError, struct.error, IndexError):
            raise LookupFailed(Failure.NO_RECOVERY) from None
        if found.answer is None:
            return Failure.NO_DATA, negative_until
        # resolve_chaining gives the set of records under its own name.
        return found.answer, monotonic() + found.minimum_ttl

    def _servers_changed(self) -> None:
        self._without_edns: set[Server] = set()
        self._round_trip: dict[Server, float] = {}
        self._turn = itertools.count()

    def _begin(self, flight: Flight[Answer]) -> None:
        _, name, rtype = flight.key
        flight.task = hubbub.spawn(self._work, flight.context, self.servers, name, rtype, flight)

    def _stop(self, flight: Flight[Answer]) -> None:
        flight.task.kill(block=False)

    def _work(
        self, settings: Settings, servers: Sequence[Server], name: str, rtype: int, flight: Flight[Answer]
    ) -> None:
        try:
            flight.land(self._look_up(settings, servers, name, rtype))
        except Exception as error:
            flight.land(error)  # raised by those who wait

    def _look_up(self, settings: Settings, servers: Sequence[Server], name: str, rtype: int) -> Answer:
        """The records of one absolute name. A CNAME whose target the server left out is asked for."""
        chain: tuple[str, ...] = (name,)
        ttl = float("inf")
        while True:
            reply = self._ask_all(settings, servers, encode_name(chain[-1]), rtype)
            before = len(chain)
            answer = follow(reply.records, chain, rtype, ttl, reply.rcode != _NXDOMAIN, reply.negative_ttl or 0.0)
            if answer.failure is not Failure.NO_DATA or reply.negative_ttl is not None or len(answer.chain) == before:
                return answer
            chain, ttl = answer.chain, min(record.ttl for record in reply.records)
            if len(chain) > MAX_CHAIN:
                raise LookupFailed(Failure.NO_RECOVERY)

    def _ask_all(self, settings: Settings, servers: Sequence[Server], name: bytes, rtype: int) -> Reply:
        """Ask the servers in turn until one gives an answer.

        :raises LookupFailed: none does.
        """
        if settings.rotate:
            first = next(self._turn) % len(servers)
            servers = [*servers[first:], *servers[:first]]
        failed = LookupFailed(Failure.TRY_AGAIN, answered=False)
        for _ in range(settings.attempts):
            silent = False
            for server in servers:
                try:
                    reply = self._ask_one(settings, server, name, rtype)
                except OSError as error:
                    if error.errno in _OURS:
                        raise
                    silent = True
                    failed.__cause__ = error.with_traceback(None)
                    continue
                except Malformed as error:
                    failed = LookupFailed(Failure.NO_RECOVERY)
                    failed.__cause__ = error.with_traceback(None)
                    continue
                if reply.rcode in (_NOERROR, _NXDOMAIN):
                    return reply
                if reply.rcode in (_SERVFAIL, _NOTIMP, _REFUSED):
                    failed = LookupFailed(Failure.TRY_AGAIN, servfail=reply.rcode == _SERVFAIL)
                else:
                    failed = LookupFailed(Failure.NO_RECOVERY)
            if not silent:
                break  # they will not think better of it at once
        raise failed

    def _ask_one(self, settings: Settings, server: Server, name: bytes, rtype: int) -> Reply:
        """Ask one server: with EDNS unless it is known not to like that, and over TCP if the reply is too long."""
        query = Query.make(name, rtype, edns=server not in self._without_edns)
        reply = self._exchange(settings, server, query)
        if reply.rcode in (_FORMERR, _NOTIMP) and query.edns:
            self._without_edns.add(server)
            reply = self._exchange(settings, server, Query.make(name, rtype, edns=False))
        return reply

    def _exchange(self, settings: Settings, server: Server, query: Query) -> Reply:
        if server.scheme:
            return self._ask_secure(server, query, settings.timeout)
        if settings.use_vc:
            return over_tcp(self._sockets, server, query, settings.timeout)
        known = self._round_trip.get(server)
        resend = _FIRST_RESEND if known is None else max(_LEAST_RESEND, 4 * known)
        started = monotonic()
        reply = over_udp(self._sockets, server, query, settings.timeout, resend)
        taken = monotonic() - started
        if taken < resend:  # it is known which sending was answered
            self._round_trip[server] = taken if known is None else known + (taken - known) / 8  # as in RFC 6298
        return over_tcp(self._sockets, server, query, settings.timeout) if reply.truncated else reply

    def _ask_secure(self, server: Server, query: Query, timeout: float) -> Reply:
        if self._secure is None:
            from hubbub_dns._secure import SecureServers

            self._secure = SecureServers(self._ssl_context)
        return self._secure.ask(server, query, timeout)
