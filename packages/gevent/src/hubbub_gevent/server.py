"""gevent.server on hubbub."""

from __future__ import annotations

import socket as _socket
from _socket import socket as CSocket
from ssl import PROTOCOL_TLS_SERVER
from typing import Any

from hubbub_net.socket import socket
from hubbub_server.datagram import DatagramServer as _DatagramServer
from hubbub_server.stream import StreamServer as _StreamServer

from hubbub_gevent.baseserver import BaseServer, Habits
from hubbub_gevent.ssl import SSLContext

__all__ = ["BaseServer", "DatagramServer", "StreamServer"]

_native_bind = CSocket.bind
"""Resolves a name by itself and at once: a listener's is the machine's own."""


class DatagramServer(Habits, _DatagramServer):  # type: ignore[override]  # the handler is looked up anew each time
    """gevent's DatagramServer."""


class StreamServer(Habits, _StreamServer):  # type: ignore[override]  # see above
    """:class:`hubbub_server.StreamServer` with gevent's arguments for TLS."""

    def __init__(
        self,
        listener: Any,
        handle: Any = None,
        backlog: int | None = None,
        spawn: Any = "default",
        **ssl_args: Any,
    ) -> None:
        context = ssl_args.pop("ssl_context", None)
        if context is None and ssl_args:
            context = _context(ssl_args)
        elif ssl_args:
            raise TypeError(f"unexpected arguments beside ssl_context: {', '.join(sorted(ssl_args))}")
        if backlog is not None and isinstance(listener, _socket.socket):
            raise TypeError("backlog must be None when a socket instance is passed")
        super().__init__(listener, handle, backlog=backlog, spawn=spawn, ssl_context=context)

    def init_socket(self) -> None:
        """Bind and listen."""
        self.socket = self.get_listener(self.address, self.backlog, self.family)

    @classmethod
    def get_listener(cls, address: Any, backlog: Any = None, family: Any = None, reuse_port: bool = False) -> Any:
        """A listening socket."""
        return _tcp_listener(address, backlog or 128, reuse_addr=cls.reuse_addr, family=family)


def _context(arguments: dict[str, Any]) -> SSLContext:
    context = SSLContext(arguments.get("ssl_version") or PROTOCOL_TLS_SERVER)
    context.load_cert_chain(arguments["certfile"], arguments.get("keyfile"))
    if arguments.get("ca_certs"):
        context.load_verify_locations(arguments["ca_certs"])
    if arguments.get("cert_reqs") is not None:
        context.verify_mode = arguments["cert_reqs"]
    if arguments.get("ciphers"):
        context.set_ciphers(arguments["ciphers"])
    return context


def _tcp_listener(address: Any, backlog: int = 50, reuse_addr: Any = None, family: int | None = None) -> Any:
    """A listening TCP socket."""
    sock = socket(family if family is not None else _socket.AF_INET)
    try:
        if reuse_addr is not None:
            sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, reuse_addr)
        _native_bind(sock, address)
        sock.listen(backlog)
    except BaseException:
        sock.close()
        raise
    return sock
