"""Records of any type, through dnspython."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from hubbub.lowlevel import Hub, get_hub
from hubbub.plugins import importing

if TYPE_CHECKING:
    import dns.name
    import dns.rrset

    from hubbub_dns.dnspython import Resolver

__all__ = ["query"]

_resolvers: WeakKeyDictionary[Hub, Resolver] = WeakKeyDictionary()
"""For hubs whose own resolver is of another kind."""


def query(name: str | dns.name.Name, rdtype: str | int = "A") -> dns.rrset.RRset:
    """The records of one type that a name has. See :meth:`hubbub_dns.dnspython.Resolver.query`.

    Asked of the hub's resolver if that is a dnspython one, else of one with the system's settings.

    :raises ImportError: dnspython is not installed; says how to install it.
    :raises ValueError: ``name`` or ``rdtype`` is none.
    :raises socket.gaierror: there is no answer.
    """
    return _resolver().query(name, rdtype)


def _resolver() -> Resolver:
    with importing:
        from hubbub_dns.dnspython import Resolver

    hub = get_hub()
    if isinstance(hub.resolver, Resolver):
        return hub.resolver
    resolver = _resolvers.get(hub)
    if resolver is None:
        resolver = _resolvers[hub] = Resolver()
    return resolver
