"""The order of destination addresses: RFC 6724, section 6. What is asked of the system comes in as functions.

Rule 9 (the longest matching prefix) is applied to IPv6 alone, where it looks at the network half of the address: for
IPv4 it would undo the load balancing of name servers.
"""

from __future__ import annotations

import _socket
import socket
from collections.abc import Callable, Sequence

from hubbub_dns._interfaces import PLAIN, Traits, traits_of
from hubbub_dns._policy import DEFAULT, Policy, properties

__all__ = ["in_order", "source_of"]

_NETWORK_BITS = 64


def in_order(
    addresses: Sequence[str],
    source: Callable[[str], str | None],
    policy: Policy = DEFAULT,
    traits: Callable[[str], Traits] = traits_of,
) -> list[str]:
    """The addresses, best first; equally good ones stay in the order given.

    :param addresses: numeric, IPv4 or IPv6.
    :param source: the address that packets to one would come from, or None if it cannot be reached.
    :param traits: of such a source address. Not asked for when all come from the same one.
    """
    if len(addresses) < 2:
        return list(addresses)
    sources = {address: source(address) for address in addresses}
    own = {come for come in sources.values() if come is not None}
    known = {come: traits(come) for come in own} if len(own) > 1 else dict.fromkeys(own, PLAIN)
    return sorted(addresses, key=lambda address: _rank(address, sources[address], policy, known))


def _rank(address: str, source: str | None, policy: Policy, traits: dict[str, Traits]) -> tuple[int, ...]:
    """Smaller is better."""
    to = properties(address, policy)
    if source is None:  # 1: avoid unusable destinations
        return (True, True, True, True, True, -to.precedence, True, to.scope, 0)
    come = properties(source, policy)
    own = traits[source]
    return (
        False,
        to.scope != come.scope,  # 2: prefer matching scope
        own.deprecated,  # 3: avoid deprecated addresses
        not own.home,  # 4: prefer home addresses
        to.label != come.label,  # 5: prefer matching label
        -to.precedence,  # 6: prefer higher precedence
        own.tunnelled,  # 7: prefer native transport
        to.scope,  # 8: prefer smaller scope
        -_common_bits(to.number, come.number) if ":" in address else 0,  # 9: use longest matching prefix
    )


def _common_bits(one: int, other: int) -> int:
    return min(128 - (one ^ other).bit_length(), _NETWORK_BITS)


def source_of(address: str) -> str | None:
    """The local address that the kernel would send from; None if there is no route. Nothing is sent."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        probe = _socket.socket(family, socket.SOCK_DGRAM)
    except OSError:
        return None
    try:
        probe.connect((address, 9))
        name: str = probe.getsockname()[0]
    except OSError:
        return None
    finally:
        probe.close()
    return name
