"""The resolver that core brings: the system's own functions on a thread pool of their own. hubbub-dns does better."""

from __future__ import annotations

import socket
from collections.abc import Callable
from operator import methodcaller
from typing import Any, TypeVar

from hubbub._config import resolver_class
from hubbub.abc import Address, AddressInfo, Resolver
from hubbub.hub import Hub
from hubbub.threadpool import ThreadPool

__all__ = ["PoolResolver"]

T = TypeVar("T")
"\xe4".encode("idna")  # loads the codec now: in the child of a fork while a thread loads it, the load would never end
_getaddrinfo: Callable[..., Any] = socket.getaddrinfo
_gethostbyname = socket.gethostbyname
_gethostbyname_ex = socket.gethostbyname_ex
_gethostbyaddr = socket.gethostbyaddr
_getnameinfo = socket.getnameinfo
_getfqdn = socket.getfqdn


class PoolResolver(Resolver):
    """Does each lookup in a thread of a pool of its own, never in the users' pool."""

    def __init__(self) -> None:
        self._pool: ThreadPool | None = None

    def _run(self, function: Callable[..., T], *args: Any) -> T:
        if self._pool is None:
            self._pool = ThreadPool(10)
            self._pool.reports = False  # a caller that gave up its lookup does not want to know of a failure
        return self._pool.apply(function, args)

    def getaddrinfo(
        self, host: Any, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
    ) -> list[AddressInfo]:
        """:func:`socket.getaddrinfo`."""
        found: list[AddressInfo] = self._run(_getaddrinfo, host, port, family, type, proto, flags)
        return found

    def gethostbyname(self, hostname: Any) -> str:
        """:func:`socket.gethostbyname`."""
        return self._run(_gethostbyname, hostname)

    def gethostbyname_ex(self, hostname: Any) -> tuple[str, list[str], list[str]]:
        """:func:`socket.gethostbyname_ex`."""
        return self._run(_gethostbyname_ex, hostname)

    def gethostbyaddr(self, ip_address: Any) -> tuple[str, list[str], list[str]]:
        """:func:`socket.gethostbyaddr`."""
        return self._run(_gethostbyaddr, ip_address)

    def getnameinfo(self, sockaddr: Address, flags: int) -> tuple[str, str]:
        """:func:`socket.getnameinfo`."""
        return self._run(_getnameinfo, sockaddr, flags)

    def getfqdn(self, name: str = "") -> str:
        """:func:`socket.getfqdn`."""
        return self._run(_getfqdn, name)

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.kill()
            self._pool = None

    def reinit(self) -> None:
        """In the child after ``fork``: forget the parent's threads."""
        self._pool = None


def _chosen(hub: Hub) -> Resolver:
    return resolver_class()()


Hub.resolver.provide(_chosen, end=methodcaller("close"), renew=methodcaller("reinit"))
