"""Hosts as the :mod:`socket` functions accept them: which of them are names to look up."""

from __future__ import annotations

import _socket
import socket
from typing import Any

from hubbub_dns import _system

__all__ = ["SPECIAL", "encoded", "is_of_digits", "name_of", "numeric", "text"]

SPECIAL = (b"", b"<broadcast>")
"""Hosts that Python itself turns into addresses."""
# As a plain integer: an enumeration would cut negative flags to the bits it knows.
_AI_NUMERICHOST = int(socket.AI_NUMERICHOST)


def encoded(host: Any) -> bytes | None:
    """The bytes that the C functions make of a host; None if they refuse it."""
    if isinstance(host, str):
        return host.encode("idna")
    return bytes(host) if isinstance(host, (bytes, bytearray)) else None


def text(host: str | bytes) -> str:
    """A host that :func:`socket.getaddrinfo` accepts, up to the first NUL, where that function stops reading."""
    return (encoded(host) or b"").partition(b"\0")[0].decode("latin-1")


def name_of(host: Any, family: int) -> str | None:
    """The name to look up, or None if the system's function needs none: it is numeric, special or refused."""
    plain = _system.plain_name(host)
    if plain is not None:
        return plain
    wire = encoded(host)
    if wire is None or wire in SPECIAL or b"\0" in wire:
        return None
    try:
        _socket.getaddrinfo(wire, None, family, 0, 0, _AI_NUMERICHOST)
    except socket.gaierror as error:
        return wire.decode("latin-1") if error.errno == socket.EAI_NONAME else None
    return None


def is_of_digits(name: str) -> bool:
    """Whether glibc takes a name for an IPv4 address, and never looks it up, where only IPv4 is wanted."""
    return name[:1].isdigit() and not name.endswith(".") and name.replace(".", "").isdigit() and name.isascii()


def numeric(host: Any) -> str | None:
    """The normal spelling of a numeric address, or None."""
    wire = encoded(host)
    if not wire or b"\0" in wire:
        return None
    try:
        entries = _socket.getaddrinfo(wire, None, 0, socket.SOCK_DGRAM, 0, _AI_NUMERICHOST)
    except socket.gaierror:
        return None
    return _socket.getnameinfo(entries[0][4], socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)[0]
