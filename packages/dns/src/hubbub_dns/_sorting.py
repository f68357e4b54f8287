"""The order of destination addresses as glibc has it: RFC 6724, section 6 (glibc calls it RFC 3484).

Functions that ask the system are parameters. The work is done in steps, because some names have thousands of addresses
and other greenlets wait for their turn.
"""

from __future__ import annotations

import _socket
import socket
from collections.abc import Callable, Generator, Mapping, Sequence

from hubbub_dns._interfaces import PLAIN, Traits, current_traits
from hubbub_dns._policy import DEFAULT, Policy, Properties, properties

__all__ = ["in_order", "source_of", "steps"]

_SLICE = 50
"""Addresses between two pauses: about two milliseconds."""


def in_order(
    addresses: Sequence[str],
    source: Callable[[str], str | None],
    policy: Policy = DEFAULT,
    traits: Callable[[], Mapping[str, Traits]] = current_traits,
) -> list[str]:
    """The result of :func:`steps`, without pauses."""
    working = steps(addresses, source, policy, traits)
    while True:
        try:
            next(working)
        except StopIteration as end:
            found: list[str] = end.value
            return found


def steps(
    addresses: Sequence[str],
    source: Callable[[str], str | None],
    policy: Policy = DEFAULT,
    traits: Callable[[], Mapping[str, Traits]] = current_traits,
) -> Generator[None, None, list[str]]:
    """The addresses, best first; equally good ones stay in the order given. Yields now and then.

    :param addresses: numeric, IPv4 or IPv6.
    :param source: returns the address that packets to a destination would come from, or None if it is unreachable.
    :param traits: returns the traits of this machine's addresses. Not called when there is nothing to order.
    """
    if len(addresses) < 2:
        return list(addresses)
    own = traits()
    ranked = []
    for number, address in enumerate(addresses):
        if number % _SLICE == _SLICE - 1:
            yield
        ranked.append((_rank(address, source(address), policy, own), number))
    ranked.sort()
    return [addresses[number] for _, number in ranked]


def _rank(address: str, source: str | None, policy: Policy, traits: Mapping[str, Traits]) -> tuple[int, ...]:
    """The rank of a destination; smaller is better."""
    to = properties(address, policy)
    if source is None:  # 1: avoid unusable destinations
        return (True, True, True, True, True, -to.precedence, True, to.scope, False, 0)
    come = properties(source, policy)
    own = traits.get(source.partition("%")[0], PLAIN)
    return (
        False,
        to.scope != come.scope,  # 2: prefer matching scope
        own.deprecated,  # 3: avoid deprecated addresses
        not own.home,  # 4: prefer home addresses
        to.label != come.label,  # 5: prefer matching label
        -to.precedence,  # 6: prefer higher precedence
        own.tunnelled,  # 7: prefer native transport
        to.scope,  # 8: prefer smaller scope
        ":" in address,  # 9 compares within a family; IPv4 comes first, as it is given
        -_common_bits(address, to, come, own.prefix),  # 9: use longest matching prefix
    )


def _common_bits(address: str, to: Properties, come: Properties, prefix: int) -> int:
    """The common bits of rule 9. For IPv4 they count in the own network only: elsewhere the rule would undo the load
    balancing of name servers."""
    differing = (to.number ^ come.number).bit_length()
    if ":" in address:
        return 128 - differing
    return 32 - differing if differing <= 32 - (prefix or 32) else 0


def source_of(address: str) -> str | None:
    """The local address that the kernel would send from; None if it has no route. Nothing is sent."""
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
