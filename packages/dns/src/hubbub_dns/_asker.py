"""The one question that all lookups are made of: which records of this type has this name?

The cache answers it, or the name servers of resolv.conf(5).
"""

from __future__ import annotations

import _socket
import os
from collections.abc import Generator, Hashable, Sequence
from dataclasses import replace
from typing import Any
from weakref import WeakValueDictionary

from hubbub_dns import _resolvconf
from hubbub_dns._answer import AAAA, HOST_NAME, Answer
from hubbub_dns._asking import Asking
from hubbub_dns._errors import Failure, LookupFailed
from hubbub_dns._files import Watched
from hubbub_dns._flights import Flight, Flights
from hubbub_dns._resolvconf import Settings
from hubbub_dns._servers import Server
from hubbub_dns.cache import Cache, shared_cache

__all__ = ["Asker", "worst"]

_Key = tuple[Hashable, str, int]
"""The servers that are asked, a name in small letters, and a type of records."""


class _Origin:
    """Stands for the servers that are asked in keys, where it is compared by identity, which is quicker."""

    def __init__(self, servers: tuple[Server, ...]) -> None:
        self.servers = servers

    def __repr__(self) -> str:
        return f"{self.servers}"


_origins: WeakValueDictionary[tuple[Server, ...], _Origin] = WeakValueDictionary()
"""One for each set of servers, so that resolvers can share a cache."""


class Asker:
    """Asks name servers. Belongs to the thread of its hub."""

    def __init__(
        self,
        asking: Asking,
        servers: Sequence[str | tuple[str, int]] | None,
        port: int,
        cache: Cache | bool | None,
        options: dict[str, Any],
        max_queries: int,
        *,
        resolv_conf: str,
        reread_seconds: float,
    ) -> None:
        """See :class:`hubbub_dns.stub.StubResolver`. ``options`` replace those of resolv.conf."""
        self._asking = asking
        self.cache: Cache | None = shared_cache() if cache is True else cache or None
        """Where answers are kept, or None."""
        self.port = port
        self.given_servers = None if servers is None else tuple(Server.make(server, port) for server in servers)
        self._options = options
        self._resolv_conf = Watched(resolv_conf, _read_settings, reread_seconds)
        self._read: Settings | None = None
        self._settings = Settings()
        self._origin: Hashable = ()
        self.flights: Flights[Answer] = self._new_flights(max_queries)

    def _new_flights(self, limit: int) -> Flights[Answer]:
        return Flights(limit, self._asking.begin, self._asking.stop, self._keep)

    @property
    def servers(self) -> tuple[Server, ...]:
        """The servers that were asked last."""
        return self._asking.servers

    def settings_now(self) -> Settings:
        """The settings of resolv.conf as it is now, with ``options`` applied. Sets ``servers`` to match them."""
        read = self._resolv_conf.get()
        if read is not self._read:
            self._read = read
            self._settings = replace(read, **self._options)
            servers = self.given_servers or _usable(read.servers, self.port)
            self._origin = _origins.setdefault(servers, _Origin(servers))
            self._asking.ask_now(servers)
        return self._settings

    def ask(self, settings: Settings, name: str, rtypes: Sequence[int]) -> Sequence[Answer | BaseException]:
        """Ask for all types of one absolute name at the same time: from the cache, or from the servers."""
        if len(rtypes) != 1:
            return self._ask_several(settings, name.lower(), rtypes)
        # The usual case, written out: with thousands of waiting greenlets each list and cell that they hold costs.
        key = (self._origin, name.lower(), rtypes[0])
        known = None if self.cache is None else self.cache.get(key)
        if known is not None:
            return (known,)
        flight = self.flights.join(key, settings)
        try:
            return (flight.outcome(),)
        finally:
            flight.leave()

    def _ask_several(self, settings: Settings, lower: str, rtypes: Sequence[int]) -> list[Answer | BaseException]:
        asked = [self._join(settings, lower, rtype) for rtype in rtypes]
        try:
            return [one.outcome() if type(one) is Flight else one for one in asked]
        finally:
            for one in asked:
                if type(one) is Flight:
                    one.leave()

    def _join(self, settings: Settings, name: str, rtype: int) -> Any:
        """The answer from the cache, or a flight, which the caller must leave."""
        key = (self._origin, name, rtype)
        known = None if self.cache is None else self.cache.get(key)
        return self.flights.join(key, settings) if known is None else known

    def _keep(self, key: _Key, outcome: Answer | BaseException) -> None:
        if self.cache is not None and isinstance(outcome, Answer):
            negative = outcome.failure is not None
            self.cache.put(key, outcome, outcome.ttl, negative=negative, size=outcome.size())

    def search(self, name: str, rtypes: Sequence[int]) -> tuple[str, list[Answer]]:
        """Try the name in the domains of the search list, in glibc's order.

        :returns: the full name that has records, and the answers that hold them.
        :raises LookupFailed: there is none.
        """
        settings = self.settings_now()
        if settings.no_aaaa:
            rtypes = [rtype for rtype in rtypes if rtype != AAAA]
        bare = name.removesuffix(".")
        names = _resolvconf.candidates(name, settings)
        foremost: LookupFailed | None = None
        nodata: LookupFailed | None = None
        servfail: LookupFailed | None = None
        failed: LookupFailed | None = None
        searching = True
        for number in range(len(names)):
            candidate = names[number]
            if not searching and candidate != bare:
                continue
            outcomes = self.ask(settings, candidate, rtypes) if HOST_NAME.match(candidate) else []
            found = []
            for outcome in outcomes:
                if type(outcome) is Answer and outcome.values:
                    found.append(outcome)
            if found:
                return candidate, found
            failed = worst(outcomes)
            if not failed.answered:
                raise failed
            if candidate == bare:
                foremost = None if number else failed
                continue
            if failed.failure is Failure.NO_DATA:
                nodata = failed
            if failed.servfail:
                servfail = failed
            searching = failed.is_absence or failed.servfail
        # As glibc: the failure of the name as it stands if that came first, else the best of the search, else the last.
        raise foremost or nodata or servfail or failed or LookupFailed(Failure.NOT_FOUND)

    # Life -----------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Call off the questions under way (greenlets that wait get EAI_AGAIN), and close all sockets."""
        self.flights.abort(LookupFailed(Failure.TRY_AGAIN, answered=False))
        self._asking.close()

    def reinit(self) -> None:
        """In the child after ``fork``: forget the questions and connections, which are the parent's."""
        self._asking.reinit()
        self.flights = self._new_flights(self.flights.limit)
        self._resolv_conf.reinit()
        self._read = None


def worst(outcomes: Sequence[Answer | BaseException]) -> LookupFailed:
    """The failure to report for several questions without records. Errors that are no failures of DNS are raised."""
    failures = []
    for outcome in outcomes:
        if isinstance(outcome, LookupFailed):
            failures.append(_again(outcome))
        elif isinstance(outcome, BaseException):
            raise outcome
        else:
            failures.append(LookupFailed(outcome.failure or Failure.NO_DATA))
    order = (Failure.TRY_AGAIN, Failure.NO_RECOVERY, Failure.NO_DATA, Failure.NOT_FOUND)
    failures.sort(key=lambda failed: (failed.answered, order.index(failed.failure)))
    return failures[0] if failures else LookupFailed(Failure.NOT_FOUND)


def _again(failed: LookupFailed) -> LookupFailed:
    """A copy of the failure: several callers may share one outcome, and each raises its own."""
    copy = LookupFailed(failed.failure, failed.answered, failed.servfail)
    copy.__cause__ = failed.__cause__
    return copy


def _usable(addresses: Sequence[str], port: int) -> tuple[Server, ...]:
    """The servers of resolv.conf that are addresses; this machine if there are none."""
    servers = []
    for address in addresses:
        try:
            servers.append(Server.make(address, port))
        except ValueError:
            continue
    return tuple(servers) or (Server("127.0.0.1", port),)


def _read_settings(text: bytes) -> Generator[None, None, Settings]:
    yield from ()
    return _resolvconf.parse(text.decode("utf-8", "replace"), os.environ, _socket.gethostname())
