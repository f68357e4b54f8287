"""Records of any type, through dnspython."""

from __future__ import annotations

from operator import methodcaller
from typing import TYPE_CHECKING

from hubbub.lowlevel import Hub, HubLocal, get_hub
from hubbub.plugins import importing

if TYPE_CHECKING:
    from dns.name import Name
    from dns.rrset import RRset

    from hubbub_dns.dnspython import Resolver

__all__ = ["query"]


def query(name: str | Name, rdtype: str | int = "A") -> RRset:
    """The records of one type that a name has. See :meth:`hubbub_dns.dnspython.Resolver.query`.

    The hub's resolver is asked if it is a dnspython one, else one with the system's settings.

    :raises ImportError: dnspython is not installed; the message says how to install it.
    :raises ValueError: ``name`` is no domain name, or ``rdtype`` no record type.
    :raises socket.gaierror: there is no answer.
    """
    return _resolver().query(name, rdtype)


def _resolver() -> Resolver:
    with importing:
        from hubbub_dns.dnspython import Resolver

    own = get_hub().resolver
    return own if isinstance(own, Resolver) else _other.get()


def _new_resolver(hub: Hub) -> Resolver:
    with importing:
        from hubbub_dns.dnspython import Resolver

    return Resolver()


_other: HubLocal[Resolver] = HubLocal(
    "The dnspython resolver of a hub whose own resolver is of another kind.",
    _new_resolver,
    end=methodcaller("close"),  # in the child of a fork the resolver starts anew by itself
)
