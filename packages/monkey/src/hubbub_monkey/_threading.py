"""The patch of :mod:`threading`: picks the adapter of this CPython, and sees to what existed before."""

from __future__ import annotations

import importlib
import queue
import sys
import threading
import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any

from hubbub_monkey._existing import Exchange
from hubbub_monkey.exceptions import PatchWarning

__all__ = ["ThreadingPatch"]

_ADAPTERS = {(3, 11): "_cpython_311", (3, 12): "_cpython_312", (3, 13): "_cpython_313"}


def _adapter() -> ModuleType | None:
    name = _ADAPTERS.get(sys.version_info[:2])
    return importlib.import_module(f"hubbub_monkey.{name}") if name else None


class ThreadingPatch:
    """Threads become greenlets. On a CPython whose internals are not known, it does nothing and says so."""

    module = "threading"
    requires: tuple[str, ...] = ()

    def replacements(self) -> dict[str, dict[str, Any]]:
        """What to set."""
        adapter = _adapter()
        if adapter is None:
            known = ", ".join(f"{major}.{minor}" for major, minor in _ADAPTERS)
            mine = f"{sys.version_info[0]}.{sys.version_info[1]}"
            warnings.warn(
                f"threads, locks and thread-local data were skipped: the internals of CPython {mine} "
                f"are not known to this hubbub-monkey, only those of {known}",
                PatchWarning,
                stacklevel=2,
            )
            return {}
        found: dict[str, dict[str, Any]] = adapter.replacements()
        # The C class waits natively; the one written in Python waits on the new locks.
        found["queue"] = {"SimpleQueue": vars(queue)["_PySimpleQueue"]}
        return found

    def installed(self) -> Callable[[], None] | None:
        """Exchange what was made before; returns what puts it back."""
        adapter = _adapter()
        if adapter is None:
            return None
        _warn_of_threads()
        locks = Exchange()
        release_threads = adapter.adopt_threads()
        try:
            locks.run()
            left = locks.left()
        except BaseException:
            locks.undo()
            release_threads()
            raise
        if left:
            warnings.warn(left, PatchWarning, stacklevel=2)

        def undo() -> None:
            locks.undo()
            release_threads()

        return undo


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
