"""The name servers as a whole: which is asked, how, and what comes of it when it does not answer as it should."""

from __future__ import annotations

import errno
import itertools
from collections.abc import Callable, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any

from hubbub_dns._answer import MAX_CHAIN, Answer, follow
from hubbub_dns._errors import Failure, LookupFailed
from hubbub_dns._fork import loading
from hubbub_dns._ports import Exchange, Ports
from hubbub_dns._resolvconf import Settings
from hubbub_dns._servers import OpenSockets, Server, over_tcp
from hubbub_dns._wire import Malformed, Query, Reply, encode_name

if TYPE_CHECKING:
    from hubbub_dns._secure import SecureServers

__all__ = ["OURS", "Upstream", "answer_of"]

_NOERROR, _FORMERR, _SERVFAIL, _NXDOMAIN, _NOTIMP, _REFUSED = range(6)
_DONE = (_NOERROR, _NXDOMAIN)
OURS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""Errors that no other server will mend."""
_FIRST_RESEND, _LEAST_RESEND = 0.4, 0.25
"""Seconds; before a server's round trip is known, and in any case."""


def answer_of(reply: Reply, chain: tuple[str, ...], rtype: int, ttl: float) -> tuple[Answer, bool]:
    """What a reply says of the last name of a chain, and whether that is all there is to say.

    It is not when the server left out what a CNAME record leads to.

    :param ttl: the least of the CNAME records that led to the name.
    :raises LookupFailed: the CNAME records are too many, or form a loop.
    """
    answer = follow(reply.records, chain, rtype, ttl, reply.rcode != _NXDOMAIN, reply.negative_ttl or 0.0)
    left_out = answer.failure is Failure.NO_DATA and reply.negative_ttl is None and len(answer.chain) > len(chain)
    return answer, not left_out


class Upstream:
    """Asks name servers over UDP, TCP, TLS and HTTPS. Belongs to one hub.

    :param ssl_context: for servers behind TLS; None: the system's authorities are trusted.
    """

    def __init__(self, ssl_context: Any) -> None:
        self.ports = Ports()
        self._sockets = OpenSockets()
        self._secure: SecureServers | None = None
        self._ssl_context = ssl_context
        self.forget()

    def forget(self) -> None:
        """The servers are others than before."""
        self._without_edns: set[Server] = set()
        self._round_trip: dict[Server, float] = {}
        self._turn = itertools.count()

    def close(self) -> None:
        """Close all sockets. Those who wait for one get an OSError."""
        self.ports.close()
        self._close_streams()

    def abandon(self) -> None:
        """In the child after ``fork``."""
        self.ports.abandon()
        self._close_streams()

    def _close_streams(self) -> None:
        self._sockets.close()
        if self._secure is not None:
            self._secure.close()

    # One question ---------------------------------------------------------------------------------------------------

    def in_turn(self, settings: Settings, servers: Sequence[Server]) -> Sequence[Server]:
        """The servers in the order in which they are to be asked now."""
        if not settings.rotate:
            return servers
        first = next(self._turn) % len(servers)
        return [*servers[first:], *servers[:first]]

    def begin(
        self, server: Server, name: bytes, rtype: int, listener: Callable[[Exchange], None] | None = None
    ) -> Exchange:
        """Send a question over UDP: with EDNS unless the server is known not to like that.

        :raises OSError: the server cannot be reached, or there is no socket.
        """
        known = self._round_trip.get(server)
        return self.ports.begin(
            server,
            name,
            rtype,
            edns=server not in self._without_edns,
            resend=_FIRST_RESEND if known is None else max(_LEAST_RESEND, 4 * known),
            listener=listener,
        )

    def finish(self, exchange: Exchange) -> Reply | None:
        """The reply to a question that was sent once, if it is an answer."""
        reply = exchange.outcome
        if not isinstance(reply, Reply):
            return None
        self._measure(exchange)
        return reply if reply.rcode in _DONE and not reply.truncated else None

    def _measure(self, exchange: Exchange) -> None:
        taken = monotonic() - exchange.started
        known = self._round_trip.get(exchange.server)
        self._round_trip[exchange.server] = taken if known is None else known + (taken - known) / 8  # as in RFC 6298

    def look_up(
        self, settings: Settings, servers: Sequence[Server], name: str, rtype: int, begun: Exchange | None = None
    ) -> Answer:
        """The records of one absolute name. A CNAME whose target the server left out is asked for.

        :param begun: the question, where it was sent to the first server already.
        :raises LookupFailed: no server answers.
        """
        chain: tuple[str, ...] = (name,)
        ttl = float("inf")
        while True:
            reply = self.ask(settings, servers, encode_name(chain[-1]), rtype, begun)
            answer, complete = answer_of(reply, chain, rtype, ttl)
            if complete:
                return answer
            chain, ttl, begun = answer.chain, min(record.ttl for record in reply.records), None
            if len(chain) > MAX_CHAIN:
                raise LookupFailed(Failure.NO_RECOVERY)

    def ask(
        self, settings: Settings, servers: Sequence[Server], name: bytes, rtype: int, begun: Exchange | None = None
    ) -> Reply:
        """Ask the servers in turn until one gives an answer.

        :param begun: as for :meth:`look_up`.
        :raises LookupFailed: none does.
        """
        failed = LookupFailed(Failure.TRY_AGAIN, answered=False)
        for _ in range(settings.attempts):
            silent = False
            for server in servers:
                try:
                    reply = self._ask_one(settings, server, name, rtype, begun)
                except OSError as error:
                    if error.errno in OURS:
                        raise
                    silent = True
                    failed.__cause__ = error.with_traceback(None)
                    continue
                except Malformed as error:
                    failed = LookupFailed(Failure.NO_RECOVERY)
                    failed.__cause__ = error.with_traceback(None)
                    continue
                finally:
                    begun = None
                if reply.rcode in _DONE:
                    return reply
                if reply.rcode in (_SERVFAIL, _NOTIMP, _REFUSED):
                    failed = LookupFailed(Failure.TRY_AGAIN, servfail=reply.rcode == _SERVFAIL)
                else:
                    failed = LookupFailed(Failure.NO_RECOVERY)
            if not silent:
                break  # they will not think better of it at once
        raise failed

    def _ask_one(self, settings: Settings, server: Server, name: bytes, rtype: int, begun: Exchange | None) -> Reply:
        """Ask one server: over TCP if the reply is too long, and without EDNS if it does not like that."""
        reply, query = self._exchange(settings, server, name, rtype, begun)
        if reply.rcode in (_FORMERR, _NOTIMP) and query.edns:
            self._without_edns.add(server)
            reply, _ = self._exchange(settings, server, name, rtype, None)
        return reply

    def _exchange(
        self, settings: Settings, server: Server, name: bytes, rtype: int, begun: Exchange | None
    ) -> tuple[Reply, Query]:
        timeout = settings.timeout
        if server.scheme or settings.use_vc:
            query = Query.make(name, rtype, edns=server not in self._without_edns)
            if server.scheme:
                return self._ask_secure(server, query, timeout), query
            return over_tcp(self._sockets, server, query, timeout), query
        exchange = begun or self.begin(server, name, rtype)
        sent_once = exchange.resend
        reply, query = exchange.wait(timeout), exchange.query
        if begun is None and exchange.resend == sent_once:  # it is known which sending was answered
            self._measure(exchange)
        return over_tcp(self._sockets, server, query, timeout) if reply.truncated else reply, query

    def _ask_secure(self, server: Server, query: Query, timeout: float) -> Reply:
        if self._secure is None:
            with loading:
                from hubbub_dns._secure import SecureServers

            self._secure = SecureServers(self._ssl_context)
        return self._secure.ask(server, query, timeout)
