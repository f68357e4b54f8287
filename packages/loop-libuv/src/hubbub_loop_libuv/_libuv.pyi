"""The compiled module: the C table of hb.cdef.h."""

from typing import Any

ffi: Any
lib: Any
