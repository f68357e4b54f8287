"""gevent.ssl on hubbub."""

from __future__ import annotations

import ssl as __ssl__
from socket import AF_INET, SOCK_STREAM
from typing import Any

from hubbub.timeout import Timeout
from hubbub_net import ssl as _cooperative

from hubbub_gevent._socket3 import create_connection as create_connection
from hubbub_gevent._socket3 import socket

_UNSET: Any = object()
_type: Any = type
_NO_NAMES = ("base64", "errno", "os", "socket", "sys", "time", "warnings", "namedtuple")
"""Names that the standard library's module has only because it imported them."""
_create_unverified: Any = __ssl__._create_unverified_context
__implements__: list[str] = ["SSLContext", "SSLSocket", "get_server_certificate", "wrap_socket"]
__imports__: list[str] = [
    name for name in dir(__ssl__) if not name.startswith("_") and name not in (*__implements__, *_NO_NAMES)
]
__all__ = [*__implements__, *__imports__]


class SSLSocket(_cooperative.SSLSocket, socket):  # type: ignore[misc]  # names of parameters differ
    """:class:`hubbub_net.ssl.SSLSocket` that is one of gevent's sockets, and can be made by calling the class.

    :param sock: a socket, whose descriptor the new one takes over.
    :param _context: a context; without one it is made from ``keyfile`` and the other arguments.
    """

    def __init__(
        self,
        sock: Any = None,
        keyfile: Any = None,
        certfile: Any = None,
        server_side: bool = False,
        cert_reqs: Any = __ssl__.CERT_NONE,
        ssl_version: Any = None,
        ca_certs: Any = None,
        do_handshake_on_connect: bool = True,
        family: int = AF_INET,
        type: int = SOCK_STREAM,
        proto: int = 0,
        fileno: Any = None,
        suppress_ragged_eofs: bool = True,
        npn_protocols: Any = None,
        ciphers: Any = None,
        server_hostname: str | None = None,
        _session: Any = None,
        _context: Any = None,
    ) -> None:
        if sock is None:
            sock = socket(family, type, proto, fileno)
        if _context is None:
            _context = _made_context(keyfile, certfile, server_side, cert_reqs, ssl_version, ca_certs, ciphers)
        mine = self.__class__
        # The functions that make TLS sockets call __new__ of the socket's class; this one returns the prepared object.
        adopting = _type(mine.__name__, (mine,), {"__slots__": (), "__new__": lambda *_, **__: self})
        adopting._create(
            sock=sock,
            server_side=server_side,
            do_handshake_on_connect=do_handshake_on_connect,
            suppress_ragged_eofs=suppress_ragged_eofs,
            server_hostname=server_hostname,
            context=_context,
            session=_session,
        )

    def send(self, data: Any, flags: int = 0, timeout: Any = _UNSET) -> int:
        """:meth:`ssl.SSLSocket.send`.

        :param timeout: seconds, for this call in place of the socket's own limit.
        """
        if timeout is _UNSET:
            return super().send(data, flags)
        limit = Timeout.start_new(timeout, TimeoutError("timed out"))
        try:
            return super().send(data, flags)
        finally:
            limit.cancel()


class SSLContext(_cooperative.SSLContext):
    """An :class:`ssl.SSLContext` whose ``wrap_socket`` makes an :class:`SSLSocket`."""

    sslsocket_class: Any = SSLSocket


def _ours(context: Any) -> Any:
    context.__class__ = SSLContext
    return context


def create_default_context(*args: Any, **options: Any) -> Any:
    """:func:`ssl.create_default_context`."""
    return _ours(_cooperative.create_default_context(*args, **options))


def _create_unverified_context(*args: Any, **options: Any) -> Any:
    return _ours(_create_unverified(*args, **options))


def _made_context(
    keyfile: Any, certfile: Any, server_side: bool, cert_reqs: Any, ssl_version: Any, ca_certs: Any, ciphers: Any
) -> SSLContext:
    """A context as made by the functions that Python's ssl module had before 3.12.

    :raises ValueError: there is no certificate for a server or for a key.
    """
    if server_side and not certfile:
        raise ValueError("certfile must be specified for server-side operations")
    if keyfile and not certfile:
        raise ValueError("certfile must be specified")
    if ssl_version is None:
        ssl_version = __ssl__.PROTOCOL_TLS_SERVER if server_side else __ssl__.PROTOCOL_TLS_CLIENT
    context = SSLContext(ssl_version)
    context.check_hostname = False
    context.verify_mode = cert_reqs
    if ca_certs:
        context.load_verify_locations(ca_certs)
    if certfile:
        context.load_cert_chain(certfile, keyfile)
    if ciphers:
        context.set_ciphers(ciphers)
    return context


def wrap_socket(
    sock: Any,
    keyfile: Any = None,
    certfile: Any = None,
    server_side: bool = False,
    cert_reqs: Any = __ssl__.CERT_NONE,
    ssl_version: Any = None,
    ca_certs: Any = None,
    do_handshake_on_connect: bool = True,
    suppress_ragged_eofs: bool = True,
    ciphers: Any = None,
) -> Any:
    """The function that Python's ssl module had before 3.12."""
    context = _made_context(keyfile, certfile, server_side, cert_reqs, ssl_version, ca_certs, ciphers)
    return context.wrap_socket(
        sock,
        server_side=server_side,
        do_handshake_on_connect=do_handshake_on_connect,
        suppress_ragged_eofs=suppress_ragged_eofs,
    )


_create_default_https_context = create_default_context
_create_stdlib_context = _create_unverified_context


def __getattr__(name: str) -> Any:
    return getattr(_cooperative, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *dir(_cooperative)})
