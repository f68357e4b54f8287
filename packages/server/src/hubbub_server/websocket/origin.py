"""Which web pages may open a WebSocket: the Origin of a request (RFC 6454, RFC 6455, 10.2)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from hubbub_server.websocket.errors import HandshakeError

__all__ = ["check_origin"]

_ORIGIN = re.compile(r"([a-z][a-z0-9+.\-]*)://([^/?#@\s]+)", re.IGNORECASE | re.ASCII)
_PORTS = {"http": "80", "https": "443", "ws": "80", "wss": "443"}
_WEB = {"ws": "http", "wss": "https"}


def check_origin(environ: dict[str, Any], allowed: Iterable[str] = (), *, same: bool = True) -> None:
    """Refuse a WebSocket that a page of another site has asked for.

    Browsers let every page open a WebSocket to every server, with that server's cookies, and say in ``Origin`` whose
    page it was. An application that trusts cookies must look at it. A request without an Origin comes from no browser,
    and passes.

    :param environ: of the request.
    :param allowed: origins such as ``"https://example.com"`` or ``"https://example.com:8443"``.
    :param same: whether the origin of the request itself passes: its scheme with its ``Host``.
    :raises HandshakeError: 403.
    :raises ValueError: what is allowed is no origin.
    """
    said = environ.get("HTTP_ORIGIN")
    known = {_canonical(origin) for origin in allowed}
    if None in known:
        raise ValueError(f"an origin is a scheme and a host, such as https://example.com, among {sorted(allowed)!r}")
    if said is None:
        return
    if same:
        known.add(_canonical(f"{environ.get('wsgi.url_scheme', 'http')}://{environ.get('HTTP_HOST', '')}"))
    origin = _canonical(said)
    if origin is None or origin not in known:
        raise HandshakeError("403 Forbidden", "A page of another site may not open this WebSocket.")


def _canonical(origin: str) -> tuple[str, str, str] | None:
    """Scheme, host and port; None if it is not an origin."""
    match = _ORIGIN.fullmatch(origin.rstrip("/") if origin.count("/") == 3 else origin)
    if match is None:
        return None
    scheme = match[1].lower()
    scheme = _WEB.get(scheme, scheme)
    host, colon, port = match[2].lower().rpartition(":")
    if not colon or not port.isdecimal():
        host, port = match[2].lower(), _PORTS.get(scheme, "")
    return scheme, host, port
