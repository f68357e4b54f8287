"""What the resolvers that ask name servers themselves share: all but the asking.

The :mod:`socket` functions are made of one question, "which records of this type has this name", which the subclasses
put to the servers. Arguments are checked, numeric addresses read and services looked up by the system's own functions,
called so that they never ask a server; so their errors are right by construction.
"""

from __future__ import annotations

import _socket
import ipaddress
import operator
import os
import re
import socket
from abc import abstractmethod
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any, NamedTuple, TypeVar

from hubbub import abc
from hubbub.abc import Address, AddressInfo

from hubbub_dns import _hosts, _nsswitch, _policy, _resolvconf, _sorting, _system
from hubbub_dns._answer import AAAA, PTR, A, Answer
from hubbub_dns._errors import Failure, LookupFailed, gai_error, host_error
from hubbub_dns._files import Watched
from hubbub_dns._flights import Flight, Flights, Land
from hubbub_dns._fork import reinit_after_fork
from hubbub_dns._resolvconf import Settings
from hubbub_dns._servers import Server
from hubbub_dns._system import HostEntry
from hubbub_dns.cache import Cache, shared_cache

__all__ = ["StubResolver"]

_TYPES: dict[int, int] = {socket.AF_INET: A, socket.AF_INET6: AAAA}
_ANY_ADDRESS: dict[int, str] = {socket.AF_INET: "0.0.0.0", socket.AF_INET6: "::"}
_LOOPBACK: dict[int, str] = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}
# Host names as RFC 1123 has them, and the underscore that many use.
_HOST_NAME = re.compile(r"(?=.{1,253}\Z)(?:[A-Za-z0-9_-]{1,63}\.)*[A-Za-z0-9_-]{1,63}\Z")
_SPECIAL = (b"", b"<broadcast>")
"""Hosts that Python itself makes addresses of."""
# As plain integers: an enumeration would cut negative flags to the bits it knows.
_AI_NUMERICHOST = int(socket.AI_NUMERICHOST)
_AI_CANONNAME = int(socket.AI_CANONNAME)
_AI_V4MAPPED = int(getattr(socket, "AI_V4MAPPED", 0))
_AI_ADDRCONFIG = int(getattr(socket, "AI_ADDRCONFIG", 0))
_AI_ALL = int(getattr(socket, "AI_ALL", 0))


T = TypeVar("T")
_Names = tuple[str, list[str]]
"""The canonical name and the others."""
_Key = tuple[tuple[Server, ...], str, int]
"""Who is asked, a name in small letters, and a type of records."""


class _Found(NamedTuple):
    """A name's addresses."""

    canonical: str
    aliases: tuple[str, ...]
    addresses: dict[int, list[str]]
    """By family."""


class StubResolver(abc.Resolver):
    """Asks name servers. Belongs to the thread of its hub.

    The hosts file comes first, then the name servers of resolv.conf(5), over its search list. All files are read again
    when they have changed.

    :param servers: numeric addresses, or (address, port) pairs, to ask instead of those in resolv.conf.
    :param port: the port of servers that are given without one.
    :param cache: where answers are kept: a :class:`~hubbub_dns.cache.Cache`, True for the one of this process (off
        where ``HUBBUB_DNS_CACHE=0``), or None for none.
    :param search: domains to try a name in, instead of resolv.conf's.
    :param ndots: a name with fewer dots is first tried in these domains; instead of resolv.conf's.
    :param timeout: seconds to wait for one server, instead of resolv.conf's (whose default is 5).
    :param attempts: how often to go through the servers, instead of resolv.conf's (whose default is 2).
    :param rotate: whether to begin each look-up with another server, instead of resolv.conf's.
    :param max_queries: how many questions may be under way at a time.
    :param resolv_conf: path of that file.
    :param hosts: path of the hosts file.
    :param nsswitch: path of nsswitch.conf(5), which may put the servers before the hosts file.
    :param gai_conf: path of gai.conf(5), which may change the order of addresses.
    :param reread_seconds: how often to look at most whether these files have changed.
    """

    def __init__(
        self,
        servers: Sequence[str | tuple[str, int]] | None = None,
        *,
        port: int = 53,
        cache: Cache | bool | None = True,
        search: Sequence[str] | None = None,
        ndots: int | None = None,
        timeout: float | None = None,
        attempts: int | None = None,
        rotate: bool | None = None,
        max_queries: int = 256,
        resolv_conf: str = "/etc/resolv.conf",
        hosts: str = "/etc/hosts",
        nsswitch: str = "/etc/nsswitch.conf",
        gai_conf: str = "/etc/gai.conf",
        reread_seconds: float = 1.0,
    ) -> None:
        if timeout is not None and not timeout > 0:
            raise ValueError(f"timeout must be more than 0 seconds, not {timeout!r}")
        if attempts is not None and attempts < 1:
            raise ValueError(f"attempts must be 1 or more, not {attempts!r}")
        self.cache: Cache | None = shared_cache() if cache is True else cache or None
        """Where answers are kept, or None."""
        self._port = port
        self._given_servers = None if servers is None else tuple(Server.make(server, port) for server in servers)
        domains = None if search is None else tuple(domain.rstrip(".") for domain in search)
        options = {"search": domains, "ndots": ndots, "timeout": timeout, "attempts": attempts, "rotate": rotate}
        self._options: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
        self._hosts = Watched(hosts, _hosts.parse, reread_seconds)
        self._resolv_conf = Watched(resolv_conf, _read_settings, reread_seconds)
        self._servers_first = Watched(nsswitch, _nsswitch.parse, reread_seconds)
        self._policy = Watched(gai_conf, _policy.parse, reread_seconds)
        self._read: Settings | None = None
        self._settings = Settings()
        self.servers: tuple[Server, ...] = ()
        """The servers that were asked last."""
        self._flights: Flights[Answer] = Flights(max_queries, self._keep)
        reinit_after_fork(self)

    def __repr__(self) -> str:
        kind = type(self)
        return f"<{kind.__module__}.{kind.__name__} in_flight={len(self._flights)} cache={self.cache!r}>"

    # What subclasses do ---------------------------------------------------------------------------------------------

    @abstractmethod
    def _launch(self, settings: Settings, name: str, rtype: int, land: Land[Answer]) -> Callable[[], None]:
        """Begin to ask the servers for the records of ``name``, which is absolute; do not wait.

        :param land: takes the answer, or LookupFailed.
        :returns: what calls it off.
        """

    def _servers_changed(self) -> None:
        """``self.servers`` or the settings are others than before."""

    # Asking ---------------------------------------------------------------------------------------------------------

    def _current_settings(self) -> Settings:
        read = self._resolv_conf.get()
        if read is not self._read:
            self._read = read
            self._settings = replace(read, **self._options)
            self.servers = self._given_servers or _usable(read.servers, self._port)
            self._servers_changed()
        return self._settings

    def _ask(self, settings: Settings, name: str, rtypes: Sequence[int]) -> list[Answer | BaseException]:
        """All types of one absolute name at the same time: from the cache, or from the servers."""
        lower = name.lower()
        asked = [self._join(settings, name, (self.servers, lower, rtype)) for rtype in rtypes]
        try:
            return [one if isinstance(one, Answer) else one.outcome() for one in asked]
        finally:
            for one in asked:
                if not isinstance(one, Answer):
                    one.leave()

    def _join(self, settings: Settings, name: str, key: _Key) -> Answer | Flight[Answer]:
        known: Answer | None = None if self.cache is None else self.cache.get(key)
        return known or self._flights.join(key, partial(self._launch, settings, name, key[2]))

    def _keep(self, key: _Key, outcome: Answer | BaseException) -> None:
        if self.cache is not None and isinstance(outcome, Answer):
            self.cache.put(key, outcome, outcome.ttl, negative=outcome.failure is not None)

    def _search(self, name: str, rtypes: Sequence[int]) -> tuple[str, list[Answer]]:
        """Try the name in the domains of the search list, in glibc's order.

        :returns: the full name that has records, and the answers that hold them.
        :raises LookupFailed: there is none.
        """
        settings = self._current_settings()
        if settings.no_aaaa:
            rtypes = [rtype for rtype in rtypes if rtype != AAAA]
        bare = name.removesuffix(".")
        names = _resolvconf.candidates(name, settings)
        foremost: LookupFailed | None = None
        nodata: LookupFailed | None = None
        servfail: LookupFailed | None = None
        failed: LookupFailed | None = None
        searching = True
        for candidate in names:
            if not searching and candidate != bare:
                continue
            outcomes = self._ask(settings, candidate, rtypes) if _HOST_NAME.match(candidate) else []
            found = [outcome for outcome in outcomes if isinstance(outcome, Answer) and outcome.values]
            if found:
                return candidate, found
            failed = _worst(outcomes)
            if not failed.answered:
                raise failed
            if candidate == bare:
                foremost = failed if candidate is names[0] else None
                continue
            if failed.failure is Failure.NO_DATA:
                nodata = failed
            if failed.servfail:
                servfail = failed
            searching = failed.is_absence or failed.servfail
        # What glibc reports: the name as it stands if that came first, else the best of the search, else the last.
        raise foremost or nodata or servfail or failed or LookupFailed(Failure.NOT_FOUND)

    def _find(self, name: str, families: Sequence[int]) -> _Found:
        """A name's addresses: hosts file, then ``localhost``, then the servers; or these first."""
        local = _is_localhost(name)
        if self._servers_first.get() and not local:
            return self._either(partial(self._in_servers, name, families), partial(self._in_hosts, name, families))
        found = self._in_hosts(name, families)
        if found is not None:
            return found
        if local:  # RFC 6761, section 6.3: never asked of a server
            return _Found(name, (), {family: [_LOOPBACK[family]] for family in families})
        return self._in_servers(name, families)

    @staticmethod
    def _either(first: Callable[[], T], then: Callable[[], T | None]) -> T:
        """What the servers say, else what the hosts file does, else the servers' failure."""
        try:
            return first()
        except LookupFailed:
            found = then()
            if found is None:
                raise
            return found

    def _in_hosts(self, name: str, families: Sequence[int]) -> _Found | None:
        hosts = self._hosts.get()
        local = {}
        for family in families:
            host = hosts.by_name(name, family)
            if host is not None:
                local[family] = host
        if not local:
            return None
        first = next(iter(local.values()))
        addresses = {family: host.addresses for family, host in local.items()}
        return _Found(first.canonical, tuple(first.aliases), addresses)

    def _in_servers(self, name: str, families: Sequence[int]) -> _Found:
        _, answers = self._search(name, [_TYPES[family] for family in families])
        chain = answers[0].chain
        return _Found(
            chain[-1],
            tuple(chain[:-1]),
            {socket.AF_INET6 if ":" in answer.values[0] else socket.AF_INET: list(answer.values) for answer in answers},
        )

    def _in_order(self, addresses: Sequence[str]) -> list[str]:
        if len(addresses) < 2:
            return list(addresses)
        return _sorting.in_order(addresses, _sorting.source_of, self._policy.get())

    def _find_names(self, address: str) -> HostEntry:
        """The names of a numeric address: hosts file, then the servers; or these first."""
        bare = address.partition("%")[0]
        if self._servers_first.get():
            name, aliases = self._either(partial(self._names_in_servers, bare), partial(self._names_in_hosts, bare))
        else:
            name, aliases = self._names_in_hosts(bare) or self._names_in_servers(bare)
        return name, aliases, [address]

    def _names_in_hosts(self, address: str) -> _Names | None:
        host = self._hosts.get().by_address(address)
        return None if host is None else (host.canonical, host.aliases)

    def _names_in_servers(self, address: str) -> _Names:
        ip = ipaddress.ip_address(address)
        if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped
        settings = self._current_settings()
        (outcome,) = self._ask(settings, ip.reverse_pointer, [PTR])
        if isinstance(outcome, Answer):
            # What is no host name must not get into logs and access lists.
            names = [value for value in outcome.values if _HOST_NAME.match(value)]
            if names:
                return names[0], names[1:]
        raise _worst([outcome])

    # The functions of the socket module -----------------------------------------------------------------------------

    def getaddrinfo(
        self, host: Any, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
    ) -> list[AddressInfo]:
        """:func:`socket.getaddrinfo`."""
        try:
            number = operator.index(flags)
        except TypeError:
            return _system.getaddrinfo(host, port, family, type, proto, flags)  # says what is wrong with it
        whole = isinstance(family, int) and isinstance(type, int) and isinstance(proto, int)
        name = _system.plain_name(host) if whole else None
        if name is None or number & _AI_NUMERICHOST:
            try:
                # The system's checks and its answer for numeric hosts; it asks nobody.
                return _system.getaddrinfo(host, port, family, type, proto, number | _AI_NUMERICHOST)
            except socket.gaierror as error:
                if error.errno != socket.EAI_NONAME or host is None or number & _AI_NUMERICHOST:
                    raise
            name = _text(host)
        if whole and _is_lasting(port, number):
            forms = _kept_forms(port, family, type, proto, number)
        else:
            forms = _forms(port, family, type, proto, number)
        try:
            found = self._find(name, list(forms))
        except LookupFailed as failed:
            raise gai_error(failed.failure) from failed.__cause__
        addresses = _fitting(found, mapped=family == socket.AF_INET6, everything=bool(number & _AI_ALL))
        entries = _entries(self._in_order(addresses), forms, mapped=family == socket.AF_INET6)
        if number & _AI_CANONNAME:
            entries[0] = (*entries[0][:3], found.canonical, entries[0][4])
        return _system.expand(entries)

    def gethostbyname(self, hostname: Any) -> str:
        """:func:`socket.gethostbyname`."""
        name = _name(hostname, socket.AF_INET)
        if name is None:
            return _system.gethostbyname(hostname)
        return self._addresses_of(name)[1][0]

    def gethostbyname_ex(self, hostname: Any) -> tuple[str, list[str], list[str]]:
        """:func:`socket.gethostbyname_ex`."""
        encoded = _encoded(hostname)
        if encoded is None or b"\0" in encoded:
            return _system.gethostbyname_ex(hostname)  # says what is wrong with it
        if encoded in _SPECIAL:
            raise host_error(Failure.NO_RECOVERY)
        name = _name(hostname, socket.AF_INET)
        if name is None:
            return encoded.decode("latin-1"), [], [_system.gethostbyname(hostname)]
        found, addresses = self._addresses_of(name)
        return found.canonical, list(found.aliases), addresses

    def _addresses_of(self, name: str) -> tuple[_Found, list[str]]:
        try:
            found = self._find(name, [socket.AF_INET])
        except LookupFailed as failed:
            raise gai_error(failed.failure) from failed.__cause__
        return found, self._in_order(found.addresses[socket.AF_INET])

    def gethostbyaddr(self, ip_address: Any) -> tuple[str, list[str], list[str]]:
        """:func:`socket.gethostbyaddr`."""
        name = _name(ip_address, socket.AF_UNSPEC)
        if name is not None:
            address = self.getaddrinfo(name, None, 0, socket.SOCK_DGRAM)[0][4][0]
        elif _encoded(ip_address) == b"<broadcast>":
            address = "255.255.255.255"
        elif (numeric := _numeric(ip_address)) is not None:
            address = numeric
        else:
            return _system.gethostbyaddr(ip_address)  # says what is wrong with it
        try:
            return self._find_names(address)
        except LookupFailed as failed:
            raise host_error(failed.failure) from failed.__cause__

    def getnameinfo(self, sockaddr: Address, flags: int) -> tuple[str, str]:
        """:func:`socket.getnameinfo`."""
        try:
            number = operator.index(flags)
        except TypeError:
            return _system.getnameinfo(sockaddr, flags)  # says what is wrong with it
        if number & socket.NI_NUMERICHOST:
            return _system.getnameinfo(sockaddr, number)
        address, service = _system.getnameinfo(sockaddr, number & ~socket.NI_NAMEREQD | socket.NI_NUMERICHOST)
        try:
            name, _, _ = self._find_names(address)
        except LookupFailed as failed:
            if failed.failure is Failure.TRY_AGAIN:
                raise gai_error(Failure.TRY_AGAIN) from failed.__cause__
            if number & socket.NI_NAMEREQD:
                raise gai_error(Failure.NOT_FOUND) from None
            return address, service
        if number & socket.NI_NOFQDN:
            name = _without_own_domain(name)
        return name, service

    def getfqdn(self, name: str = "") -> str:
        """:func:`socket.getfqdn`."""
        return _system.fqdn(self.gethostbyaddr, name)

    # Life -----------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Call off what is under way: those who wait get EAI_AGAIN."""
        self._flights.abort(LookupFailed(Failure.TRY_AGAIN, answered=False))

    def reinit(self) -> None:
        """In the child after ``fork``: the parent's questions are the parent's."""
        self._flights = Flights(self._flights.limit, self._keep)
        for file in (self._hosts, self._resolv_conf, self._servers_first, self._policy):
            file.reinit()
        self._read = None


def _usable(addresses: Sequence[str], port: int) -> tuple[Server, ...]:
    """The servers of resolv.conf without those that are no addresses; this machine if there is none."""
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


def _worst(outcomes: Sequence[Answer | BaseException]) -> LookupFailed:
    """What several questions without records come to. Errors that are no failures of DNS are raised."""
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
    """The same failure for another caller: several may share one."""
    copy = LookupFailed(failed.failure, failed.answered, failed.servfail)
    copy.__cause__ = failed.__cause__
    return copy


def _is_localhost(name: str) -> bool:
    lower = name.rstrip(".").lower()
    return lower == "localhost" or lower.endswith(".localhost")


# Arguments ------------------------------------------------------------------------------------------------------------


def _encoded(host: Any) -> bytes | None:
    """The bytes that the C functions make of a host; None: they refuse it."""
    if isinstance(host, str):
        return host.encode("idna")
    return bytes(host) if isinstance(host, (bytes, bytearray)) else None


def _text(host: str | bytes) -> str:
    """A host that :func:`socket.getaddrinfo` accepts, as far as it reads it: to the first NUL."""
    return (_encoded(host) or b"").partition(b"\0")[0].decode("latin-1")


def _name(host: Any, family: int) -> str | None:
    """The name to look up, or None if the system's function needs none: it is numeric, special or refused."""
    plain = _system.plain_name(host)
    if plain is not None:
        return plain
    encoded = _encoded(host)
    if encoded is None or encoded in _SPECIAL or b"\0" in encoded:
        return None
    try:
        _socket.getaddrinfo(encoded, None, family, 0, 0, _AI_NUMERICHOST)
    except socket.gaierror as error:
        return encoded.decode("latin-1") if error.errno == socket.EAI_NONAME else None
    return None


def _numeric(host: Any) -> str | None:
    """The normal spelling of a numeric address, or None."""
    encoded = _encoded(host)
    if not encoded or b"\0" in encoded:
        return None
    try:
        entries = _socket.getaddrinfo(encoded, None, 0, socket.SOCK_DGRAM, 0, _AI_NUMERICHOST)
    except socket.gaierror:
        return None
    return _socket.getnameinfo(entries[0][4], socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)[0]


def _wanted(family: int, flags: int) -> list[int]:
    """The families to look for."""
    if family == socket.AF_INET6:
        return [socket.AF_INET6, socket.AF_INET] if flags & _AI_V4MAPPED else [socket.AF_INET6]
    return [socket.AF_INET] if family == socket.AF_INET else [socket.AF_INET, socket.AF_INET6]


def _forms(port: Any, family: int, type: int, proto: int, flags: int) -> dict[int, list[tuple[int, int, int, Any]]]:
    """What an address of each family becomes: (family, type, protocol, address to be filled in).

    Asked of the system with an address in place of the name. It raises what it would for the name: an unknown
    service, a socket type that does not fit, and, with AI_ADDRCONFIG, a family that this machine does not have.
    """
    asked = flags & ~(_AI_CANONNAME | _AI_ALL) | _AI_NUMERICHOST
    forms: dict[int, list[tuple[int, int, int, Any]]] = {}
    refusal: socket.gaierror | None = None
    for wanted in _wanted(family, flags):
        own = family or wanted
        try:
            entries = _socket.getaddrinfo(_ANY_ADDRESS.get(own, "0.0.0.0"), port, own, type, proto, asked)
        except socket.gaierror as error:
            refusal = error
            continue
        forms[wanted] = [(f, t, p, address) for f, t, p, _, address in entries]
    if not forms and refusal is not None:
        raise refusal
    return forms


_kept_forms = lru_cache(maxsize=256, typed=True)(_forms)


def _is_lasting(port: Any, flags: int) -> bool:
    """Whether the system's answer is always the same: it looks up no service's name and no interfaces."""
    return (port is None or type(port) is int) and not flags & _AI_ADDRCONFIG


def _fitting(found: _Found, mapped: bool, everything: bool) -> list[str]:
    """The addresses that getaddrinfo returns.

    :param mapped: IPv4 addresses are wanted as IPv6 ones, if there are none of these or ``everything`` is wanted.
    """
    groups = found.addresses
    if mapped and len(groups) > 1 and not everything:
        return groups[socket.AF_INET6]
    return [address for group in groups.values() for address in group]


def _entries(addresses: Sequence[str], forms: dict[int, list[tuple[int, int, int, Any]]], mapped: bool) -> list[Any]:
    """The list that getaddrinfo returns.

    :param mapped: IPv4 addresses are wanted as IPv6 ones.
    """
    entries = []
    for address in addresses:
        bare, _, scope = address.partition("%")
        kind = socket.AF_INET6 if ":" in bare else socket.AF_INET
        if mapped and kind == socket.AF_INET:
            bare = f"::ffff:{bare}"
        for form_family, type, proto, form in forms[kind]:
            rest = (*form[2:3], _scope(scope)) if len(form) == 4 else ()
            entries.append((form_family, type, proto, "", (bare, form[1], *rest)))
    return entries


def _scope(scope: str) -> int:
    """The number of an IPv6 address's scope; 0 if there is none or it is unknown."""
    if scope.isascii() and scope.isdigit():
        return int(scope)
    try:
        return _socket.if_nametoindex(scope) if scope else 0
    except OSError:
        return 0


def _without_own_domain(name: str) -> str:
    _, dot, domain = _socket.gethostname().partition(".")
    return name.removesuffix(dot + domain) if dot else name
