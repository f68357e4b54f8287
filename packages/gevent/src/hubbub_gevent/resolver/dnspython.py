"""gevent.resolver.dnspython on hubbub."""

from __future__ import annotations

from typing import Any

from hubbub_dns import dnspython as _dnspython

from hubbub_gevent.resolver._base import Parameters
from hubbub_gevent.resolver._cooperative_dns import cooperative_dns
from hubbub_gevent.resolver._options import stub_options

__all__ = ["Resolver"]


class Resolver(Parameters, _dnspython.Resolver):
    """hubbub's resolver ``dnspython``."""

    def __init__(self, hub: Any = None) -> None:
        super().__init__(**stub_options({}))
        self.hub = hub


def __getattr__(name: str) -> Any:
    if name == "dns":
        return cooperative_dns()
    raise AttributeError(f"module {__name__!r}, which is hubbub's, has no attribute {name!r}", name=name)
