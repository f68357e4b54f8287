"""Look-ups of different names by c-ares, a thousand at a time.

Hubbub's resolver has at most 32 go out from one port, gevent's all.
"""

from __future__ import annotations

import importlib
from typing import Any

from shim import Api, main
from support import nameserver

OPERATIONS = 5_000


def make_resolver(api: Api, port: int) -> Any:
    """The library's c-ares resolver, asking the server on that port."""
    if api.library == "hubbub":
        return importlib.import_module("hubbub_dns.ares").Resolver([("127.0.0.1", port)], cache=None)
    return importlib.import_module("gevent.resolver.ares").Resolver(servers=["127.0.0.1"], udp_port=port)


def run(api: Api, operations: int) -> None:
    """One operation: the address of one name."""
    with nameserver.running() as port:
        resolver = make_resolver(api, port)
        nameserver.look_up(api, resolver, operations)
        resolver.close()


if __name__ == "__main__":
    main(run, OPERATIONS)
