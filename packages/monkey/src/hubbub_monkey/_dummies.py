"""Thread objects of greenlets that :mod:`threading` did not start: they go with the greenlet."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from functools import partial
from typing import Any

from greenlet import getcurrent, greenlet
from hubbub.thread import get_ident

__all__ = ["Active", "track_dummy"]

_FEW = 64


class Active(dict[int, threading.Thread]):
    """``threading._active``, the threads that run, by their number. Who looks at them all finds none that has ended.

    A greenlet that has ended may be kept for its result, and nobody is told when a bare one ends. So those that have
    are looked for when it matters, and when there are twice as many as the last time.
    """

    def __init__(self) -> None:
        super().__init__()
        self._watched: dict[int, tuple[weakref.ref[greenlet], threading.Thread]] = {}
        self._limit = _FEW

    def watch(self, thread: threading.Thread) -> None:
        """Forget ``thread`` when the current greenlet has ended."""
        if len(self._watched) >= self._limit:
            self._sweep()
            self._limit = max(_FEW, 2 * len(self._watched))
        ident = get_ident()
        reference = weakref.ref(getcurrent(), partial(_gone, self, ident))
        self._watched[ident] = reference, thread

    def _sweep(self) -> None:
        for ident, (reference, _) in list(self._watched.items()):
            found = reference()
            if found is None or found.dead:
                _gone(self, ident, reference)

    def __len__(self) -> int:
        self._sweep()
        return super().__len__()

    def __iter__(self) -> Iterator[int]:
        self._sweep()
        return super().__iter__()

    def keys(self) -> Any:
        """As dict's."""
        self._sweep()
        return super().keys()

    def values(self) -> Any:
        """As dict's."""
        self._sweep()
        return super().values()

    def items(self) -> Any:
        """As dict's."""
        self._sweep()
        return super().items()


def _gone(active: Active, ident: int, reference: weakref.ref[greenlet]) -> None:
    """A greenlet is; its number may be another's already. No names of the module: it may be gone too, at exit."""
    seen, thread = active._watched.get(ident, (None, None))
    if seen is reference:
        del active._watched[ident]
        if active.get(ident) is thread:
            del active[ident]


def track_dummy(thread: threading.Thread) -> None:
    """Forget the dummy thread object of the current greenlet when that has ended; another may then have its number."""
    active = threading._active  # type: ignore[attr-defined]  # not in the type stubs
    if isinstance(active, Active):
        active.watch(thread)
