"""Which Pythons this package compiles its module for. The build asks, and so does the import of the module."""

from __future__ import annotations

import sys
import sysconfig

__all__ = ["unsupported"]


def unsupported() -> str:
    """Why the package has no compiled module for the running Python; empty if it has one."""
    name = sys.implementation.name
    if name not in ("cpython", "pypy"):
        return f"hubbub-loop-libev has nothing for {name}: there is no cffi; another loop is taken"
    if sysconfig.get_config_var("Py_GIL_DISABLED") and sys.version_info < (3, 14):
        return "hubbub-loop-libev has nothing for free-threaded builds before CPython 3.14: there is no cffi"
    return ""
