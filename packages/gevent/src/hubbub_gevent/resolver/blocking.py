"""gevent.resolver.blocking on hubbub."""

from __future__ import annotations

from typing import Any

from hubbub_dns import block as _block

__all__ = ["Resolver"]


class Resolver(_block.Resolver):
    """The system's functions, blocking."""

    def __init__(self, hub: Any = None) -> None:
        super().__init__()
        self.hub = hub
