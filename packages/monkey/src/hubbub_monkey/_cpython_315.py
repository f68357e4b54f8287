"""The internals of :mod:`threading` in CPython 3.15: as in 3.14."""

from __future__ import annotations

from functools import partial

from hubbub_monkey import _handles
from hubbub_monkey._adapter import Adapter
from hubbub_monkey._cpython_314 import HANDLE, LEANS_ON, replacements

__all__ = ["ADAPTER"]

ADAPTER = Adapter((3, 15), replacements, partial(_handles.adopt, HANDLE), LEANS_ON)
