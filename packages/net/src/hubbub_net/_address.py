"""Names in socket addresses. The kernel knows numbers only, and the C library's lookup would block the thread."""

from __future__ import annotations

import socket
from typing import Any

from hubbub.abc import Address
from hubbub.hub import get_hub

__all__ = ["is_numeric", "numeric"]

_inet_pton = socket.inet_pton
"\xe4".encode("idna")  # loads the codec now: a fork while another thread loads it leaves a child that can never load it
_INTERNET = frozenset({int(socket.AF_INET), int(socket.AF_INET6)})


def is_numeric(host: Any, family: int) -> bool:
    """Whether ``host`` needs no lookup in an address of ``family``."""
    if isinstance(host, (bytes, bytearray)):
        host = host.decode("ascii", "replace")
    if not isinstance(host, str) or host in ("", "<broadcast>"):
        return True  # not a name; if it is wrong the system call raises
    try:
        _inet_pton(family, host.partition("%")[0])
    except (OSError, ValueError):  # ValueError: a null character
        return False
    return True


def numeric(address: Address, family: int) -> Address:
    """``address`` with the host's name, if it is one, replaced by its first address of ``family``.

    :raises socket.gaierror: there is none.
    """
    if family not in _INTERNET or not isinstance(address, tuple) or len(address) < 2 or is_numeric(address[0], family):
        return address
    found = get_hub().resolver.getaddrinfo(address[0], None, family, socket.SOCK_STREAM)
    return (found[0][4][0], *address[1:])
