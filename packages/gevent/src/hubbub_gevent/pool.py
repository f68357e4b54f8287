"""gevent.pool on hubbub: groups of gevent's greenlets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hubbub import pool as _pool
from hubbub.pool import IMap, IMapUnordered, PoolFull

from hubbub_gevent.greenlet import Greenlet

GroupMappingMixin = _pool.Group.__mro__[1]
"""``apply``, ``map`` and their kin."""
__all__ = ["Greenlet", "Group", "GroupMappingMixin", "IMap", "IMapUnordered", "Pool", "PoolFull"]


class _Members:
    """As in gevent, members that are being killed count until they have ended, and an empty group is false."""

    greenlets: set[Any]
    dying: set[Any]

    def __len__(self) -> int:
        return len(self.greenlets | self.dying)

    def __contains__(self, item: object) -> bool:
        return item in self.greenlets or item in self.dying

    def __iter__(self) -> Iterator[Any]:
        return iter(self.greenlets | self.dying)

    def __bool__(self) -> bool:
        return len(self) > 0


class Group(_Members, _pool.Group):
    """:class:`hubbub.pool.Group` of gevent's greenlets."""

    greenlet_class: Any = Greenlet

    def __init__(self, *args: Any) -> None:
        if len(args) > 1:
            raise AssertionError("a group is made of at most one iterable of greenlets")
        super().__init__(*(args[0] if args else ()))


class Pool(Group, _pool.Pool):
    """:class:`hubbub.pool.Pool` of gevent's greenlets."""

    def __init__(self, size: int | None = None, greenlet_class: Any = None) -> None:
        _pool.Pool.__init__(self, size, greenlet_class)
