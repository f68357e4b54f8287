"""The order of destination addresses: RFC 6724, section 6. What is asked of the system comes in as a function.

Rules 3, 4 and 7 (deprecated, home and tunnelled addresses) need more than portable functions tell and are left out.
Rule 9 (the longest matching prefix) is applied to IPv6 alone, where it looks at the network half of the address: for
IPv4 it would undo the load balancing of name servers.
"""

from __future__ import annotations

import _socket
import socket
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

__all__ = ["in_order", "source_of"]

# The bits of a prefix, how many bits follow it, precedence, label: RFC 6724, section 2.1; longest prefix first.
_POLICY = tuple(
    (int.from_bytes(prefix.ljust(16, b"\0")) >> (128 - bits), 128 - bits, precedence, label)
    for prefix, bits, precedence, label in (
        (b"\0" * 15 + b"\1", 128, 50, 0),
        (b"\0" * 10 + b"\xff\xff", 96, 35, 4),
        (b"\0" * 12, 96, 1, 3),
        (b"\x20\x01\0\0", 32, 5, 5),
        (b"\x20\x02", 16, 30, 2),
        (b"\x3f\xfe", 16, 1, 12),
        (b"\xfe\xc0", 10, 1, 11),
        (b"\xfc", 7, 3, 13),
        (b"", 0, 40, 1),
    )
)
_LINK_LOCAL, _SITE_LOCAL, _GLOBAL = 0x2, 0x5, 0xE
_NETWORK_BITS = 64


def in_order(addresses: Sequence[str], source: Callable[[str], str | None]) -> list[str]:
    """The addresses, best first; equally good ones stay in the order given.

    :param addresses: numeric, IPv4 or IPv6, without scopes.
    :param source: the address that packets to one would come from, or None if it cannot be reached.
    """
    if len(addresses) < 2:
        return list(addresses)
    return sorted(addresses, key=lambda address: _rank(address, source(address)))


class _Properties(NamedTuple):
    number: int
    scope: int
    precedence: int
    label: int


def _rank(address: str, source: str | None) -> tuple[bool, bool, bool, int, int, int]:
    """Smaller is better."""
    to = _properties(address)
    if source is None:
        return (True, True, True, -to.precedence, to.scope, 0)  # 1: avoid unusable destinations
    come = _properties(source)
    return (
        False,
        to.scope != come.scope,  # 2: prefer matching scope
        to.label != come.label,  # 5: prefer matching label
        -to.precedence,  # 6: prefer higher precedence
        to.scope,  # 8: prefer smaller scope
        -_common_bits(to.number, come.number) if ":" in address else 0,  # 9: use longest matching prefix
    )


@lru_cache(maxsize=1024)
def _properties(address: str) -> _Properties:
    packed = _packed(address)
    number = int.from_bytes(packed)
    for prefix, shift, precedence, label in _POLICY:
        if number >> shift == prefix:
            return _Properties(number, _scope(packed), precedence, label)
    raise AssertionError("the last prefix matches everything")


def _packed(address: str) -> bytes:
    if ":" in address:
        return socket.inet_pton(socket.AF_INET6, address.partition("%")[0])
    return b"\0" * 10 + b"\xff\xff" + socket.inet_aton(address)


def _scope(packed: bytes) -> int:
    """RFC 6724, section 3.1 and 3.2."""
    if packed.startswith(b"\0" * 10 + b"\xff\xff"):
        return _LINK_LOCAL if packed[12] == 127 or packed[12:14] == b"\xa9\xfe" else _GLOBAL
    if packed[0] == 0xFF:
        return packed[1] & 0xF
    if packed[0] == 0xFE and packed[1] & 0xC0 == 0x80:
        return _LINK_LOCAL
    if packed[0] == 0xFE and packed[1] & 0xC0 == 0xC0:
        return _SITE_LOCAL
    return _LINK_LOCAL if packed == b"\0" * 15 + b"\1" else _GLOBAL


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
