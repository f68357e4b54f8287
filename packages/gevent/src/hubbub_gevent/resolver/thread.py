"""gevent.resolver.thread on hubbub."""

from __future__ import annotations

from typing import Any

from hubbub_dns import thread as _thread

from hubbub_gevent.resolver._base import Parameters

__all__ = ["Resolver"]


class Resolver(Parameters, _thread.Resolver):
    """The system's functions in threads."""

    def __init__(self, hub: Any = None) -> None:
        super().__init__()
        self.hub = hub
