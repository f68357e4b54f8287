"""Look-ups by the system's functions in threads, a thousand at a time."""

from __future__ import annotations

import importlib
from typing import Any

from shim import Api, main

OPERATIONS = 5_000
AT_A_TIME = 1_000


def make_resolver(api: Api) -> Any:
    """The library's resolver of that kind."""
    package = "hubbub_dns" if api.library == "hubbub" else "gevent.resolver"
    return importlib.import_module(f"{package}.thread").Resolver()


def run(api: Api, operations: int) -> None:
    """One operation: the addresses of a name in the hosts file, with a port of its own, so that none is shared."""
    resolver = make_resolver(api)
    for begin in range(0, operations, AT_A_TIME):
        ports = range(begin, min(begin + AT_A_TIME, operations))
        greenlets = [api.spawn(resolver.getaddrinfo, "localhost", port) for port in ports]
        api.joinall(greenlets)
        if not all(greenlet.value for greenlet in greenlets):
            raise RuntimeError("a look-up has failed")
    resolver.close()


if __name__ == "__main__":
    main(run, OPERATIONS)
