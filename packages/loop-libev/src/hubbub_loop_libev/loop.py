"""The backend on libev: a C table below, :class:`hubbub.loop.ring.RingBackend` above."""

from __future__ import annotations

import os

from hubbub.loop.ring import RingBackend

from hubbub_loop_libev._extension import extension

__all__ = ["LibevBackend"]

_FLAGS = {"select": 0x1, "poll": 0x2, "epoll": 0x4, "kqueue": 0x8, "devpoll": 0x10, "port": 0x20}


class LibevBackend(RingBackend):
    """A backend on the system's libev."""

    name = "libev"
    ffi = extension.ffi
    lib = extension.lib

    def __init__(self, interface: str | None = None) -> None:
        """Choose the kernel interface; the loop opens the backend.

        :param interface: the kernel interface that libev polls with, for instance ``epoll``, or several names with
            commas, of which libev takes the best that works. If None, ``HUBBUB_LIBEV_BACKEND`` or libev itself chooses.
        :raises ValueError: libev does not know the interface, or was built without it.
        """
        choice = os.environ.get("HUBBUB_LIBEV_BACKEND", "") if interface is None else interface
        super().__init__(_flags(choice))

    @classmethod
    def interfaces(cls) -> tuple[str, ...]:
        """The names of the kernel interfaces that this build of libev has."""
        bits = cls.lib.hb_backends()
        return tuple(name for name, flag in _FLAGS.items() if bits & flag)

    @classmethod
    def version(cls) -> str:
        """The version of the libev that is loaded."""
        return bytes(cls.ffi.string(cls.lib.hb_version())).decode()


def _flags(choice: str) -> int:
    """libev's flags for a list of names with commas; 0 for an empty one."""
    known = LibevBackend.interfaces()
    flags = 0
    for name in filter(None, (word.strip() for word in choice.split(","))):
        if name not in known:
            raise ValueError(f"libev has no interface {name!r} here; it has: {', '.join(known)}")
        flags |= _FLAGS[name]
    return flags
