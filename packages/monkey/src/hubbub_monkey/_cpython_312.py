"""The internals of :mod:`threading` in CPython 3.12: as in 3.11; its later releases notice the end of dummy threads."""

from __future__ import annotations

import threading
from typing import Any

from hubbub_monkey._adapter import Adapter
from hubbub_monkey._cpython_311 import LEANS_ON, adopt_threads
from hubbub_monkey._cpython_311 import replacements as _replacements_311
from hubbub_monkey._dummies import track_dummy

__all__ = ["ADAPTER"]


def _replacements() -> dict[str, dict[str, Any]]:
    found = _replacements_311()
    if hasattr(threading, "_DeleteDummyThreadOnDel"):
        del found["threading"]["_DummyThread"]
        found["threading"]["_DeleteDummyThreadOnDel"] = track_dummy
    return found


ADAPTER = Adapter((3, 12), _replacements, adopt_threads, LEANS_ON)
