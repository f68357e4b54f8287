"""Run by test_imports.py: makes every lookup there is, and prints what was imported meanwhile.

Argument: the name of a resolver.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

import hubbub
from hubbub_net import select, selectors, socket, ssl

HOSTS = (
    "localhost",
    "ex\xe4mple.test",
    b"localhost",
    "127.0.0.1",
    "::1",
    "a.test",
    "",
    "x" * 70,
    "fe80::1%lo",
    "\udc80",
)


def tried(function: Callable[..., Any], *args: Any) -> None:
    """Call it; errors do not matter here."""
    try:
        function(*args)
    except (OSError, ValueError):
        pass


def look_up(kind: str) -> None:
    """Every function with every kind of host."""
    for host in HOSTS:
        for port in (80, "http", None):
            tried(socket.getaddrinfo, host, port)
        for function in (socket.gethostbyname, socket.gethostbyname_ex, socket.gethostbyaddr, socket.getfqdn):
            tried(function, host)
    tried(socket.getnameinfo, ("127.0.0.1", 80), 0)
    if kind == "dnspython":
        import hubbub_dns

        for rdtype in ("A", "MX", "TXT"):
            tried(hubbub_dns.query, "a.test", rdtype)


def use_sockets() -> None:
    """Waits of every kind."""
    listener = socket.create_server(("localhost", 0))
    one = socket.create_connection(listener.getsockname())
    other, _ = listener.accept()
    select.select([one], [], [], 0.001)
    poller = select.poll()
    poller.register(one)
    poller.poll(1)
    with selectors.DefaultSelector() as selector:
        selector.register(one, selectors.EVENT_READ)
        selector.select(0.001)
    context = ssl.create_default_context()
    tried(lambda: context.wrap_socket(one, server_hostname="ex\xe4mple.test", do_handshake_on_connect=False))
    for sock in (one, other, listener):
        repr(sock)
        sock.close()


def main(kind: str) -> None:
    """As above."""
    import_module("hubbub_dns")
    module = import_module(f"hubbub_dns.{kind}")
    asking = kind in ("ares", "dnspython")
    hub = hubbub.get_hub()
    hub.resolver = module.Resolver([("127.0.0.1", 9)], timeout=0.05, attempts=1) if asking else module.Resolver()
    hubbub.sleep(0.001)
    known = set(sys.modules)
    look_up(kind)
    use_sockets()
    hub.resolver.close()
    sys.stdout.write(f"{sorted(set(sys.modules) - known)}\n")


if __name__ == "__main__":
    main(sys.argv[1])
