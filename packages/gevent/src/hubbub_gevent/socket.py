"""gevent.socket on hubbub."""

from __future__ import annotations

import socket as __socket__
from typing import Any

from hubbub.abc import READ, WRITE
from hubbub.timeout import Timeout
from hubbub_net import socket as _cooperative

from hubbub_gevent._socket3 import (  # noqa: F401 - the names that __all__ is put together of
    SocketType,
    create_connection,
    create_server,
    fromfd,
    socket,
    socketpair,
)
from hubbub_gevent.hub import get_hub

_EXTENSIONS = ["cancel_wait", "cancel_wait_ex", "timeout_default", "wait", "wait_read", "wait_readwrite", "wait_write"]
__dns__: list[str] = ["getaddrinfo", "gethostbyname", "gethostbyname_ex", "gethostbyaddr", "getnameinfo", "getfqdn"]
__implements__: list[str] = ["create_connection", "socket", "SocketType", "fromfd", "socketpair", *__dns__]
__extensions__: list[str] = _EXTENSIONS
__imports__: list[str] = [name for name in __socket__.__all__ if name not in __implements__]
__imports__ += ["error", "gaierror", "herror", "timeout", "has_ipv6"]
__imports__ = list(dict.fromkeys(__imports__))
__all__ = [*__implements__, *__imports__, *_EXTENSIONS]

_socket = __socket__
timeout_default: Any = object()


class cancel_wait_ex(OSError):
    """The descriptor that a greenlet waits for was closed by another."""

    def __init__(self) -> None:
        super().__init__(9, "File descriptor was closed in another greenlet")


def cancel_wait(watcher: Any, error: Any = cancel_wait_ex) -> None:
    """Throw an error into the greenlet that waits for ``watcher``."""
    get_hub().cancel_wait(watcher, error)


def gethostbyname(hostname: Any) -> Any:
    """:func:`hubbub_net.socket.gethostbyname`."""
    return _cooperative.gethostbyname(hostname)


def gethostbyname_ex(hostname: Any) -> Any:
    """:func:`hubbub_net.socket.gethostbyname_ex`."""
    return _cooperative.gethostbyname_ex(hostname)


def gethostbyaddr(ip_address: Any) -> Any:
    """:func:`hubbub_net.socket.gethostbyaddr`."""
    return _cooperative.gethostbyaddr(ip_address)


def getnameinfo(sockaddr: Any, flags: int) -> Any:
    """:func:`hubbub_net.socket.getnameinfo`."""
    return _cooperative.getnameinfo(sockaddr, flags)


def _wait_fd(fd: Any, events: int, timeout: Any, timeout_exc: Any) -> None:
    io = get_hub().loop.io(fd, events)
    try:
        wait(io, timeout, timeout_exc)
    finally:
        io.close()


def wait_read(fileno: Any, timeout: float | None = None, timeout_exc: Any = timeout_default) -> None:
    """Wait until a descriptor is readable.

    :raises TimeoutError: ``timeout`` seconds have passed; or ``timeout_exc``.
    """
    _wait_fd(fileno, READ, timeout, timeout_exc)


def wait_write(
    fileno: Any, timeout: float | None = None, timeout_exc: Any = timeout_default, event: Any = None
) -> None:
    """Wait until a descriptor is writable; otherwise as :func:`wait_read`."""
    _wait_fd(fileno, WRITE, timeout, timeout_exc)


def wait_readwrite(
    fileno: Any, timeout: float | None = None, timeout_exc: Any = timeout_default, event: Any = None
) -> None:
    """Wait until a descriptor is readable or writable; otherwise as :func:`wait_read`."""
    _wait_fd(fileno, READ | WRITE, timeout, timeout_exc)


def wait(watcher: Any, timeout: float | None = None, timeout_exc: Any = timeout_default, hub: Any = None) -> Any:
    """Wait for one event of a watcher.

    :raises TimeoutError: ``timeout`` seconds have passed; or ``timeout_exc``.
    """
    limit = None
    if timeout is not None:
        error = TimeoutError("timed out") if timeout_exc is timeout_default else timeout_exc
        limit = Timeout.start_new(timeout, error)
    try:
        return (hub or get_hub()).wait(watcher)
    finally:
        if limit is not None:
            limit.cancel()


def __getattr__(name: str) -> Any:
    return getattr(_cooperative, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *dir(_cooperative)})
