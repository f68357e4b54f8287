"""Where the headers of native backends are."""

from __future__ import annotations

from pathlib import Path

__all__ = ["cdef", "include_folder"]

_HERE = Path(__file__).resolve().parent


def include_folder() -> str:
    """The folder of ``hb.cdef.h`` and ``hb_shared.h``, for the compiler's ``-I``."""
    return str(_HERE)


def cdef() -> str:
    """The text of ``hb.cdef.h``, for :meth:`cffi.FFI.cdef`."""
    return (_HERE / "hb.cdef.h").read_text()
