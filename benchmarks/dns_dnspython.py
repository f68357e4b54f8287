"""Look-ups of different names by the dnspython resolver, a thousand at a time.

gevent's resolver of that kind works with no dnspython since 2.0, and those before work with no Python since
3.10, so its rival is the one by c-ares. At most 32 questions of hubbub's go out from one port, all of gevent's.
"""

from __future__ import annotations

import importlib
from typing import Any

import dns_ares
from shim import Api, main
from support import nameserver

OPERATIONS = 5_000


def make_resolver(api: Api, port: int) -> Any:
    """The library's resolver, asking the server on that port."""
    if api.library == "hubbub":
        return importlib.import_module("hubbub_dns.dnspython").Resolver([("127.0.0.1", port)], cache=None)
    return dns_ares.make_resolver(api, port)


def run(api: Api, operations: int) -> None:
    """One operation: the address of one name."""
    with nameserver.running() as port:
        resolver = make_resolver(api, port)
        nameserver.look_up(api, resolver, operations)
        resolver.close()


if __name__ == "__main__":
    main(run, OPERATIONS)
