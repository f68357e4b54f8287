"""The internals of :mod:`threading` in CPython 3.12: those of 3.11; later releases track dummy threads themselves."""

from __future__ import annotations

import threading
from typing import Any

from hubbub.local import local

from hubbub_monkey._cpython_311 import adopt_threads
from hubbub_monkey._cpython_311 import replacements as _replacements_311

__all__ = ["adopt_threads", "replacements"]


def replacements() -> dict[str, dict[str, Any]]:
    """What is set, by module."""
    found = _replacements_311()
    if hasattr(threading, "_thread_local_info"):
        found["threading"]["_thread_local_info"] = local()
    return found
