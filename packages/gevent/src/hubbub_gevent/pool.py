"""gevent.pool on hubbub: groups of gevent's greenlets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from hubbub import pool as _pool
from hubbub.pool import PoolFull

from hubbub_gevent._imap import IMap, IMapUnordered
from hubbub_gevent.greenlet import Greenlet

__all__ = [
    "Group",
    "Pool",
    "PoolFull",
]


if TYPE_CHECKING:

    class _Mapping:
        def _items(self, iterables: Any) -> tuple[Any, Any]: ...

else:
    _Mapping = _pool.Group.__mro__[1]


class GroupMappingMixin(_Mapping):
    """``apply``, ``map`` and their kin. The classes of iterators may be replaced in this module."""

    def imap(self, func: Callable[..., Any], /, *iterables: Iterable[Any], maxsize: int | None = None) -> Any:
        """Iterate over the results of ``func``, in the order of the items; see :meth:`hubbub.pool.Group.imap`."""
        return IMap.spawn(func, *self._items(iterables), maxsize=maxsize)

    def imap_unordered(self, func: Callable[..., Any], /, *iterables: Iterable[Any], maxsize: int | None = None) -> Any:
        """As :meth:`imap`, in the order in which the results come."""
        return IMapUnordered.spawn(func, *self._items(iterables), maxsize=maxsize)


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


class Group(_Members, GroupMappingMixin, _pool.Group):
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
