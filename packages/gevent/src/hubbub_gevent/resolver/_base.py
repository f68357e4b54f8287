"""A base class for resolvers."""

from __future__ import annotations

import socket
from typing import Any

from hubbub import abc
from hubbub.abc import Address, AddressInfo

__all__ = ["AbstractResolver"]


class AbstractResolver(abc.Resolver):
    """A base class for resolvers of one's own: what is not overridden follows from ``getaddrinfo``."""

    def close(self) -> None:
        """Nothing is held."""

    def reinit(self) -> None:
        """Nothing is held."""

    def getaddrinfo(
        self, host: Any, port: Any, family: int = 0, socktype: int = 0, proto: int = 0, flags: int = 0
    ) -> list[AddressInfo]:
        """:func:`socket.getaddrinfo`."""
        raise NotImplementedError

    def gethostbyname(self, hostname: Any, family: int = socket.AF_INET) -> str:
        """:func:`socket.gethostbyname`."""
        return self.gethostbyname_ex(hostname, family)[2][0]

    def gethostbyname_ex(self, hostname: Any, family: int = socket.AF_INET) -> tuple[str, list[str], list[str]]:
        """:func:`socket.gethostbyname_ex`."""
        found = self.getaddrinfo(hostname, None, family, socket.SOCK_STREAM, 0, socket.AI_CANONNAME)
        return found[0][3] or hostname, [], [entry[4][0] for entry in found]

    def gethostbyaddr(self, ip_address: Any) -> tuple[str, list[str], list[str]]:
        """:func:`socket.gethostbyaddr`."""
        raise NotImplementedError

    def getnameinfo(self, sockaddr: Address, flags: int) -> tuple[str, str]:
        """:func:`socket.getnameinfo`."""
        raise NotImplementedError

    def getfqdn(self, name: str = "") -> str:
        """:func:`socket.getfqdn`."""
        name = name.strip()
        if name in ("", "0.0.0.0", "::"):
            name = socket.gethostname()
        try:
            canonical, aliases, _ = self.gethostbyaddr(name)
        except OSError:
            return name
        return next((known for known in (canonical, *aliases) if "." in known), canonical)
