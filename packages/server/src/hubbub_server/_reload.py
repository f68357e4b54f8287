"""Noticing that the source of a loaded module has changed."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import hubbub

__all__ = ["CHANGED", "snapshot", "watch_modules"]

CHANGED = 75
"""The exit status of a worker that wants to be started anew."""


def snapshot() -> dict[str, tuple[float, int]]:
    """Time and size of the file of every module."""
    found = {}
    for module in list(sys.modules.values()):
        path = getattr(module, "__file__", None)
        if path is None:
            continue
        try:
            status = os.stat(path)
        except OSError:
            continue
        found[path] = (status.st_mtime, status.st_size)
    return found


def watch_modules(changed: Callable[[], object], seconds: float = 0.5) -> None:
    """Look every ``seconds``; call ``changed`` once a known file is not what it was, and return."""
    known = snapshot()
    while True:
        hubbub.sleep(seconds, ref=False)
        now = snapshot()
        if any(now.get(path) != state for path, state in known.items()):
            changed()
            return
        known = now
