"""Deciding whether a TLS context gives sockets that cooperate."""

from __future__ import annotations

from typing import Any

from hubbub import plugins

__all__ = ["check_context", "cooperative", "send_close_notify"]


def check_context(context: Any) -> None:
    """Accept a context whose sockets wait cooperatively, which shows in their having ``wait_readable``.

    An object that is no :class:`ssl.SSLContext` is accepted if it has its own ``wrap_socket``.

    :raises TypeError: the context would block the whole thread, or cannot wrap sockets.
    """
    if not callable(getattr(context, "wrap_socket", None)):
        raise TypeError(f"ssl_context must have wrap_socket(sock, server_side=True); {context!r} has not")
    made = getattr(context, "sslsocket_class", None)
    if made is not None and not hasattr(made, "wait_readable"):
        raise TypeError(
            f"{context!r} makes blocking sockets ({made.__module__}.{made.__qualname__}), which would stop every other"
            " greenlet; make it with hubbub_net.ssl (SSLContext or create_default_context)"
        )


def send_close_notify(sock: Any) -> None:
    """Announce the end of a TLS connection, without waiting for the client to do the same (RFC 8446, 6.1)."""
    limit = sock.gettimeout()
    try:
        sock.settimeout(0.0)
        try:
            sock.unwrap()
        finally:
            sock.settimeout(limit)
    except (OSError, ValueError):
        return  # the usual end: the client's answer is not waited for; or the connection is broken already


def cooperative() -> Any:
    """A class for ``SSLContext.sslsocket_class`` whose sockets cooperate, from whichever package has one.

    :raises hubbub.exceptions.PluginError: no package has; the error names one.
    """
    replaced = plugins.load(plugins.PATCHES, "ssl").replacements()
    return replaced["ssl"]["SSLContext.sslsocket_class"]
