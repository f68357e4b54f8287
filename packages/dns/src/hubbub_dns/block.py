"""The system's functions, called as they are: the whole thread waits. For debugging."""

from __future__ import annotations

from typing import Any

from hubbub import abc
from hubbub.abc import Address, AddressInfo

from hubbub_dns import (
    _fork,  # noqa: F401  # loads what the system's functions would import
    _system,
)

__all__ = ["Resolver"]


class Resolver(abc.Resolver):
    """While a lookup runs, no other greenlet of the thread does."""

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.{type(self).__name__}>"

    def getaddrinfo(
        self, host: Any, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
    ) -> list[AddressInfo]:
        """:func:`socket.getaddrinfo`."""
        return _system.getaddrinfo(host, port, family, type, proto, flags)

    def gethostbyname(self, hostname: Any) -> str:
        """:func:`socket.gethostbyname`."""
        return _system.gethostbyname(hostname)

    def gethostbyname_ex(self, hostname: Any) -> tuple[str, list[str], list[str]]:
        """:func:`socket.gethostbyname_ex`."""
        return _system.gethostbyname_ex(hostname)

    def gethostbyaddr(self, ip_address: Any) -> tuple[str, list[str], list[str]]:
        """:func:`socket.gethostbyaddr`."""
        return _system.gethostbyaddr(ip_address)

    def getnameinfo(self, sockaddr: Address, flags: int) -> tuple[str, str]:
        """:func:`socket.getnameinfo`."""
        return _system.getnameinfo(sockaddr, flags)

    def getfqdn(self, name: str = "") -> str:
        """:func:`socket.getfqdn`."""
        return _system.getfqdn(name)

    def close(self) -> None:
        """Nothing is held."""

    def reinit(self) -> None:
        """Nothing is held."""
