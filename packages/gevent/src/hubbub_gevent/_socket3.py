"""gevent._socket3 on hubbub: the socket class, and functions that make sockets."""

from __future__ import annotations

import socket as __socket__
from typing import Any

from hubbub.hub import get_hub
from hubbub.timeout import Timeout
from hubbub_net import socket as _cooperative

__all__ = ["SocketType", "create_connection", "create_server", "fromfd", "ours", "socket", "socketpair"]

_UNSET: Any = object()
_GLOBAL_DEFAULT_TIMEOUT = __socket__._GLOBAL_DEFAULT_TIMEOUT  # type: ignore[attr-defined]  # not public


class socket(_cooperative.socket):
    """:class:`hubbub_net.socket.socket` with gevent's attributes."""

    __slots__ = ()

    def __repr__(self) -> str:
        name = f"{type(self).__module__}.{type(self).__name__}"
        fd = self.fileno()
        if fd < 0:
            return f"<{name} [closed] at {id(self):#x} object>"
        return (
            f"<{name} at {id(self):#x} object, fd={fd}, family={int(self.family)}, "
            f"type={int(self.type)}, proto={self.proto}>"
        )

    @property
    def hub(self) -> Any:
        """The hub of this thread."""
        return get_hub()

    @property
    def _sock(self) -> Any:
        """In gevent the socket that this one wraps; here the socket itself."""
        return self

    @property
    def ref(self) -> bool:
        """Always true: a greenlet that waits for a socket keeps the loop from ending."""
        return True

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self.fileno() < 0

    def send(self, data: Any, flags: int = 0, timeout: Any = _UNSET) -> int:
        """:meth:`socket.socket.send`.

        :param timeout: seconds, for this call in place of the socket's own limit.
        """
        if timeout is _UNSET:
            return super().send(data, flags)
        limit = Timeout.start_new(timeout, TimeoutError("timed out"))
        try:
            return super().send(data, flags)
        finally:
            limit.cancel()


SocketType = socket


def ours(new: Any) -> Any:
    """A socket of this class in the place of ``new``, one of hubbub's."""
    new.__class__ = socket
    return new


def create_connection(
    address: Any, timeout: Any = _GLOBAL_DEFAULT_TIMEOUT, source_address: Any = None, *, all_errors: bool = False
) -> Any:
    """:func:`hubbub_net.socket.create_connection`."""
    return ours(_cooperative.create_connection(address, timeout, source_address, all_errors=all_errors))


def create_server(*args: Any, **options: Any) -> Any:
    """:func:`socket.create_server`."""
    return ours(_cooperative.create_server(*args, **options))


def socketpair(family: Any = None, type: Any = __socket__.SOCK_STREAM, proto: int = 0) -> Any:
    """:func:`socket.socketpair`."""
    one, other = _cooperative.socketpair(family, type, proto)
    return ours(one), ours(other)


def fromfd(fd: int, family: int, type: int, proto: int = 0) -> Any:
    """:func:`socket.fromfd`."""
    return ours(_cooperative.fromfd(fd, family, type, proto))


def __getattr__(name: str) -> Any:
    return getattr(_cooperative, name)
