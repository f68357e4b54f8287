"""gevent.pool on hubbub: groups of gevent's greenlets."""

from __future__ import annotations

from typing import Any

from hubbub import pool as _pool
from hubbub.pool import IMap, IMapUnordered, PoolFull

from hubbub_gevent.greenlet import Greenlet

__all__ = ["Greenlet", "Group", "IMap", "IMapUnordered", "Pool", "PoolFull"]


class Group(_pool.Group):
    """:class:`hubbub.pool.Group` of gevent's greenlets."""

    greenlet_class = Greenlet


class Pool(_pool.Pool):
    """:class:`hubbub.pool.Pool` of gevent's greenlets."""

    greenlet_class: Any = Greenlet
