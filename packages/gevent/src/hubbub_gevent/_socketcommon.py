"""gevent._socketcommon on hubbub."""

from __future__ import annotations

from hubbub_gevent.socket import (
    cancel_wait,
    cancel_wait_ex,
    getaddrinfo,
    getfqdn,
    gethostbyaddr,
    gethostbyname,
    gethostbyname_ex,
    getnameinfo,
    timeout_default,
    wait,
    wait_read,
    wait_readwrite,
    wait_write,
)

__all__ = [
    "cancel_wait",
    "cancel_wait_ex",
    "getaddrinfo",
    "getfqdn",
    "gethostbyaddr",
    "gethostbyname",
    "gethostbyname_ex",
    "getnameinfo",
    "timeout_default",
    "wait",
    "wait_read",
    "wait_readwrite",
    "wait_write",
]
