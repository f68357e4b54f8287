"""The thread objects of greenlets. The object of a greenlet that :mod:`threading` did not start ends with it."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from functools import partial
from typing import Any

from greenlet import getcurrent, greenlet
from hubbub.thread import get_ident

__all__ = ["Active", "expect", "expect_no_more", "track_dummy"]

_FEW = 64


class Active(dict[int, threading.Thread]):
    """``threading._active``, the threads that run, by their number. A caller that lists them finds none that has ended.

    A greenlet that has ended may be kept for its result, and nothing reports the end of a raw one. So this looks for
    ended greenlets before it lists the threads, and whenever it has twice as many as after the last look.
    """

    def __init__(self) -> None:
        super().__init__()
        self._watched: dict[int, tuple[weakref.ref[greenlet], threading.Thread]] = {}
        self._limit = _FEW
        self._starting: weakref.WeakValueDictionary[int, threading.Thread] = weakref.WeakValueDictionary()

    def __missing__(self, ident: int) -> threading.Thread:
        """A thread is known from its first frame on, before :mod:`threading` enters it. Else trace functions and tools
        that ask for the current thread in hubbub's frames would get a dummy, and keep it."""
        return self._starting[ident]

    def expect(self, ident: int, thread: threading.Thread) -> None:
        """``thread`` is about to start in the greenlet of that number."""
        self._starting[ident] = thread

    def expect_no_more(self, ident: int) -> None:
        """The thread of that number has ended."""
        self._starting.pop(ident, None)

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
    """A greenlet is gone; another may have its number already. Uses no global names: at exit they may be gone too."""
    seen, thread = active._watched.get(ident, (None, None))
    if seen is reference:
        del active._watched[ident]
        if active.get(ident) is thread:
            del active[ident]


def expect(ident: int, thread: threading.Thread | None) -> None:
    """The greenlet of that number is about to run the body of this thread, if it is one of :mod:`threading`'s."""
    active = threading._active  # type: ignore[attr-defined]  # not in the type stubs
    if isinstance(active, Active) and thread is not None:
        active.expect(ident, thread)


def expect_no_more() -> None:
    """The thread that is the current greenlet has ended."""
    active = threading._active  # type: ignore[attr-defined]  # see above
    if isinstance(active, Active):
        active.expect_no_more(get_ident())


def track_dummy(thread: threading.Thread) -> None:
    """Forget the dummy thread object of the current greenlet at its end; another greenlet may then get its number."""
    active = threading._active  # type: ignore[attr-defined]  # not in the type stubs
    if isinstance(active, Active):
        active.watch(thread)
