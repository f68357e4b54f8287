"""gevent.resolver.dnspython on hubbub."""

from __future__ import annotations

from typing import Any

from hubbub_dns import dnspython as _dnspython

__all__ = ["Resolver"]


class Resolver(_dnspython.Resolver):
    """hubbub's resolver of that name."""

    def __init__(self, hub: Any = None, **options: Any) -> None:
        super().__init__(**options)
