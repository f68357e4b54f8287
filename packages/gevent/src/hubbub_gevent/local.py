"""gevent.local on hubbub."""

from __future__ import annotations

import weakref
from types import MemberDescriptorType
from typing import Any

from greenlet import getcurrent, greenlet
from hubbub import local as _local

__all__ = [
    "local",
]

_owners: weakref.WeakKeyDictionary[greenlet, dict[int, weakref.ref[Any]]] = weakref.WeakKeyDictionary()


class local(_local.local):
    """:class:`hubbub.local.local` that can be copied, and is found by :func:`all_local_dicts_for_greenlet`."""

    __slots__ = ()

    def __copy__(self) -> Any:
        args, kwargs = object.__getattribute__(self, "_local__arguments")
        new = type(self)(*args, **kwargs)
        new.__dict__.update(self.__dict__)
        for slot in _slots(type(self)):
            try:
                value = slot.__get__(self)
            except AttributeError:
                continue  # it was never set
            slot.__set__(new, value)
        return new

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        _owners.setdefault(getcurrent(), {})[id(self)] = weakref.ref(self)


def _slots(cls: type) -> list[MemberDescriptorType]:
    """The slots that subclasses of :class:`local` declare."""
    mine = cls.__mro__[: cls.__mro__.index(local)]
    return [slot for base in mine for slot in vars(base).values() if isinstance(slot, MemberDescriptorType)]


def all_local_dicts_for_greenlet(greenlet: greenlet) -> list[Any]:
    """``[((class, id), attributes), ...]`` of every ``local`` that ``greenlet`` has used."""
    found = []
    for reference in list(_owners.get(greenlet, {}).values()):
        owner = reference()
        if owner is None:
            continue
        values = _local.attributes_of(owner, greenlet)
        if values is not None:
            found.append(((type(owner), id(owner)), values))
    return found
