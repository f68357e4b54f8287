"""Reads what other threads may change meanwhile: weak collections, and all objects of the process."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, compress
from operator import call
from typing import Any, TypeVar

__all__ = ["instances", "snapshot"]

T = TypeVar("T")


def snapshot(items: Callable[[], Iterable[T]]) -> list[T]:
    """What ``items()`` iterates over. A change during the iteration makes it start over."""
    while True:
        try:
            return list(items())
        except RuntimeError:
            continue  # "changed size during iteration"


def instances(*kinds: type) -> list[Any]:
    """The objects of these classes and their subclasses, as far as the garbage collector knows them.

    The list of all objects is made, looked through and dropped in a single step of C code. If it lived any longer it
    would keep alive what other threads let go of meanwhile. Then the local data of a thread that ends would be freed
    in this one, where its hub cannot be ended any more. No code of the objects themselves runs.
    """
    wanted = {id(kind) for root in kinds for kind in _with_subclasses(root)}
    box: dict[str, list[Any]] = {}
    # Nothing happens before list() asks for the first item. The list of all objects contains these iterators, so each
    # must drop its reference to the list. An iterator does so at its end, and the extra None makes both reach theirs.
    everything = chain(chain.from_iterable(map(box.setdefault, ("all",), map(call, (gc.get_objects,)))), (None,))
    again = chain.from_iterable(map(box.pop, ("all",)))
    return list(compress(everything, map(wanted.__contains__, map(id, map(type, again)))))


def _with_subclasses(root: type) -> Iterator[type]:
    left = [root]
    while left:
        kind = left.pop()
        yield kind
        left += type.__subclasses__(kind)
