"""Patches that belong to no other package: entry points of the group ``hubbub.patches``.

Beside what :class:`hubbub.abc.Patch` asks for, a patch may have a method ``installed()``. It is called after the
replacements are set, and returns a function that undoes what it did, or None.
"""

from __future__ import annotations

import os
import socket
from typing import Any

from hubbub import plugins
from hubbub.abc import Resolver
from hubbub.hub import get_hub
from hubbub.lowlevel import Place, as_builtin
from hubbub.patches import ModulePatch

from hubbub_monkey._asyncio import separate_event_loops, share_signals
from hubbub_monkey._debuggers import debugpy
from hubbub_monkey._drivers import DriverPatch, grpc, multiprocessing, psycopg
from hubbub_monkey._threading import ThreadingPatch
from hubbub_monkey.threads import waits_natively

__all__ = ["asyncio", "debugpy", "dns", "grpc", "multiprocessing", "psycopg", "threading"]


class _System:
    """The system's own functions, for native threads without a hub: they have no other greenlets to run meanwhile."""

    getaddrinfo = staticmethod(socket.getaddrinfo)
    gethostbyname = staticmethod(socket.gethostbyname)
    gethostbyname_ex = staticmethod(socket.gethostbyname_ex)
    gethostbyaddr = staticmethod(socket.gethostbyaddr)
    getnameinfo = staticmethod(socket.getnameinfo)
    getfqdn = staticmethod(socket.getfqdn)


def _resolver() -> Resolver | type[_System]:
    return _System if waits_natively() else get_hub().resolver


def _getaddrinfo(host: Any, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0) -> Any:
    """:func:`socket.getaddrinfo` by the hub's resolver."""
    return _resolver().getaddrinfo(host, port, family, type, proto, flags)


@as_builtin
def _gethostbyname(_: Place, hostname: Any) -> str:
    """:func:`socket.gethostbyname` by the hub's resolver."""
    return _resolver().gethostbyname(hostname)


@as_builtin
def _gethostbyname_ex(_: Place, hostname: Any) -> tuple[str, list[str], list[str]]:
    """:func:`socket.gethostbyname_ex` by the hub's resolver."""
    return _resolver().gethostbyname_ex(hostname)


@as_builtin
def _gethostbyaddr(_: Place, ip_address: Any) -> tuple[str, list[str], list[str]]:
    """:func:`socket.gethostbyaddr` by the hub's resolver."""
    return _resolver().gethostbyaddr(ip_address)


@as_builtin
def _getnameinfo(_: Place, sockaddr: Any, flags: int) -> tuple[str, str]:
    """:func:`socket.getnameinfo` by the hub's resolver."""
    return _resolver().getnameinfo(sockaddr, flags)


def _getfqdn(name: str = "") -> str:
    """:func:`socket.getfqdn` by the hub's resolver."""
    return _resolver().getfqdn(name)


def _dns() -> dict[str, dict[str, Any]]:
    # Resolvers that use the system's functions take them at their import, which must come before patching.
    for name in {"block", "thread", os.environ.get("HUBBUB_RESOLVER")} & set(plugins.names(plugins.RESOLVERS)):
        plugins.load(plugins.RESOLVERS, str(name))
    return {
        "socket": {
            "getaddrinfo": _getaddrinfo,
            "gethostbyname": _gethostbyname,
            "gethostbyname_ex": _gethostbyname_ex,
            "gethostbyaddr": _gethostbyaddr,
            "getnameinfo": _getnameinfo,
            "getfqdn": _getfqdn,
        }
    }


dns: ModulePatch = ModulePatch("socket", _dns, requires=("socket",))
"""Lookups in :mod:`socket` by the hub's resolver."""

threading: ThreadingPatch = ThreadingPatch()
"""Threads, their locks and thread-local data on greenlets."""

asyncio: DriverPatch = DriverPatch(
    "asyncio", {"asyncio.events": separate_event_loops, "asyncio.unix_events": share_signals}
)
"""A running event loop in each greenlet."""
