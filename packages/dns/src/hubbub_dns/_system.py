"""The operating system's own functions, even when the socket module is patched.

They are those of ``_socket``; the :mod:`socket` module only turns numbers into enumerations.
"""

from __future__ import annotations

import _socket
import re
import socket
from collections.abc import Callable
from typing import Any

from hubbub.abc import Address, AddressInfo

__all__ = [
    "HostEntry",
    "expand",
    "fqdn",
    "getaddrinfo",
    "getfqdn",
    "gethostbyaddr",
    "gethostbyname",
    "gethostbyname_ex",
    "getnameinfo",
    "plain_name",
]

HostEntry = tuple[str, list[str], list[str]]

_FAMILIES: dict[int, int] = {int(member): member for member in socket.AddressFamily}
_KINDS: dict[int, int] = {int(member): member for member in socket.SocketKind}
# A host name whose last label begins with a letter: inet_aton(3) makes an address of none of these.
_PLAIN_NAME = re.compile(r"(?=[^-].{0,252}\Z)(?:[A-Za-z0-9_-]{1,63}\.)*[A-Za-z][A-Za-z0-9_-]{0,62}\Z")
_UNSPECIFIED = ("", "0.0.0.0", "::")

gethostbyname: Callable[[Any], str] = _socket.gethostbyname
gethostbyname_ex: Callable[[Any], HostEntry] = _socket.gethostbyname_ex
gethostbyaddr: Callable[[Any], HostEntry] = _socket.gethostbyaddr
getnameinfo: Callable[[Address, int], tuple[str, str]] = _socket.getnameinfo


def getaddrinfo(
    host: Any, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
) -> list[AddressInfo]:
    """:func:`socket.getaddrinfo`."""
    return expand(_socket.getaddrinfo(host, port, family, type, proto, flags))


def expand(entries: list[Any]) -> list[AddressInfo]:
    """Turn numbers into the enumerations that :func:`socket.getaddrinfo` returns; unknown numbers stay."""
    return [(_FAMILIES.get(f, f), _KINDS.get(t, t), p, name, address) for f, t, p, name, address in entries]


def getfqdn(name: str = "") -> str:
    """:func:`socket.getfqdn`."""
    return fqdn(gethostbyaddr, name)


def fqdn(by_address: Callable[[Any], HostEntry], name: str) -> str:
    """:func:`socket.getfqdn` by means of a ``gethostbyaddr``: the first of the names that has a dot."""
    name = name.strip()
    if name in _UNSPECIFIED:
        name = _socket.gethostname()
    try:
        hostname, aliases, _ = by_address(name)
    except OSError:
        return name
    return next((alias for alias in (hostname, *aliases) if "." in alias), hostname)


def plain_name(host: Any) -> str | None:
    """``host`` if it is certainly a name to look up, so that the system need not be asked; None if not certain."""
    return host if type(host) is str and _PLAIN_NAME.match(host) else None
