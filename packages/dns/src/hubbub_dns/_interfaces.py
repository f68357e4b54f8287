"""What the rules 3, 4 and 7 of RFC 6724 ask about this machine's own IPv6 addresses, as Linux shows it in files."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import NamedTuple

__all__ = ["PLAIN", "Traits", "traits_of"]

_HOME, _DEPRECATED = 0x10, 0x20  # IFA_F_HOMEADDRESS, IFA_F_DEPRECATED of <linux/if_addr.h>
_TUNNELS = {"768", "769", "776", "778"}
"""Kinds of interfaces, <linux/if_arp.h>: IPv4 or IPv6 inside IPv4 or IPv6, and GRE."""


class Traits(NamedTuple):
    """Of a source address."""

    deprecated: bool
    home: bool
    """Whether it is the home address of a mobile node."""
    tunnelled: bool


PLAIN = Traits(deprecated=False, home=False, tunnelled=False)
"""Of an IPv4 address, and of any where the system does not tell."""


def traits_of(
    source: str, addresses: Path = Path("/proc/net/if_inet6"), devices: Path = Path("/sys/class/net")
) -> Traits:
    """The traits of one of this machine's addresses."""
    if ":" not in source:
        return PLAIN
    wanted = socket.inet_pton(socket.AF_INET6, source.partition("%")[0]).hex()
    try:
        lines = addresses.read_text().splitlines()
    except OSError:
        return PLAIN
    for line in lines:
        words = line.split()
        if len(words) == 6 and words[0] == wanted:
            flags = int(words[4], 16)
            return Traits(bool(flags & _DEPRECATED), bool(flags & _HOME), _is_tunnel(devices / words[5]))
    return PLAIN


def _is_tunnel(device: Path) -> bool:
    try:
        return (device / "type").read_text().strip() in _TUNNELS
    except OSError:
        return False
