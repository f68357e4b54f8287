"""A server of datagrams: UDP and UNIX datagram sockets."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from hubbub.io import Socket

from hubbub_server._listener import bind, parse_address
from hubbub_server.baseserver import BaseServer

__all__ = ["DatagramServer"]

_LONGEST = 65535
"""No datagram of IP is longer, in bytes."""
_LONGEST_UNIX = 262144
"""Nor is one of a UNIX socket, unless its sender has made its buffer longer than an ordinary user may."""

_INTERNET = (socket.AF_INET, socket.AF_INET6)


class DatagramServer(BaseServer):
    """Calls ``handle(data, address)`` for each datagram; :meth:`sendto` answers.

    :param listener: see :class:`~hubbub_server.baseserver.BaseServer`.
    :param reuse_port: SO_REUSEPORT on a socket made from an address.
    """

    reuse_addr: bool = True
    """SO_REUSEADDR on a socket made from an address."""

    def __init__(
        self,
        listener: Any,
        handle: Callable[[bytes, Any], Any] | None = None,
        spawn: Any = "default",
        *,
        reuse_port: bool = False,
    ) -> None:
        self.reuse_port = reuse_port
        super().__init__(listener, handle, spawn)

    @classmethod
    def get_listener(cls, address: Any, family: int | None = None) -> Socket:
        """A datagram socket bound to ``address``.

        :raises OSError: it cannot be bound.
        """
        found, target = parse_address(address)
        return bind(found if family is None else family, target, socket.SOCK_DGRAM, reuse_addr=cls.reuse_addr)

    def init_socket(self) -> None:
        """Bind."""
        self.socket: Socket = bind(
            self.family, self.address, socket.SOCK_DGRAM, reuse_addr=self.reuse_addr, reuse_port=self.reuse_port
        )

    def do_read(self) -> tuple[Any, ...] | None:
        """Receive one datagram."""
        return self.socket.recvfrom(_LONGEST if self.family in _INTERNET else _LONGEST_UNIX)

    def sendto(self, *args: Any) -> int:
        """:meth:`socket.socket.sendto` from the server's socket.

        :raises OSError: EBADF after :meth:`close`, and what :manpage:`sendto(2)` raises.
        """
        if self.closed:
            raise OSError(9, "the server is closed")
        return self.socket.sendto(*args)
