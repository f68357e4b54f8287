"""gevent.resolver_thread on hubbub: an old name of :mod:`gevent.resolver.thread`."""

from __future__ import annotations

from hubbub_gevent.resolver.thread import Resolver

__all__ = ["Resolver"]
