"""The common part of the resolvers that ask name servers themselves: all but how a question is sent.

The :mod:`socket` functions are made of one question, "which records of this type has this name". A resolver has a
finder, which knows where names are looked for; the finder has an asker, which puts the question to the servers.
The system's own functions check arguments, read numeric addresses and look services up, called so that they never ask a
server. So the errors for wrong arguments are the system's own.
"""

from __future__ import annotations

import _socket
import errno
import ipaddress
import operator
import os
import socket
from collections.abc import Sequence
from typing import Any

from hubbub import abc, sleep
from hubbub.abc import Address, AddressInfo

from hubbub_dns import _system
from hubbub_dns._asker import Asker
from hubbub_dns._asking import Asking
from hubbub_dns._entries import AI_ALL, AI_CANONNAME, AI_NUMERICHOST, entries, fitting, forms_for
from hubbub_dns._errors import Failure, LookupFailed, gai_error, host_error
from hubbub_dns._finder import Finder, ipv4_within
from hubbub_dns._fork import reinit_after_fork
from hubbub_dns._hostnames import SPECIAL, encoded, is_of_digits, name_of, numeric, text
from hubbub_dns._servers import Server
from hubbub_dns._upstream import Upstream
from hubbub_dns.cache import Cache

__all__ = ["StubResolver"]

_IPV4 = (int(socket.AF_INET),)
_SLICE = 300
"""Addresses between two pauses: about two milliseconds."""


class StubResolver(abc.Resolver):
    """Asks name servers. Belongs to the thread of its hub.

    The hosts file comes first, then the name servers of resolv.conf(5), over its search list. All files are read again
    when they have changed.

    :param servers: numeric addresses, or (address, port) pairs, to ask instead of those in resolv.conf.
    :param port: the port of servers that are given without one.
    :param cache: where answers are kept: a :class:`~hubbub_dns.cache.Cache`, True for the one of this process (none
        if ``HUBBUB_DNS_CACHE=0``), or None for none.
    :param search: domains to try a name in, instead of resolv.conf's.
    :param ndots: a name with fewer dots is first tried in these domains; instead of resolv.conf's.
    :param timeout: seconds to wait for one server, instead of resolv.conf's (whose default is 5).
    :param attempts: how often to go through the servers, instead of resolv.conf's (whose default is 2).
    :param rotate: whether to begin each lookup with another server, instead of resolv.conf's.
    :param max_queries: how many questions may be under way at a time.
    :param resolv_conf: path of that file.
    :param hosts: path of the hosts file.
    :param nsswitch: path of nsswitch.conf(5), which may put the servers before the hosts file.
    :param gai_conf: path of gai.conf(5), which may change the order of addresses.
    :param reread_seconds: seconds between two checks whether these files have changed, at least.
    :param upstream: sends questions; a subclass passes it.
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
        upstream: Upstream,
    ) -> None:
        if timeout is not None and not timeout > 0:
            raise ValueError(f"timeout must be more than 0 seconds, not {timeout!r}")
        if attempts is not None and attempts < 1:
            raise ValueError(f"attempts must be 1 or more, not {attempts!r}")
        domains = None if search is None else tuple(domain.rstrip(".") for domain in search)
        options = {"search": domains, "ndots": ndots, "timeout": timeout, "attempts": attempts, "rotate": rotate}
        self._upstream = upstream
        self._asker = Asker(
            Asking(upstream),
            servers,
            port,
            cache,
            {name: value for name, value in options.items() if value is not None},
            max_queries,
            resolv_conf=resolv_conf,
            reread_seconds=reread_seconds,
        )
        self._finder = Finder(
            self._asker, hosts=hosts, nsswitch=nsswitch, gai_conf=gai_conf, reread_seconds=reread_seconds
        )
        reinit_after_fork(self)

    def __repr__(self) -> str:
        kind = type(self)
        return f"<{kind.__module__}.{kind.__name__} in_flight={len(self._asker.flights)} cache={self.cache!r}>"

    @property
    def cache(self) -> Cache | None:
        """Where answers are kept, or None."""
        return self._asker.cache

    @property
    def servers(self) -> tuple[Server, ...]:
        """The servers that were asked last."""
        return self._asker.servers

    def close(self) -> None:
        """Call off the questions under way (greenlets that wait get EAI_AGAIN), and close all sockets."""
        self._asker.close()

    def reinit(self) -> None:
        """In the child after ``fork``: forget the questions and connections, which are the parent's."""
        self._asker.reinit()
        self._finder.reinit()

    # The functions of the socket module -----------------------------------------------------------------------------

    def getaddrinfo(
        self, host: Any, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
    ) -> list[AddressInfo]:
        """:func:`socket.getaddrinfo`."""
        try:
            number = operator.index(flags)
        except TypeError:
            return _system.getaddrinfo(host, port, family, type, proto, flags)  # raises the right error
        whole = isinstance(family, int) and isinstance(type, int) and isinstance(proto, int)
        name = _system.plain_name(host) if whole else None
        if name is None or number & AI_NUMERICHOST:
            try:
                # The system checks the arguments and answers for numeric hosts, without asking a server.
                return _system.getaddrinfo(host, port, family, type, proto, number | AI_NUMERICHOST)
            except socket.gaierror as error:
                if error.errno != socket.EAI_NONAME or host is None or number & AI_NUMERICHOST:
                    raise
            name = text(host)
            if family == socket.AF_INET and is_of_digits(name):
                raise gai_error(Failure.NOT_FOUND)
        forms = forms_for(port, family, type, proto, number, whole)
        try:
            found = self._finder.find(name, tuple(forms))
        except LookupFailed as failed:
            raise gai_error(failed.failure) from failed.__cause__
        mapped = family == socket.AF_INET6
        addresses = fitting(found, mapped, everything=bool(number & AI_ALL))
        ordered = self._finder.in_order(addresses)
        made = _system.expand(entries(ordered[:_SLICE], forms, mapped))
        for start in range(_SLICE, len(ordered), _SLICE):
            sleep(0)
            made += _system.expand(entries(ordered[start : start + _SLICE], forms, mapped))
        if number & AI_CANONNAME:
            made[0] = (*made[0][:3], found.canonical, made[0][4])
        return made

    def gethostbyname(self, hostname: Any) -> str:
        """:func:`socket.gethostbyname`."""
        name = _system.plain_name(hostname)
        if name is None:
            name = name_of(hostname, socket.AF_INET)
            if name is None:
                return _system.gethostbyname(hostname)
            if is_of_digits(name):
                raise gai_error(Failure.NOT_FOUND)
        try:
            addresses = self._finder.find(name, _IPV4).addresses[socket.AF_INET]
        except LookupFailed as failed:
            raise gai_error(failed.failure) from failed.__cause__
        return addresses[0] if len(addresses) == 1 else self._finder.in_order(addresses)[0]

    def gethostbyname_ex(self, hostname: Any) -> tuple[str, list[str], list[str]]:
        """:func:`socket.gethostbyname_ex`."""
        wire = encoded(hostname)
        if wire is None or b"\0" in wire:
            return _system.gethostbyname_ex(hostname)  # raises the right error
        if wire in SPECIAL:
            raise host_error(Failure.NO_RECOVERY)
        name = name_of(hostname, socket.AF_INET)
        if name is None:
            return self._by_odd_spelling(wire.decode("latin-1"), hostname)
        if is_of_digits(name):
            raise gai_error(Failure.NOT_FOUND)
        try:
            found = self._finder.find(name, _IPV4)
        except LookupFailed as failed:
            raise gai_error(failed.failure) from failed.__cause__
        return found.canonical, list(found.aliases), found.addresses[socket.AF_INET]

    def _by_odd_spelling(self, name: str, hostname: Any) -> tuple[str, list[str], list[str]]:
        """``gethostbyname_ex`` of an address: it is checked, and looked up like a name unless it is digits and dots."""
        address = _system.gethostbyname(hostname)
        if is_of_digits(name):
            return name, [], [address]
        if ":" in name:
            raise host_error(Failure.NOT_FOUND)
        try:
            found = self._finder.find(name, _IPV4)
        except LookupFailed as failed:
            raise host_error(failed.failure) from failed.__cause__
        return found.canonical, list(found.aliases), found.addresses[socket.AF_INET]

    def gethostbyaddr(self, ip_address: Any) -> tuple[str, list[str], list[str]]:
        """:func:`socket.gethostbyaddr`."""
        name = name_of(ip_address, socket.AF_UNSPEC)
        if name is not None:
            address = self.getaddrinfo(name.encode("latin-1"), None, 0, socket.SOCK_DGRAM)[0][4][0]
        elif encoded(ip_address) == b"<broadcast>":
            address = "255.255.255.255"
        elif (written := numeric(ip_address)) is not None:
            address = written
        else:
            return _system.gethostbyaddr(ip_address)  # raises the right error
        try:
            found = self._finder.find_names(address)
        except LookupFailed as failed:
            raise host_error(failed.failure) from failed.__cause__
        ip = ipaddress.ip_address(address)
        if ipv4_within(ip) is not None and not self._finder.is_in_hosts(address):
            raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))  # the name is that of an IPv4 address
        return found

    def getnameinfo(self, sockaddr: Address, flags: int) -> tuple[str, str]:
        """:func:`socket.getnameinfo`."""
        try:
            number = operator.index(flags)
        except TypeError:
            return _system.getnameinfo(sockaddr, flags)  # raises the right error
        if number & socket.NI_NUMERICHOST:
            return _system.getnameinfo(sockaddr, number)
        address, service = _system.getnameinfo(sockaddr, number & ~socket.NI_NAMEREQD | socket.NI_NUMERICHOST)
        try:
            name, _, _ = self._finder.find_names(address)
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


def _without_own_domain(name: str) -> str:
    _, dot, domain = _socket.gethostname().partition(".")
    return name.removesuffix(dot + domain) if dot else name
