"""gevent.resolver.dnspython on hubbub."""

from __future__ import annotations

from typing import Any

from hubbub_dns import dnspython as _dnspython

from hubbub_gevent.resolver._options import stub_options

__all__ = ["Resolver"]


class Resolver(_dnspython.Resolver):
    """hubbub's resolver of that name."""

    def __init__(self, hub: Any = None) -> None:
        super().__init__(**stub_options({}))
        self.hub = hub
