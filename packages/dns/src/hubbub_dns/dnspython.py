"""Name servers asked over hubbub's own sockets: only the greenlet that asks waits.

dnspython reads the records of :meth:`Resolver.query`. This package itself reads replies to lookups of addresses and
host names: they are a thousand times as many, anybody may send them, and dnspython takes 0.3 ms for each of their
records.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hubbub.lowlevel import monotonic
from hubbub.plugins import importing

from hubbub_dns._errors import Failure, LookupFailed, gai_error
from hubbub_dns._ports import Ports
from hubbub_dns._upstream import Upstream
from hubbub_dns._wire import Reply
from hubbub_dns.stub import StubResolver

try:
    import dns.exception
    import dns.message
    import dns.name
    import dns.rdatatype
except ImportError as _error:
    raise ImportError(
        f"the dnspython resolver needs dnspython: pip install 'hubbub-dns[dnspython]' ({_error})"
    ) from _error

if TYPE_CHECKING:
    from dns.name import Name
    from dns.rrset import RRset

__all__ = ["Resolver"]

_NXDOMAIN = 3
_PER_BYTE = 40
"""About how many bytes the objects of dnspython take for each byte of a message."""


class Resolver(StubResolver):
    """Takes the parameters of :class:`hubbub_dns.stub.StubResolver`, and one more.

    ``servers`` may be behind TLS: ``tls://192.0.2.1#dns.example`` (RFC 7858) or
    ``https://192.0.2.1/dns-query#dns.example`` (RFC 8484), with the name that the certificate must have.

    :param ssl_context: an :mod:`ssl` context for such servers; None for one that trusts the system's authorities.
    """

    def __init__(self, *args: Any, ssl_context: Any = None, **kwargs: Any) -> None:
        super().__init__(*args, upstream=Upstream(ssl_context, Ports()), **kwargs)

    def query(self, name: str | Name, rdtype: str | int = "A") -> RRset:
        """The records of one type that a name has: MX, TXT, SRV and all others that dnspython reads.

        The name is taken as complete (the search list is for host names), and CNAME records are followed.

        :param name: text beyond ASCII is turned into its IDNA form.
        :param rdtype: the type's name or number.
        :returns: the records (objects of dnspython's), with ``ttl`` the seconds that they may still be kept.
        :raises ValueError: ``name`` is no domain name, or ``rdtype`` no record type.
        :raises socket.gaierror: EAI_NONAME, there is no such name; EAI_NODATA, it has no such records; EAI_AGAIN, no
            server answered; EAI_FAIL, the answer makes no sense.
        """
        try:
            asked = dns.name.from_text(name) if isinstance(name, str) else name
            number = dns.rdatatype.RdataType.make(rdtype)
            wire = asked.to_digestable()
        except (dns.exception.DNSException, ValueError) as error:
            raise ValueError(f"{name!r} {rdtype!r} cannot be asked for: {error!r}") from error
        settings = self._asker.settings_now()
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
        copy: RRset = records.copy()
        copy.ttl = max(0, round(until - monotonic()))
        return copy

    @staticmethod
    def _records(reply: Reply) -> tuple[RRset | Failure, float]:
        """The records of a reply, or why there are none; and the time of the monotonic clock until which they keep."""
        negative_until = monotonic() + (reply.negative_ttl or 0.0)
        if reply.rcode == _NXDOMAIN:
            return Failure.NOT_FOUND, negative_until
        try:
            with importing:  # dnspython imports the module of a record type when it first reads such a record
                message: Any = dns.message.from_wire(reply.wire, ignore_trailing=True)
            found = message.resolve_chaining()
        except Exception:  # whatever dnspython raises for bytes from the network, the reply makes no sense
            raise LookupFailed(Failure.NO_RECOVERY) from None
        if found.answer is None:
            return Failure.NO_DATA, negative_until
        # The records that resolve_chaining returns have the canonical name.
        return found.answer, monotonic() + found.minimum_ttl
