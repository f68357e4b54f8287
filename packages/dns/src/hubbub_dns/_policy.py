"""Which addresses are preferred: glibc's policy tables (of RFC 3484), or those of gai.conf(5). No I/O."""

from __future__ import annotations

import ipaddress
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

__all__ = ["DEFAULT", "Policy", "Properties", "parse", "properties"]

_LINK_LOCAL, _SITE_LOCAL, _GLOBAL = 0x2, 0x5, 0xE
_MAPPED = 0xFFFF << 32
"""The bits before an IPv4 address that is written as an IPv6 one."""


class _Row(NamedTuple):
    prefix: int
    """The leading bits that an address must have."""
    shift: int
    """How many bits follow them."""
    value: int


def _rows(table: Iterable[tuple[str, int]]) -> tuple[_Row, ...]:
    """A table, longest prefix first.

    :raises ValueError: a prefix is no IPv6 prefix.
    """
    rows = []
    for text, value in table:
        network = ipaddress.IPv6Network(text if "/" in text else f"{text}/128", strict=False)
        shift = 128 - network.prefixlen
        rows.append(_Row(int(network.network_address) >> shift, shift, value))
    return tuple(sorted(rows, key=lambda row: row.shift))


def _look_up(rows: tuple[_Row, ...], number: int, default: int) -> int:
    return next((value for prefix, shift, value in rows if number >> shift == prefix), default)


@dataclass(frozen=True, eq=False, slots=True)
class Policy:
    """The three tables that order addresses."""

    labels: tuple[_Row, ...]
    precedences: tuple[_Row, ...]
    scopes: tuple[_Row, ...]
    """The scopes of IPv4 addresses, written as IPv6 ones."""


_LABELS = (
    ("::1/128", 0),
    ("::/0", 1),
    ("::ffff:0:0/96", 4),
    ("2002::/16", 2),
    ("2001::/32", 7),
    ("fc00::/7", 6),
    ("::/96", 3),
    ("fec0::/10", 5),
)
_PRECEDENCES = (
    ("::1/128", 50),
    ("::/0", 40),
    ("::ffff:0:0/96", 10),
    ("2002::/16", 30),
    ("::/96", 20),
)
_SCOPES = (("::ffff:169.254.0.0/112", _LINK_LOCAL), ("::ffff:127.0.0.0/104", _LINK_LOCAL), ("::ffff:0:0/96", _GLOBAL))
DEFAULT = Policy(_rows(_LABELS), _rows(_PRECEDENCES), _rows(_SCOPES))


def parse(text: bytes) -> Generator[None, None, Policy]:
    """Read a gai.conf. It replaces the tables that it has lines of. Lines that make no sense are skipped."""
    yield from ()
    tables: dict[str, list[tuple[str, int]]] = {"label": [], "precedence": [], "scopev4": []}
    for line in text.decode("utf-8", "replace").splitlines():
        match line.partition("#")[0].split():
            case [keyword, prefix, number] if keyword in tables and number.isascii() and number[:9].isdigit():
                try:
                    _rows([(prefix, 0)])
                except ValueError:
                    continue
                tables[keyword].append((prefix, int(number[:9])))
    if not any(tables.values()):
        return DEFAULT
    return Policy(
        _rows(tables["label"] or _LABELS),
        _rows(tables["precedence"] or _PRECEDENCES),
        _rows(tables["scopev4"] or _SCOPES),
    )


class Properties(NamedTuple):
    """What a policy says of an address."""

    number: int
    """The address itself; IPv4 ones are written as IPv6 ones."""
    scope: int
    precedence: int
    label: int


@lru_cache(maxsize=1024)  # an address costs ten microseconds
def properties(address: str, policy: Policy) -> Properties:
    """Look a numeric address up in the tables."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv4Address):
        number = _MAPPED | int(ip)
        scope = _look_up(policy.scopes, number, _GLOBAL)
    else:
        number = int(ip)
        scope = _scope(ip)
    # Where no line of gai.conf matches, glibc takes the label 1 and the precedence 40.
    return Properties(number, scope, _look_up(policy.precedences, number, 40), _look_up(policy.labels, number, 1))


def _scope(ip: ipaddress.IPv6Address) -> int:
    """RFC 6724, section 3.1. An IPv4 address that is written as an IPv6 one counts as global, as for glibc."""
    if ip.ipv4_mapped is not None:
        return _GLOBAL
    if ip.is_multicast:
        return ip.packed[1] & 0xF
    if ip.is_link_local or ip.is_loopback:
        return _LINK_LOCAL
    if ip.is_site_local:
        return _SITE_LOCAL
    return _GLOBAL
