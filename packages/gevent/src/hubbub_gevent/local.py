"""gevent.local on hubbub."""

from __future__ import annotations

import weakref
from typing import Any

from greenlet import getcurrent, greenlet
from hubbub import local as _local

__all__ = ["all_local_dicts_for_greenlet", "local"]

_owners: weakref.WeakKeyDictionary[greenlet, weakref.WeakSet[Any]] = weakref.WeakKeyDictionary()


class local(_local.local):
    """:class:`hubbub.local.local` that can be copied, and is found by :func:`all_local_dicts_for_greenlet`."""

    __slots__ = ()

    def __copy__(self) -> Any:
        args, kwargs = object.__getattribute__(self, "_local__arguments")
        new = type(self)(*args, **kwargs)
        new.__dict__.update(self.__dict__)
        return new

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        _owners.setdefault(getcurrent(), weakref.WeakSet()).add(self)


def all_local_dicts_for_greenlet(greenlet: greenlet) -> list[Any]:
    """``[((class, id), attributes), ...]`` of every ``local`` that ``greenlet`` has used."""
    found = []
    for owner in list(_owners.get(greenlet, ())):
        dicts = object.__getattribute__(owner, "_local__dicts")
        values = dicts.get(greenlet)
        if values is not None:
            found.append(((type(owner), id(owner)), values))
    return found
