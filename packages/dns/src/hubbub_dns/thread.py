"""The system's functions on native threads: lookups get the answers that every other program on the machine gets.

The system decides what is asked (hosts file, DNS, mDNS, directories) and whether answers are kept. A lookup cannot be
called off: when the greenlet that waits is killed, the thread goes on until the system answers.
"""

from __future__ import annotations

import copy
import os
import socket
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from hubbub import abc
from hubbub.abc import Address, AddressInfo
from hubbub.event import AsyncResult
from hubbub.threadpool import ThreadPool

from hubbub_dns import _system
from hubbub_dns._fork import reinit_after_fork

__all__ = ["Resolver"]

T = TypeVar("T")
_AI_NUMERICHOST = int(socket.AI_NUMERICHOST)  # an enumeration would cut negative flags
_NI_NUMERIC = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV


class _Pool(ThreadPool):
    """A pool that reports no failed lookups of greenlets that have given up waiting."""

    reports = False


class Resolver(abc.Resolver):
    """Runs the system's functions on a thread pool of its own, which nothing else uses.

    Equal lookups that are under way at the same time are made once. Numeric addresses are answered at once, without a
    thread. Belongs to the thread of its hub.

    :param threads: how many lookups may run at the same time. None: ``HUBBUB_DNS_THREADS``, or 10.
    """

    def __init__(self, threads: int | None = None) -> None:
        self.threads: int = int(os.environ.get("HUBBUB_DNS_THREADS") or 10) if threads is None else threads
        if self.threads < 1:
            raise ValueError(f"a resolver needs at least 1 thread, not {self.threads!r}")
        self._pool: _Pool | None = None
        self._flights: dict[Any, AsyncResult[Any]] = {}
        reinit_after_fork(self)

    def __repr__(self) -> str:
        kind = type(self)
        return f"<{kind.__module__}.{kind.__name__} threads={self.threads} in_flight={len(self._flights)}>"

    def getaddrinfo(
        self, host: Any, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
    ) -> list[AddressInfo]:
        """:func:`socket.getaddrinfo`."""
        # A thread looks up the name of a service, which may be in a directory on the network.
        quick = (port is None or isinstance(port, int)) and isinstance(flags, int)
        if quick and (_system.plain_name(host) is None or flags & _AI_NUMERICHOST):
            try:
                return _system.getaddrinfo(host, port, family, type, proto, flags | _AI_NUMERICHOST)
            except socket.gaierror as error:
                if error.errno != socket.EAI_NONAME or flags & _AI_NUMERICHOST:
                    raise
        return self._run(_system.getaddrinfo, host, port, family, type, proto, flags)

    def gethostbyname(self, hostname: Any) -> str:
        """:func:`socket.gethostbyname`."""
        return self._run(_system.gethostbyname, hostname)

    def gethostbyname_ex(self, hostname: Any) -> tuple[str, list[str], list[str]]:
        """:func:`socket.gethostbyname_ex`."""
        return self._run(_system.gethostbyname_ex, hostname)

    def gethostbyaddr(self, ip_address: Any) -> tuple[str, list[str], list[str]]:
        """:func:`socket.gethostbyaddr`."""
        return self._run(_system.gethostbyaddr, ip_address)

    def getnameinfo(self, sockaddr: Address, flags: int) -> tuple[str, str]:
        """:func:`socket.getnameinfo`."""
        if isinstance(flags, int) and flags & _NI_NUMERIC == _NI_NUMERIC:
            return _system.getnameinfo(sockaddr, flags)
        return self._run(_system.getnameinfo, sockaddr, flags)

    def getfqdn(self, name: str = "") -> str:
        """:func:`socket.getfqdn`."""
        return _system.fqdn(self.gethostbyaddr, name)

    def close(self) -> None:
        """End the threads. Lookups that have not begun raise RuntimeError."""
        pool, self._pool = self._pool, None
        self._flights = {}
        if pool is not None:
            pool.kill()

    def reinit(self) -> None:
        """In the child after ``fork``: forget the threads and lookups, which only the parent has."""
        self._pool = None
        self._flights = {}

    def _run(self, function: Callable[..., T], *args: Any) -> T:
        """Call in a thread, or join the equal call that is under way. Each caller gets its own copy of the answer."""
        # Types are part of the key: 1, 1.0 and True are equal, but not for the socket functions.
        key = (function, args, *map(type, args))
        try:
            flight = self._flights.get(key)
        except TypeError:  # an argument cannot be hashed: a bytearray as host
            return self._spawn(function, args).get()
        if flight is None or flight.ready():
            flight = self._flights[key] = self._spawn(function, args)
            flight.rawlink(partial(self._landed, key))
        try:
            answer: T = _copied(flight.get())
            return answer
        except Exception as error:
            if error is not flight.exception:
                raise
            raise copy.copy(error) from None

    def _landed(self, key: Any, flight: AsyncResult[Any]) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]

    def _spawn(self, function: Callable[..., T], args: tuple[Any, ...]) -> AsyncResult[T]:
        if self._pool is None:
            self._pool = _Pool(self.threads)
        return self._pool.spawn(function, *args)


def _copied(answer: Any) -> Any:
    """The answer with its lists copied."""
    if isinstance(answer, list):
        return answer.copy()
    if isinstance(answer, tuple):
        return tuple(map(_copied, answer))
    return answer
