"""Which Pythons this package has C code for. The build asks this module, and so does the import of the package."""

from __future__ import annotations

import sys
import sysconfig

__all__ = ["unsupported"]


def unsupported() -> str:
    """Why this package has nothing for the running Python; empty where it has."""
    if sys.implementation.name != "cpython":
        return f"hubbub-net-speed does nothing on {sys.implementation.name}: it is made of CPython's own structures"
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        return "hubbub-net-speed does nothing on free-threaded builds of CPython: it relies on the GIL"
    return ""
