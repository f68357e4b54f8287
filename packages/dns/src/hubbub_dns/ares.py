"""c-ares, on the hub's loop.

c-ares sends the queries and reads the replies. This package does the rest, as for the dnspython resolver: the choice of
the server, the hosts file, the search list, the cache and the order of addresses.
"""

from __future__ import annotations

from typing import Any

from hubbub_dns._upstream import Upstream
from hubbub_dns.stub import StubResolver

try:
    from hubbub_dns._channels import Channels
except ImportError as _error:
    raise ImportError(f"the ares resolver needs pycares: pip install 'hubbub-dns[ares]' ({_error})") from _error

__all__ = ["Resolver"]


class Resolver(StubResolver):
    """Takes the parameters of :class:`hubbub_dns.stub.StubResolver`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, upstream=Upstream(None, Channels()), **kwargs)
        for server in self._asker.given_servers or ():
            if server.scheme:
                raise ValueError(f"c-ares asks no server over {server.scheme}; the dnspython resolver does")
