"""The backend on libuv: a C table below, :class:`hubbub.loop.ring.RingBackend` above."""

from __future__ import annotations

from hubbub.loop.ring import RingBackend

from hubbub_loop_libuv._extension import extension

__all__ = ["LibuvBackend"]


class LibuvBackend(RingBackend):
    """A backend on the system's libuv."""

    name = "libuv"
    ffi = extension.ffi
    lib = extension.lib

    @classmethod
    def version(cls) -> str:
        """The version of the libuv that is loaded."""
        return bytes(cls.ffi.string(cls.lib.hb_version())).decode()
