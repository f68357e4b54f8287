"""The names and addresses of hosts, from the hosts file and name servers."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, TypeVar

from hubbub import sleep

from hubbub_dns import _hosts, _nsswitch, _policy, _sorting
from hubbub_dns._answer import AAAA, HOST_NAME, PTR, A, Answer
from hubbub_dns._asker import Asker, worst
from hubbub_dns._errors import Failure, LookupFailed
from hubbub_dns._files import Watched
from hubbub_dns._nsswitch import Status
from hubbub_dns._system import HostEntry

__all__ = ["Finder", "Found", "ipv4_within"]

_TYPES: dict[tuple[int, ...], tuple[int, ...]] = {
    (socket.AF_INET,): (A,),
    (socket.AF_INET6,): (AAAA,),
    (socket.AF_INET, socket.AF_INET6): (A, AAAA),
    (socket.AF_INET6, socket.AF_INET): (AAAA, A),
}
_LOOPBACK: dict[int, str] = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}

T = TypeVar("T")
_Names = tuple[str, list[str]]
"""The canonical name and the aliases."""


class Found(NamedTuple):
    """A name's addresses."""

    canonical: str
    aliases: tuple[str, ...]
    addresses: dict[int, list[str]]
    """By family."""


class Finder:
    """Asks the hosts file and name servers in the order of nsswitch.conf(5)."""

    def __init__(self, asker: Asker, *, hosts: str, nsswitch: str, gai_conf: str, reread_seconds: float) -> None:
        """See :class:`hubbub_dns.stub.StubResolver`."""
        self._asker = asker
        self._hosts = Watched(hosts, _hosts.parse, reread_seconds)
        self._plan = Watched(nsswitch, _nsswitch.parse, reread_seconds)
        self._policy = Watched(gai_conf, _policy.parse, reread_seconds)

    def reinit(self) -> None:
        """In the child after ``fork``: the files are read again."""
        for file in (self._hosts, self._plan, self._policy):
            file.reinit()

    def _by_plan(self, in_hosts: Callable[[], T | None], in_servers: Callable[[], T]) -> T:
        """The result of the first service in the plan that has one.

        :raises LookupFailed: none has. The failure is that of the servers, if they were asked.
        """
        found: T | None = None
        failed: LookupFailed | None = None
        for step in self._plan.get():
            status = Status.NOTFOUND
            for service in step.services:
                if service == "files":
                    known = in_hosts()
                else:
                    try:
                        known = in_servers()
                    except LookupFailed as error:
                        known, failed = None, error
                        status = Status.NOTFOUND if error.is_absence else Status.UNAVAIL
                if known is not None:
                    found, status = known, Status.SUCCESS
                    break
            if status in step.final:
                break
        if found is None:
            raise failed or LookupFailed(Failure.NOT_FOUND)
        return found

    # Addresses ------------------------------------------------------------------------------------------------------

    def find(self, name: str, families: tuple[int, ...]) -> Found:
        """A name's addresses.

        :raises LookupFailed: there are none.
        """
        local = "localhost" in (lower := name.lower()) and _is_localhost(lower)
        if local or self._plan.get() is _nsswitch.DEFAULT:
            found = self._in_hosts(name, families)
            if found is not None:
                return found
            if local:  # RFC 6761, section 6.3: no server is asked for it
                return Found(name, (), {family: [_LOOPBACK[family]] for family in families})
            return self._in_servers(name, families)
        return self._by_plan(partial(self._in_hosts, name, families), partial(self._in_servers, name, families))

    def _in_hosts(self, name: str, families: tuple[int, ...]) -> Found | None:
        hosts = self._hosts.get()
        if not hosts.has(name):
            return None
        local = {}
        for family in families:
            host = hosts.by_name(name, family, alone=len(families) == 1)
            if host is not None:
                local[family] = host
        if not local:
            return None
        first = next(iter(local.values()))
        addresses = {family: host.addresses for family, host in local.items()}
        return Found(first.canonical, tuple(first.aliases), addresses)

    def _in_servers(self, name: str, families: tuple[int, ...]) -> Found:
        full, answers = self._asker.search(name, _TYPES[families])
        # Aliases that are no host names must not get into logs and access lists.
        aliases = answers[0].chain
        chain = (full, *filter(HOST_NAME.match, aliases[1:])) if len(aliases) > 1 else (full,)
        addresses: dict[int, list[str]] = {}
        for answer in answers:
            values = answer.values
            addresses[socket.AF_INET6 if ":" in values[0] else socket.AF_INET] = list(values)
        return Found(chain[-1], chain[:-1], addresses)

    def in_order(self, addresses: Sequence[str]) -> list[str]:
        """The addresses as RFC 6724 orders them: the one to try first comes first."""
        if len(addresses) < 2:
            return list(addresses)
        working = _sorting.steps(addresses, _sorting.source_of, self._policy.get())
        while True:
            try:
                next(working)
            except StopIteration as end:
                found: list[str] = end.value
                return found
            sleep(0)

    # Names of addresses ---------------------------------------------------------------------------------------------

    def find_names(self, address: str) -> HostEntry:
        """The names of a numeric address.

        :raises LookupFailed: it has none.
        """
        bare = address.partition("%")[0]
        if bare == "::":  # the unspecified address: glibc asks nowhere for its name
            raise LookupFailed(Failure.NOT_FOUND)
        name, aliases = self._by_plan(partial(self._names_in_hosts, bare), partial(self._names_in_servers, bare))
        return name, aliases, [bare]

    def is_in_hosts(self, address: str) -> bool:
        """Whether the hosts file has names of an address."""
        return self._hosts.get().by_address(address) is not None

    def _names_in_hosts(self, address: str) -> _Names | None:
        host = self._hosts.get().by_address(address)
        return None if host is None else (host.canonical, host.aliases)

    def _names_in_servers(self, address: str) -> _Names:
        ip = ipaddress.ip_address(address)
        ip = ipv4_within(ip) or ip
        settings = self._asker.settings_now()
        (outcome,) = self._asker.ask(settings, ip.reverse_pointer, (PTR,))
        if isinstance(outcome, Answer):
            # Values that are no host names must not get into logs and access lists.
            names = [value for value in outcome.values if HOST_NAME.match(value)]
            if names:
                return names[0], names[1:]
        raise worst([outcome])


def ipv4_within(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address in an IPv6 one that glibc asks servers about instead: in ``::ffff:192.0.2.1`` and the deprecated
    ``::192.0.2.1``."""
    if isinstance(ip, ipaddress.IPv4Address):
        return None
    compatible = 1 < int(ip) < 1 << 32
    return ipaddress.IPv4Address(int(ip)) if compatible else ip.ipv4_mapped


def _is_localhost(lower: str) -> bool:
    lower = lower.rstrip(".")
    return lower == "localhost" or lower.endswith(".localhost")
