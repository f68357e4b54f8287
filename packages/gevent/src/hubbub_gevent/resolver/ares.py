"""gevent.resolver.ares on hubbub."""

from __future__ import annotations

from typing import Any

from hubbub_dns import ares as _ares

__all__ = ["Resolver"]


class Resolver(_ares.Resolver):
    """hubbub's resolver of that name."""

    def __init__(self, hub: Any = None, **options: Any) -> None:
        super().__init__(**options)
