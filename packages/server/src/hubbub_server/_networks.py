"""Networks whose hosts are believed."""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

__all__ = ["Host", "Networks", "host_of"]

Host: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
_REMEMBERED = 1024


def host_of(text: str) -> Host | None:
    """The host with a numeric address; an IPv4 address in the guise of IPv6 is an IPv4 address. None for other text."""
    try:
        host = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = host.ipv4_mapped if isinstance(host, ipaddress.IPv6Address) else None
    return host if mapped is None else mapped


class Networks:
    """Some networks.

    :param texts: such as ``"10.0.0.0/8"``, ``"::1"``, ``"unix"`` for clients of UNIX sockets, ``"*"`` for all
        clients; several in one text are separated by commas.
    :raises ValueError: something is none of these, or has bits set beyond its prefix.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self._networks: list[Any] = []
        self._all = self._unix = False
        self._names = [part.strip() for text in texts for part in text.split(",")]
        for name in self._names:
            if name == "*":
                self._all = self._unix = True
            elif name == "unix":
                self._unix = True
            else:
                self._networks.append(_network(name))
        self.has_host: Callable[[Host], bool] = functools.lru_cache(_REMEMBERED)(self._has_host)
        """Whether a host is in one of them."""

    def has(self, address: Any) -> bool:
        """Whether the address of a socket is in one of them; that of a UNIX socket is no tuple."""
        if not isinstance(address, tuple):
            return self._unix
        host = host_of(address[0])
        return host is not None and self.has_host(host)

    def _has_host(self, host: Host) -> bool:
        return self._all or any(host in network for network in self._networks)

    def __str__(self) -> str:
        return ",".join(self._names)


def _network(name: str) -> Any:
    try:
        return ipaddress.ip_network(name)
    except ValueError as error:
        raise ValueError(f"a network is like 10.0.0.0/8, 192.0.2.1, ::1, unix or *, not {name!r}: {error}") from None
