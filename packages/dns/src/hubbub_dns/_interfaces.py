"""The prefixes, flags and interfaces of this machine's addresses, by rtnetlink(7) on Linux, for ordering addresses."""

from __future__ import annotations

import _socket
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from hubbub.lowlevel import monotonic

__all__ = ["PLAIN", "Traits", "current_traits", "traits_of_all"]

_HOME, _DEPRECATED = 0x10, 0x20  # IFA_F_HOMEADDRESS, IFA_F_DEPRECATED of <linux/if_addr.h>
_TUNNELS = {"768", "769", "776"}
"""Kinds of interfaces that glibc takes for tunnels, <linux/if_arp.h>: IPv4 or IPv6 inside IPv4 or IPv6."""
_NETLINK = getattr(socket, "AF_NETLINK", None)
_GETADDR, _DUMP, _NEWADDR, _DONE = 22, 0x301, 20, 3  # <linux/rtnetlink.h>, <linux/netlink.h>
_ADDRESS, _LOCAL = 1, 2  # IFA_ADDRESS, IFA_LOCAL
_HEADER = struct.Struct("=LHHLL")
_ABOUT = struct.Struct("=BBBBL")
_ATTRIBUTE = struct.Struct("=HH")
_MAX_DUMP = 1 << 16
_PATIENCE = 0.2
"""Seconds; the kernel answers at once."""


class Traits(NamedTuple):
    """The properties of a source address that count for the order of destinations."""

    prefix: int
    """Length of its network's prefix, in bits."""
    deprecated: bool
    home: bool
    """Whether it is the home address of a mobile node."""
    tunnelled: bool


PLAIN = Traits(prefix=0, deprecated=False, home=False, tunnelled=False)
"""The traits of any address where the system does not tell."""


def traits_of_all(devices: Path = Path("/sys/class/net")) -> dict[str, Traits]:
    """The traits of all addresses of this machine; empty where the system does not tell."""
    try:
        dump = b"".join(_dumped())
    except OSError:
        return {}
    tunnels: dict[int, bool] = {}
    found = {}
    for family, prefix, flags, index, packed in _read(dump):
        if index not in tunnels:
            tunnels[index] = _is_tunnel(index, devices)
        traits = Traits(prefix, bool(flags & _DEPRECATED), bool(flags & _HOME), tunnels[index])
        found[socket.inet_ntop(family, packed)] = traits
    return found


_known: tuple[float, dict[str, Traits]] = (float("-inf"), {})
_LASTING = 1.0


def current_traits() -> dict[str, Traits]:
    """As :func:`traits_of_all`, up to a second old."""
    global _known
    until, traits = _known
    if monotonic() >= until:
        traits = traits_of_all()
        _known = (monotonic() + _LASTING, traits)
    return traits


def _dumped() -> Iterator[bytes]:
    """The datagrams of the kernel's reply, as they come."""
    if _NETLINK is None:
        return
    sock = _socket.socket(_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
    try:
        sock.settimeout(_PATIENCE)
        sock.send(_HEADER.pack(_HEADER.size + _ABOUT.size, _GETADDR, _DUMP, 1, 0) + _ABOUT.pack(0, 0, 0, 0, 0))
        while True:
            part = sock.recv(_MAX_DUMP)
            yield part
            if any(kind != _NEWADDR for kind, _ in _messages(part)):
                return
    finally:
        sock.close()


def _messages(dump: bytes) -> Iterator[tuple[int, bytes]]:
    """Kind and content of each message."""
    offset = 0
    while offset + _HEADER.size <= len(dump):
        length, kind, _, _, _ = _HEADER.unpack_from(dump, offset)
        if length < _HEADER.size:
            return
        yield kind, dump[offset + _HEADER.size : offset + length]
        offset += _aligned(length)


def _read(dump: bytes) -> Iterator[tuple[int, int, int, int, bytes]]:
    """Family, prefix length, flags, interface and address of each address."""
    for kind, content in _messages(dump):
        if kind != _NEWADDR or len(content) < _ABOUT.size:
            continue
        family, prefix, flags, _, index = _ABOUT.unpack_from(content)
        attributes = dict(_attributes(content[_ABOUT.size :]))
        packed = attributes.get(_LOCAL) or attributes.get(_ADDRESS)
        if packed is not None and len(packed) == {socket.AF_INET: 4, socket.AF_INET6: 16}.get(family):
            yield family, prefix, flags, index, packed


def _attributes(content: bytes) -> Iterator[tuple[int, bytes]]:
    offset = 0
    while offset + _ATTRIBUTE.size <= len(content):
        length, kind = _ATTRIBUTE.unpack_from(content, offset)
        if length < _ATTRIBUTE.size:
            return
        yield kind, content[offset + _ATTRIBUTE.size : offset + length]
        offset += _aligned(length)


def _aligned(length: int) -> int:
    return (length + 3) & ~3


def _is_tunnel(index: int, devices: Path) -> bool:
    try:
        return (devices / _socket.if_indextoname(index) / "type").read_text().strip() in _TUNNELS
    except OSError:
        return False
