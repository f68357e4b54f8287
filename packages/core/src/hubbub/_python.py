"""Warns once, when hubbub is imported, on Pythons for which it is not made, of what does not work there."""

from __future__ import annotations

import sys
import sysconfig
import warnings

from hubbub.exceptions import UnsupportedPythonWarning

__all__ = ["shortcomings"]


def shortcomings() -> str:
    """What does not work on this Python, in a sentence; empty on CPython with the GIL, where everything does."""
    if sys.implementation.name != "cpython":
        return (
            f"hubbub is made for CPython. On {sys.implementation.name} hubbub-speed does nothing, threads and locks "
            "cannot be patched, and what reads the stacks of greenlets sees little; the rest is not tested there"
        )
    if not sysconfig.get_config_var("Py_GIL_DISABLED"):
        return ""
    if gil_is_on():
        return "hubbub-speed does nothing on free-threaded builds of CPython, and there too one thread runs at a time"
    return (
        "hubbub relies on the GIL where native threads share its objects: to_thread, queues, locks and events between "
        "threads. Start this free-threaded build with PYTHON_GIL=1 or -X gil=1. hubbub-speed does nothing on it"
    )


def gil_is_on() -> bool:
    """Whether the GIL is in use: a free-threaded build uses it when told to, or after an extension that needs it."""
    answer: bool = getattr(sys, "_is_gil_enabled", lambda: True)()
    return answer


if text := shortcomings():
    warnings.warn(text, UnsupportedPythonWarning, stacklevel=3)
