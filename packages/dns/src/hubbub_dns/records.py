"""Records of any type, through dnspython."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from hubbub.lowlevel import Hub, get_hub

if TYPE_CHECKING:
    import dns.name
    import dns.rrset

    from hubbub_dns.dnspython import Resolver

__all__ = ["query"]

_resolvers: WeakKeyDictionary[Hub, tuple[int, Resolver]] = WeakKeyDictionary()
"""For hubs whose own resolver is of another kind: the process it was made in, and the resolver."""


def query(name: str | dns.name.Name, rdtype: str | int = "A") -> dns.rrset.RRset:
    """The records of one type that a name has. See :meth:`hubbub_dns.dnspython.Resolver.query`.

    Asked of the hub's resolver if that is a dnspython one, else of one with the system's settings.

    :raises ImportError: dnspython is not installed; says how to install it.
    :raises ValueError: ``name`` or ``rdtype`` is none.
    :raises socket.gaierror: there is no answer.
    """
    return _resolver().query(name, rdtype)


def _resolver() -> Resolver:
    from hubbub_dns.dnspython import Resolver

    hub = get_hub()
    if isinstance(hub.resolver, Resolver):
        return hub.resolver
    process, resolver = _resolvers.get(hub, (0, None))
    if resolver is None or process != os.getpid():
        resolver = Resolver()
        _resolvers[hub] = os.getpid(), resolver
    return resolver
