"""The resolvers that ask name servers: both kinds keep the same promises."""

from __future__ import annotations

import socket
from typing import Any

import pytest


def test_addresses(make: Any, nameserver: Any) -> None:
    """Both families of a name are asked for and returned in getaddrinfo's form."""
    resolver = make(nameserver)
    found = resolver.getaddrinfo("www.test", 80, type=socket.SOCK_STREAM)
    assert sorted(found) == [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 80)),
        (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("2001:db8::1", 80, 0, 0)),
    ]
    assert sorted(nameserver.asked) == [("www.test", 1), ("www.test", 28)]
    assert resolver.gethostbyname("www.test") == "192.0.2.1"


def test_nxdomain(make: Any, nameserver: Any, dns: Any) -> None:
    """A name that does not exist is EAI_NONAME, one without addresses EAI_NODATA."""
    resolver = make(nameserver)
    nameserver.script = lambda request: request.reply(rcode=dns.NXDOMAIN)
    with pytest.raises(socket.gaierror) as info:
        resolver.getaddrinfo("nx.test", 80)
    assert info.value.args == (socket.EAI_NONAME, "Name or service not known")
    nameserver.script = lambda request: request.reply()
    with pytest.raises(socket.gaierror) as info:
        resolver.getaddrinfo("empty.test", 80)
    assert info.value.args == (socket.EAI_NODATA, "No address associated with hostname")
