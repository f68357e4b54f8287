"""The internals of :mod:`threading` in CPython 3.14: handles have other names, and threads set their own names."""

from __future__ import annotations

import _thread
from functools import partial
from typing import Any

from hubbub_monkey import _handles
from hubbub_monkey._adapter import Adapter
from hubbub_monkey.threads import named_by_system

__all__ = ["ADAPTER", "HANDLE", "LEANS_ON", "replacements"]

HANDLE = "_os_thread_handle"
LEANS_ON = {**_handles.leans_on(HANDLE), "Thread._set_os_name": ("_set_name",)}


def replacements() -> dict[str, dict[str, Any]]:
    """The names to set, by module."""
    found = _handles.replacements()
    native: Any = _thread  # its new names are not in the type stubs
    if hasattr(native, "set_name"):  # not on every system
        found["threading"]["_set_name"] = found["_thread"]["set_name"] = named_by_system(native.set_name)
    return found


ADAPTER = Adapter((3, 14), replacements, partial(_handles.adopt, HANDLE), LEANS_ON)
