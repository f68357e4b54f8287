"""Small numbers for objects, used again when their object is gone."""

from __future__ import annotations

import heapq
import weakref
from typing import Any

__all__ = ["IdentRegistry", "ValuedWeakRef"]


class ValuedWeakRef(weakref.ref[Any]):
    """A weak reference that carries a number."""

    __slots__ = ("value",)
    value: int


class IdentRegistry:
    """Gives each object the lowest number that is free."""

    def __init__(self) -> None:
        self._given: weakref.WeakKeyDictionary[Any, ValuedWeakRef] = weakref.WeakKeyDictionary()
        self._free: list[int] = []
        self._next = 0

    def get_ident(self, obj: Any) -> int:
        """The number of ``obj``."""
        known = self._given.get(obj)
        if known is not None:
            return known.value
        if self._free:
            number = heapq.heappop(self._free)
        else:
            number, self._next = self._next, self._next + 1
        reference = ValuedWeakRef(obj, self._return)
        reference.value = number
        self._given[obj] = reference
        return number

    def _return(self, reference: Any) -> None:
        heapq.heappush(self._free, reference.value)

    def __len__(self) -> int:
        return len(self._given)
