"""The name servers as a whole: which is asked, how, and what happens when it does not answer as it should."""

from __future__ import annotations

import errno
import itertools
from collections import deque
from collections.abc import Callable, Sequence
from math import inf
from typing import TYPE_CHECKING, Any

from hubbub.lowlevel import Waiter, monotonic
from hubbub.plugins import importing

from hubbub_dns._answer import HOST_NAME, MAX_CHAIN, Answer, follow
from hubbub_dns._errors import Failure, LookupFailed
from hubbub_dns._ports import Exchange, Ports
from hubbub_dns._resolvconf import Settings
from hubbub_dns._servers import OpenSockets, Server, over_tcp
from hubbub_dns._wire import Malformed, Query, Reply

if TYPE_CHECKING:
    from hubbub_dns._channels import Channels
    from hubbub_dns._secure import SecureServers

__all__ = ["OURS", "Exchange", "Upstream"]

_NOERROR, _FORMERR, _SERVFAIL, _NXDOMAIN, _NOTIMP, _REFUSED = range(6)
_DONE = (_NOERROR, _NXDOMAIN)
_DISLIKES = (_FORMERR, _NOTIMP)
"""Response codes of servers that do not know EDNS."""
OURS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""Errors of this machine: another server would not help."""


def answer_of(reply: Reply, chain: tuple[str, ...], rtype: int, ttl: float) -> tuple[Answer, bool]:
    """What a reply says of the last name of a chain, and whether the answer is complete.

    It is not complete when the server left out what a CNAME record leads to.

    :param ttl: the least TTL of the CNAME records that led to the name.
    :raises LookupFailed: the CNAME records are too many, or form a loop.
    """
    answer = follow(reply.records, chain, rtype, ttl, reply.rcode != _NXDOMAIN, reply.negative_ttl or 0.0)
    left_out = answer.failure is Failure.NO_DATA and reply.negative_ttl is None and len(answer.chain) > len(chain)
    return answer, not left_out


class Upstream:
    """Asks name servers over UDP, TCP, TLS and HTTPS. Belongs to one hub.

    :param ssl_context: for servers behind TLS; None for one that trusts the system's authorities.
    :param ports: sends questions over UDP.
    """

    def __init__(self, ssl_context: Any, ports: Ports | Channels) -> None:
        self.ports: Any = ports
        self._sockets = OpenSockets()
        self._secure: SecureServers | None = None
        self._ssl_context = ssl_context
        self.forget()

    def forget(self) -> None:
        """Forget what is known of the servers, which have changed."""
        self._without_edns: set[Server] = set()
        self.ports.forget()
        self._turn = itertools.count()

    def close(self) -> None:
        """Close all sockets. Greenlets that wait for one get an OSError."""
        self.ports.close()
        self._close_streams()

    def abandon(self) -> None:
        """In the child after ``fork``: give the parent's sockets up."""
        self.ports.abandon()
        self._close_streams()

    def _close_streams(self) -> None:
        self._sockets.close()
        if self._secure is not None:
            self._secure.close()

    def takes(self, server: Server, settings: Settings) -> bool:
        """Whether a question to this server can be begun without a greenlet."""
        return not server.scheme and not settings.use_vc

    # One question ---------------------------------------------------------------------------------------------------

    def in_turn(self, settings: Settings, servers: Sequence[Server]) -> Sequence[Server]:
        """The servers in the order in which they are to be asked now."""
        if not settings.rotate:
            return servers
        first = next(self._turn) % len(servers)
        return [*servers[first:], *servers[:first]]

    def begin(
        self,
        server: Server,
        name: str | bytes,
        rtype: int,
        timeout: float,
        listener: Callable[[Exchange], None] | None = None,
        edns: bool = True,
    ) -> Exchange:
        """Send a question over UDP: with EDNS unless the server is known not to understand it.

        :param name: a host name, or any name as it goes over the wire.
        :param timeout: seconds that the server has for its reply.
        :raises OSError: the server cannot be reached, or there is no socket.
        """
        if self._without_edns and server in self._without_edns:
            edns = False
        begun: Exchange = self.ports.begin(server, name, rtype, edns=edns, timeout=timeout, listener=listener)
        return begun

    @staticmethod
    def finish(exchange: Exchange, name: str, rtype: int) -> Answer | None:
        """The answer to a question that one server was asked; None if it takes more than this exchange.

        :raises LookupFailed: the CNAME records are too many, or form a loop.
        """
        reply = exchange.outcome
        if type(reply) is not Reply:
            return None
        rcode, truncated, records, _, _, lame = reply
        if truncated or lame or rcode not in _DONE:
            return None
        if len(records) == 1 and rcode == _NOERROR:  # the usual case, written out
            owner, found, ttl, value = records[0]
            if found == rtype and (owner == name or owner.lower() == name.lower()):
                return Answer((name,), (value,), ttl)
        answer, complete = answer_of(reply, (name,), rtype, inf)
        return answer if complete else None

    def look_up(
        self, settings: Settings, servers: Sequence[Server], name: str, rtype: int, begun: Exchange | None = None
    ) -> Answer:
        """The records of one absolute name. Targets of CNAME records that the server left out are asked for too.

        :param begun: the exchange, if the question was sent to the first server already.
        :raises LookupFailed: no server answers.
        """
        chain: tuple[str, ...] = (name,)
        ttl = inf
        while True:
            if not HOST_NAME.match(chain[-1]):
                raise LookupFailed(Failure.NO_RECOVERY)
            reply = self.ask(settings, servers, chain[-1], rtype, begun)
            answer, complete = answer_of(reply, chain, rtype, ttl)
            if complete:
                return answer
            chain, ttl, begun = answer.chain, min(record.ttl for record in reply.records), None
            if len(chain) > MAX_CHAIN:
                raise LookupFailed(Failure.NO_RECOVERY)

    def ask(
        self,
        settings: Settings,
        servers: Sequence[Server],
        name: str | bytes,
        rtype: int,
        begun: Exchange | None = None,
    ) -> Reply:
        """Ask the servers in turn until one gives an answer.

        :param name: as for :meth:`begin`.
        :param begun: as for :meth:`look_up`.
        :raises LookupFailed: no server does.
        """
        race = _Race(begun)
        failed = LookupFailed(Failure.TRY_AGAIN, answered=False)
        try:
            for _ in range(settings.attempts):
                silent = False
                for server in servers:
                    try:
                        reply = self._ask_one(settings, server, name, rtype, race)
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
                    if _answers(reply):
                        return reply
                    failed = _failure_of(reply)
                if not silent:
                    break  # all servers have replied, and would say the same again
        finally:
            race.end()
        raise failed

    def _ask_one(self, settings: Settings, server: Server, name: str | bytes, rtype: int, race: _Race) -> Reply:
        """Ask one server: over TCP if the reply is too long, and without EDNS if the server does not understand it.

        Answers of servers that were asked before count, however late they come.

        :raises TimeoutError: no reply came.
        """
        timeout = settings.timeout
        if not self.takes(server, settings):
            reply, query = self._ask_stream(server, name, rtype, timeout, edns=True)
            if reply.rcode in _DISLIKES and query.edns:
                self._without_edns.add(server)
                reply, _ = self._ask_stream(server, name, rtype, timeout, edns=False)
            return reply
        if not race.begun(server):
            race.add(self.begin(server, name, rtype, timeout))
        while True:
            exchange = race.wait()
            outcome = exchange.outcome
            if outcome is None:  # disliked, without proof: ask without EDNS too
                race.add(self.begin(exchange.server, name, rtype, timeout, edns=False))
            elif isinstance(outcome, OSError):
                if exchange is race.last:
                    raise outcome
            elif outcome.rcode in _DISLIKES and exchange.query.edns:
                self._without_edns.add(exchange.server)
                race.add(self.begin(exchange.server, name, rtype, timeout))
            elif _answers(outcome) or exchange is race.last:
                return self._whole(exchange, outcome, timeout)

    def _whole(self, exchange: Exchange, reply: Reply, timeout: float) -> Reply:
        return over_tcp(self._sockets, exchange.server, exchange.query, timeout) if reply.truncated else reply

    def _ask_stream(
        self, server: Server, name: str | bytes, rtype: int, timeout: float, edns: bool
    ) -> tuple[Reply, Query]:
        query = Query.make(name, rtype, edns=edns and server not in self._without_edns)
        if server.scheme:
            return self._ask_secure(server, query, timeout), query
        return over_tcp(self._sockets, server, query, timeout), query

    def _ask_secure(self, server: Server, query: Query, timeout: float) -> Reply:
        if self._secure is None:
            with importing:
                from hubbub_dns._secure import SecureServers

            self._secure = SecureServers(self._ssl_context)
        return self._secure.ask(server, query, timeout)


class _Race:
    """One question that is under way to several servers; the first answer wins."""

    def __init__(self, begun: Exchange | None) -> None:
        """:param begun: the exchange, if the question was sent to the first server already."""
        self._exchanges: list[Exchange] = []
        self._settled: deque[Exchange] = deque()
        self._waiter: Waiter | None = None
        self._fresh = begun is not None
        self.last: Exchange | None = None
        """The exchange that was begun last."""
        if begun is not None:
            self.add(begun)
            if begun.outcome is not None or begun.disliked:
                self._settled.append(begun)

    def begun(self, server: Server) -> bool:
        """Whether the question was sent to this server before the race began. True once at most."""
        fresh, self._fresh = self._fresh, False
        return fresh and self.last is not None and self.last.server == server

    def add(self, exchange: Exchange) -> None:
        """Wait for this exchange too."""
        exchange.listener = self._tell
        self._exchanges.append(exchange)
        self.last = exchange

    def _tell(self, exchange: Exchange) -> None:
        if exchange.outcome is None and not exchange.disliked:
            return  # its time is over; a late reply still counts
        self._settled.append(exchange)
        if self._waiter is not None and not self._waiter.done:
            self._waiter.wake()

    def wait(self) -> Exchange:
        """Wait for the next exchange that has an outcome, or whose EDNS a server dislikes.

        :raises TimeoutError: the time of the last exchange is over.
        """
        while not self._settled:
            left = self.last.deadline - monotonic() if self.last is not None else 0.0
            if left <= 0:
                raise TimeoutError("timed out")
            self._waiter = Waiter()
            try:
                self._waiter.wait(left)
            finally:
                self._waiter = None
        return self._settled.popleft()

    def end(self) -> None:
        """Stop waiting for all exchanges."""
        for exchange in self._exchanges:
            exchange.end()


def _answers(reply: Reply) -> bool:
    return reply.rcode in _DONE and not reply.lame


def _failure_of(reply: Reply) -> LookupFailed:
    if reply.lame or reply.rcode in (_SERVFAIL, _NOTIMP, _REFUSED):
        return LookupFailed(Failure.TRY_AGAIN, servfail=reply.rcode == _SERVFAIL)
    return LookupFailed(Failure.NO_RECOVERY)
