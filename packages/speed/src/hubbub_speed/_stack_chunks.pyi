"""The compiled module: the functions of stack_chunks.cdef.h."""

from typing import Any

ffi: Any
lib: Any
