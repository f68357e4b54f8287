"""gevent.resolver_ares on hubbub: an old name of :mod:`gevent.resolver.ares`."""

from __future__ import annotations

from hubbub_gevent.resolver.ares import Resolver

__all__ = ["Resolver"]
