"""The entries that :func:`socket.getaddrinfo` returns, made from addresses and the arguments beside the host."""

from __future__ import annotations

import _socket
import socket
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from hubbub_dns._finder import Found

__all__ = ["AI_ALL", "AI_CANONNAME", "AI_NUMERICHOST", "Forms", "entries", "fitting", "forms_for"]

_ANY_ADDRESS: dict[int, str] = {socket.AF_INET: "0.0.0.0", socket.AF_INET6: "::"}
# As plain integers: an enumeration would cut negative flags to the bits it knows.
AI_NUMERICHOST = int(socket.AI_NUMERICHOST)
AI_CANONNAME = int(socket.AI_CANONNAME)
AI_ALL = int(getattr(socket, "AI_ALL", 0))
_AI_V4MAPPED = int(getattr(socket, "AI_V4MAPPED", 0))
_AI_ADDRCONFIG = int(getattr(socket, "AI_ADDRCONFIG", 0))

Forms = dict[int, list[tuple[int, int, int, Any]]]
"""For each family the entries that an address becomes: family, type, protocol, address to be filled in."""


def forms_for(port: Any, family: int, type: int, proto: int, flags: int, whole: bool) -> Forms:
    """The forms of the families that are wanted. ``whole``: the numbers are integers.

    :raises socket.gaierror: the service is unknown, the socket type does not fit, or, with AI_ADDRCONFIG, this machine
        does not have the family.
    """
    if whole and _is_lasting(port, flags):
        return _kept_forms(port, family, type, proto, flags)
    return _asked_forms(port, family, type, proto, flags)


def _wanted(family: int, flags: int) -> list[int]:
    """The families to look addresses up for."""
    if family == socket.AF_INET6:
        return [socket.AF_INET6, socket.AF_INET] if flags & _AI_V4MAPPED else [socket.AF_INET6]
    return [socket.AF_INET] if family == socket.AF_INET else [socket.AF_INET, socket.AF_INET6]


def _asked_forms(port: Any, family: int, type: int, proto: int, flags: int) -> Forms:
    """The forms of each family, found by asking the system with an address in place of the name.

    The system's errors are those for the name too: an unknown service, a socket type that does not fit, or, with
    AI_ADDRCONFIG, a family that this machine does not have.
    """
    asked = flags & ~(AI_CANONNAME | AI_ALL) | AI_NUMERICHOST
    forms: Forms = {}
    refusal: socket.gaierror | None = None
    for wanted in _wanted(family, flags):
        own = family or wanted
        try:
            found = _socket.getaddrinfo(_ANY_ADDRESS.get(own, "0.0.0.0"), port, own, type, proto, asked)
        except socket.gaierror as error:
            refusal = error
            continue
        forms[wanted] = [(f, t, p, address) for f, t, p, _, address in found]
    if not forms and refusal is not None:
        raise refusal
    return forms


_kept_forms = lru_cache(maxsize=256, typed=True)(_asked_forms)


def _is_lasting(port: Any, flags: int) -> bool:
    """Whether the system's answer is always the same: it depends on no service's name and no interfaces."""
    return (port is None or type(port) is int) and not flags & _AI_ADDRCONFIG


def fitting(found: Found, mapped: bool, everything: bool) -> list[str]:
    """The addresses that getaddrinfo returns.

    :param mapped: IPv4 addresses are wanted as IPv6 ones, if there are no IPv6 addresses or ``everything`` is wanted.
    """
    groups = found.addresses
    if mapped and len(groups) > 1 and not everything:
        return groups[socket.AF_INET6]
    return [address for group in groups.values() for address in group]


def entries(addresses: Sequence[str], forms: Forms, mapped: bool) -> list[Any]:
    """The list that getaddrinfo returns.

    :param mapped: IPv4 addresses are wanted as IPv6 ones.
    """
    made = []
    for address in addresses:
        bare, _, scope = address.partition("%")
        kind = socket.AF_INET6 if ":" in bare else socket.AF_INET
        if mapped and kind == socket.AF_INET:
            bare = f"::ffff:{bare}"
        for form_family, type, proto, form in forms[kind]:
            rest = (*form[2:3], _scope(scope)) if len(form) == 4 else ()
            made.append((form_family, type, proto, "", (bare, form[1], *rest)))
    return made


def _scope(scope: str) -> int:
    """The number of an IPv6 address's scope; 0 if there is none or it is unknown."""
    if scope.isascii() and scope.isdigit():
        return int(scope)
    try:
        return _socket.if_nametoindex(scope) if scope else 0
    except OSError:
        return 0
