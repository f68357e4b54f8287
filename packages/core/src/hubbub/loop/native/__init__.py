"""For backends in C: the table that :class:`hubbub.loop.ring.RingBackend` drives, as headers for compiler and cffi.

``hb.cdef.h`` declares the functions and says what each must do. ``hb_shared.h`` has what every implementation needs:
the ring, tables by descriptor, the clock, wake-ups, and the check of the calling thread. A package needs hubbub to
build and has no copy of either::

    ffi.cdef(hubbub.loop.native.cdef())
    ffi.set_source(
        "mypackage._mylib", '#include "hb.cdef.h"',
        sources=["mylib.c"], include_dirs=[hubbub.loop.native.include_folder()],
    )

:mod:`hubbub.loop.native.building` does this and the rest of what hubbub's own backends need of a build.
"""

from hubbub.loop.native.headers import cdef, include_folder

__all__ = ["cdef", "include_folder"]
