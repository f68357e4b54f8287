"""A base class for resolvers."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from hubbub import abc
from hubbub.abc import Address, AddressInfo

__all__ = ["AbstractResolver", "Parameters"]

if TYPE_CHECKING:
    from hubbub_dns.block import Resolver as _Resolver
else:
    _Resolver = object


class Parameters(_Resolver):
    """gevent's parameters for hubbub's resolvers. A mix-in."""

    def getaddrinfo(
        self, host: Any, port: Any, family: int = 0, socktype: int = 0, proto: int = 0, flags: int = 0
    ) -> list[AddressInfo]:
        """:func:`socket.getaddrinfo`."""
        return super().getaddrinfo(host, port, family, socktype, proto, flags)

    def gethostbyname(self, hostname: Any, family: int = socket.AF_INET) -> str:
        """:func:`socket.gethostbyname`, for any family; 0 is any."""
        if family == socket.AF_INET:
            return super().gethostbyname(hostname)
        return self.gethostbyname_ex(hostname, family)[2][0]

    def gethostbyname_ex(self, hostname: Any, family: int = socket.AF_INET) -> tuple[str, list[str], list[str]]:
        """:func:`socket.gethostbyname_ex`, for any family; 0 is any."""
        if family == socket.AF_INET:
            return super().gethostbyname_ex(hostname)
        return _by_address(self, hostname, family)


def _by_address(resolver: abc.Resolver, hostname: Any, family: int) -> tuple[str, list[str], list[str]]:
    found = resolver.getaddrinfo(hostname, None, family, socket.SOCK_STREAM, 0, socket.AI_CANONNAME)
    return found[0][3] or hostname, [], [entry[4][0] for entry in found]


class AbstractResolver(abc.Resolver):
    """A base class for users' resolvers: methods that are not overridden use ``getaddrinfo``."""

    def close(self) -> None:
        """Nothing: there is nothing to close."""

    def reinit(self) -> None:
        """Nothing: there is nothing to renew."""

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
        return _by_address(self, hostname, family)

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
