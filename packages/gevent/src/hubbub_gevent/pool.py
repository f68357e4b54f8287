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

    def __init__(self, *args: Any) -> None:
        if len(args) > 1:
            raise AssertionError("a group is made of at most one iterable of greenlets")
        super().__init__(*(args[0] if args else ()))

    def __bool__(self) -> bool:
        return len(self) > 0


class Pool(_pool.Pool):
    """:class:`hubbub.pool.Pool` of gevent's greenlets."""

    greenlet_class: Any = Greenlet

    def __bool__(self) -> bool:
        return len(self) > 0
