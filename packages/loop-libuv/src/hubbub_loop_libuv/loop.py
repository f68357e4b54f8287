"""The loop on libuv: a C table below, :class:`hubbub.loop.ring.RingLoop` above."""

from __future__ import annotations

from hubbub.loop.ring import RingLoop

from hubbub_loop_libuv._extension import extension

__all__ = ["LibuvLoop"]


class LibuvLoop(RingLoop):
    """An event loop on the system's libuv."""

    name = "libuv"
    ffi = extension.ffi
    lib = extension.lib

    @classmethod
    def version(cls) -> str:
        """The version of libuv, as it is loaded."""
        return bytes(cls.ffi.string(cls.lib.hb_version())).decode()

    def verify(self) -> None:
        """Check that the structures of the loop agree with one another.

        :raises OSError: EFAULT: they do not.
        """
        self.check_alive()
        self._check(self.lib.hb_verify(self._loop))
