"""Look-ups of different names by c-ares, a thousand at a time.

Hubbub's resolver sends each from a port of its own, gevent's all from the same one.
"""

from __future__ import annotations

import importlib
from typing import Any

from shim import Api, main
from support import nameserver

OPERATIONS = 5_000
AT_A_TIME = 1_000


def make_resolver(api: Api, port: int) -> Any:
    """The library's c-ares resolver, asking the server on that port."""
    if api.library == "hubbub":
        return importlib.import_module("hubbub_dns.ares").Resolver([("127.0.0.1", port)], cache=None)
    return importlib.import_module("gevent.resolver.ares").Resolver(servers=["127.0.0.1"], udp_port=port)


def run(api: Api, operations: int) -> None:
    """One operation: the address of one name."""
    with nameserver.running() as port:
        resolver = make_resolver(api, port)
        for begin in range(0, operations, AT_A_TIME):
            names = [f"n{number}.test" for number in range(begin, min(begin + AT_A_TIME, operations))]
            greenlets = [api.spawn(resolver.gethostbyname, name) for name in names]
            api.joinall(greenlets)
            if any(greenlet.value != "192.0.2.1" for greenlet in greenlets):
                raise RuntimeError("a name has not the address that the server said")
        resolver.close()


if __name__ == "__main__":
    main(run, OPERATIONS)
