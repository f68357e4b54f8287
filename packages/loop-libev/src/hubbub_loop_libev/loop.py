"""The loop on libev: a C table below, :class:`hubbub.loop.ring.RingLoop` above."""

from __future__ import annotations

import os

from hubbub.loop.ring import RingLoop

from hubbub_loop_libev._extension import extension

__all__ = ["LibevLoop"]

_FLAGS = {"select": 0x1, "poll": 0x2, "epoll": 0x4, "kqueue": 0x8, "devpoll": 0x10, "port": 0x20}


class LibevLoop(RingLoop):
    """An event loop on the system's libev."""

    name = "libev"
    ffi = extension.ffi
    lib = extension.lib

    def __init__(self, default: bool = False, backend: str | None = None) -> None:
        """Open a loop.

        :param backend: what libev asks the kernel with, for instance ``epoll``, or several names with commas, of which
            libev takes the best that works. Without it, the environment's ``HUBBUB_LIBEV_BACKEND`` or libev chooses.
        :raises ValueError: libev does not know the backend, or was built without it.
        :raises OSError: the kernel refuses: no descriptors or no memory left.
        """
        choice = os.environ.get("HUBBUB_LIBEV_BACKEND", "") if backend is None else backend
        super().__init__(default, _flags(choice))

    @classmethod
    def backends(cls) -> tuple[str, ...]:
        """The names of the backends that this build of libev has."""
        bits = cls.lib.hb_backends()
        return tuple(name for name, flag in _FLAGS.items() if bits & flag)

    @classmethod
    def version(cls) -> str:
        """The version of libev, as it is loaded."""
        return bytes(cls.ffi.string(cls.lib.hb_version())).decode()

    def verify(self) -> None:
        """Check that the structures of the loop agree with one another; libev ends the process if its own do not.

        :raises OSError: EFAULT: ours do not.
        """
        self.check_alive()
        self._check(self.lib.hb_verify(self._loop))


def _flags(choice: str) -> int:
    """The bits of libev for a list of names with commas; 0 for none."""
    known = LibevLoop.backends()
    flags = 0
    for name in filter(None, (word.strip() for word in choice.split(","))):
        if name not in known:
            raise ValueError(f"libev has no backend {name!r} here; it has: {', '.join(known)}")
        flags |= _FLAGS[name]
    return flags
