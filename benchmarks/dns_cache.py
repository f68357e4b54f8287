"""Look-ups of names whose answers are known already.

Hubbub's c-ares resolver has them in its cache, gevent's in the one of c-ares.
"""

from __future__ import annotations

import importlib
from typing import Any

import dns_ares
from shim import Api, main
from support import nameserver

OPERATIONS = 10_000
NAMES = 100


def make_resolver(api: Api, port: int) -> Any:
    """The library's resolver, asking the server on that port."""
    if api.library == "hubbub":
        cache = importlib.import_module("hubbub_dns").Cache()
        return importlib.import_module("hubbub_dns.ares").Resolver([("127.0.0.1", port)], cache=cache)
    return dns_ares.make_resolver(api, port)


def run(api: Api, operations: int) -> None:
    """One operation: the address of a name that was looked up before."""
    with nameserver.running() as port:
        resolver = make_resolver(api, port)
        names = [f"n{number}.test" for number in range(NAMES)]
        for number in range(operations):
            if resolver.gethostbyname(names[number % NAMES]) != nameserver.ADDRESS:
                raise RuntimeError("a name has not the address that the server said")
        resolver.close()


if __name__ == "__main__":
    main(run, OPERATIONS)
