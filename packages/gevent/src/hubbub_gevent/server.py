"""gevent.server on hubbub."""

from __future__ import annotations

import socket as _socket
from _socket import socket as CSocket
from ssl import PROTOCOL_TLS_SERVER
from typing import Any
from weakref import WeakSet

from greenlet import getcurrent
from hubbub_server.datagram import DatagramServer as _DatagramServer
from hubbub_server.stream import StreamServer as _StreamServer

from hubbub_gevent._socket3 import socket
from hubbub_gevent.baseserver import BaseServer as BaseServer
from hubbub_gevent.baseserver import Habits
from hubbub_gevent.ssl import SSLContext

__all__ = [
    "DatagramServer",
    "StreamServer",
]

_native_bind = CSocket.bind
"""The original: it looks names up itself and blocks, but the name of a listener is the machine's own."""


class DatagramServer(Habits, _DatagramServer):
    """gevent's DatagramServer."""


class StreamServer(Habits, _StreamServer):
    """:class:`hubbub_server.StreamServer` with gevent's arguments for TLS."""

    backlog = 128
    socket: Any

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
        self._failed_handshakes: WeakSet[Any] = WeakSet()
        super().__init__(listener, handle, backlog=backlog, spawn=spawn, ssl_context=context)

    def run_handler(self, sock: Any, address: Any) -> None:
        """Handle one connection, with TLS if there is a context."""
        if self.ssl_context is None:
            super().run_handler(sock, address)
            return
        self._due -= 1
        current = getcurrent()
        self.handlers[current] = None
        try:
            self.wrap_socket_and_handle(sock, address)
        except OSError as error:
            if current not in self._failed_handshakes:
                raise
            self.handshake_failed(error, address)
        finally:
            self._failed_handshakes.discard(current)
            self.handlers.pop(current, None)
            sock.close()

    def wrap_socket_and_handle(self, client_socket: Any, address: Any) -> Any:
        """Serve one connection of a server with TLS: the handshake, then the handler, then closing.

        :returns: what the handler returned.
        :raises OSError: the handshake failed. An override may catch it; else :meth:`handshake_failed` is called.
        """
        try:
            tls = self.wrap_socket(client_socket)
        except OSError:
            self._failed_handshakes.add(getcurrent())
            raise
        try:
            return self.handle(tls, address)
        finally:
            self.do_close(tls, address)

    def init_socket(self) -> None:
        """Bind and listen."""
        self.socket = self.get_listener(self.address, self.backlog, self.family)
        self._bind_done()

    @classmethod
    def get_listener(cls, address: Any, backlog: Any = None, family: Any = None) -> Any:  # type: ignore[override]  # as gevent's
        """A listening socket."""
        return _tcp_listener(address, backlog or 128, reuse_addr=cls.reuse_addr, family=family or _socket.AF_INET)


_TLS = {"ssl_version", "certfile", "keyfile", "ca_certs", "cert_reqs", "ciphers", "do_handshake_on_connect"}
_TLS |= {"suppress_ragged_eofs", "server_side"}


def _context(arguments: dict[str, Any]) -> SSLContext:
    unknown = set(arguments) - _TLS
    if unknown:
        raise TypeError(f"unexpected arguments: {', '.join(sorted(unknown))}")
    if "certfile" not in arguments:
        raise TypeError("TLS needs certfile or ssl_context")
    context = SSLContext(arguments.get("ssl_version") or PROTOCOL_TLS_SERVER)
    context.load_cert_chain(arguments["certfile"], arguments.get("keyfile"))
    if arguments.get("ca_certs"):
        context.load_verify_locations(arguments["ca_certs"])
    if arguments.get("cert_reqs") is not None:
        context.verify_mode = arguments["cert_reqs"]
    if arguments.get("ciphers"):
        context.set_ciphers(arguments["ciphers"])
    return context


def _tcp_listener(address: Any, backlog: int = 50, reuse_addr: Any = None, family: int = _socket.AF_INET) -> Any:
    """A listening TCP socket."""
    sock = socket(family)
    try:
        if reuse_addr is not None:
            sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, reuse_addr)
        _native_bind(sock, address)
        sock.listen(backlog)
    except BaseException:
        sock.close()
        raise
    return sock
