"""gevent.ssl on hubbub."""

from __future__ import annotations

import ssl as __ssl__
from typing import Any

from hubbub_net import ssl as _cooperative
from hubbub_net.ssl import SSLContext, SSLSocket, create_default_context, get_server_certificate

__all__ = [
    "SSLContext",
    "SSLSocket",
    "create_default_context",
    "get_server_certificate",
    "wrap_socket",
]

__implements__ = ["SSLContext", "SSLSocket", "get_server_certificate", "wrap_socket"]


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
    return context.wrap_socket(
        sock,
        server_side=server_side,
        do_handshake_on_connect=do_handshake_on_connect,
        suppress_ragged_eofs=suppress_ragged_eofs,
    )


def _create_unverified_context(
    protocol: Any = None,
    *,
    cert_reqs: Any = __ssl__.CERT_NONE,
    check_hostname: bool = False,
    purpose: Any = __ssl__.Purpose.SERVER_AUTH,
    certfile: Any = None,
    keyfile: Any = None,
    cafile: Any = None,
    capath: Any = None,
    cadata: Any = None,
) -> Any:
    if protocol is None:
        server = purpose == __ssl__.Purpose.CLIENT_AUTH
        protocol = __ssl__.PROTOCOL_TLS_SERVER if server else __ssl__.PROTOCOL_TLS_CLIENT
    context = SSLContext(protocol)
    context.check_hostname = check_hostname
    if cert_reqs is not None:
        context.verify_mode = cert_reqs
    if certfile or keyfile:
        context.load_cert_chain(certfile, keyfile)
    if cafile or capath or cadata:
        context.load_verify_locations(cafile, capath, cadata)
    return context


_create_default_https_context = create_default_context
_create_stdlib_context = _create_unverified_context


def __getattr__(name: str) -> Any:
    return getattr(_cooperative, name)
