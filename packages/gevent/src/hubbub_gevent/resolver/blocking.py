"""gevent.resolver.blocking on hubbub."""

from __future__ import annotations

from typing import Any

from hubbub_dns import block as _block

from hubbub_gevent.resolver._base import Parameters

__all__ = ["Resolver"]


class Resolver(Parameters, _block.Resolver):
    """The system's functions, which block the native thread."""

    def __init__(self, hub: Any = None) -> None:
        super().__init__()
        self.hub = hub
