"""The patch of :mod:`threading`: picks the adapter of this CPython, and converts what existed before."""

from __future__ import annotations

import queue
import threading
import warnings
from collections.abc import Callable
from typing import Any

from hubbub_monkey import _journal
from hubbub_monkey._adapter import Adapter, choose
from hubbub_monkey._existing import Exchange
from hubbub_monkey.exceptions import PatchWarning

__all__ = ["ThreadingPatch"]


class ThreadingPatch:
    """Makes threads greenlets; all of them, or it refuses."""

    module = "threading"
    requires: tuple[str, ...] = ()

    def __init__(self) -> None:
        self._adapter: Adapter | None = None

    def replacements(self) -> dict[str, dict[str, Any]]:
        """What to set.

        :raises PatchError: the internals of this interpreter are not known.
        """
        self._adapter = choose()
        found = self._adapter.replacements()
        # The C class waits natively; the one written in Python waits on the new locks.
        found["queue"] = {"SimpleQueue": vars(queue)["_PySimpleQueue"]}
        return found

    def installed(self) -> Callable[[], None]:
        """Exchange what was made before patching. Returns what puts it back."""
        assert self._adapter is not None  # replacements() was called before
        release_active = _take_over_active()
        _warn_of_threads()
        locks = Exchange()
        release_threads = self._adapter.adopt_threads()

        def undo() -> None:
            locks.undo()
            release_threads()
            release_active()

        try:
            locks.run()
            left = locks.left()
        except BaseException:
            undo()
            raise
        if left:
            warnings.warn(left, PatchWarning, stacklevel=2)
        return undo


def _take_over_active() -> Callable[[], None]:
    """Copy the old table of running threads into the new one. Returns what moves it back."""
    new: dict[int, Any] = vars(threading)["_active"]
    old: dict[int, Any] = _journal.original("threading", "_active")
    new.update(old)

    def back() -> None:
        kept = dict(new.items())
        old.clear()
        old.update(kept)

    return back


def _warn_of_threads() -> None:
    names = [
        thread.name
        for thread in threading.enumerate()
        if thread is not threading.main_thread() and not thread.name.startswith("hubbub-")
    ]
    if names:
        warnings.warn(
            f"threads run already and stay native: {', '.join(names)}; locks that they hold now stay native too",
            PatchWarning,
            stacklevel=2,
        )
