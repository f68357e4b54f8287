"""hubbub_dns.block."""

from __future__ import annotations

import socket

import hubbub
from hubbub import plugins
from hubbub_dns import block


def test_registered() -> None:
    """The entry point ``block`` is this class."""
    assert plugins.load(plugins.RESOLVERS, "block") is block.Resolver


def test_answers(hub: hubbub.Hub) -> None:
    """Each function is the socket module's."""
    resolver = block.Resolver()
    hub.resolver = resolver
    assert resolver.getaddrinfo("localhost", 80) == socket.getaddrinfo("localhost", 80)
    assert resolver.gethostbyname("localhost") == socket.gethostbyname("localhost")
    assert resolver.gethostbyname_ex("localhost") == socket.gethostbyname_ex("localhost")
    assert resolver.gethostbyaddr("127.0.0.1") == socket.gethostbyaddr("127.0.0.1")
    assert resolver.getnameinfo(("127.0.0.1", 80), 0) == socket.getnameinfo(("127.0.0.1", 80), 0)
    assert resolver.getfqdn("localhost") == socket.getfqdn("localhost")
    resolver.reinit()
    resolver.close()
