"""The internals of :mod:`threading` in CPython 3.13: threads are joined by handles."""

from __future__ import annotations

from functools import partial

from hubbub_monkey import _handles
from hubbub_monkey._adapter import Adapter

__all__ = ["ADAPTER"]

ADAPTER = Adapter((3, 13), _handles.replacements, partial(_handles.adopt, "_handle"), _handles.leans_on("_handle"))
