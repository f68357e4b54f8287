"""Descriptors whose sockets hold data that was read ahead, of which the kernel knows nothing.

A TLS socket reads all that has come and hands out what the caller asked for. Sockets that keep the rest are noted here,
for ``select`` and its kin.
"""

from __future__ import annotations

from typing import Any, Protocol
from weakref import ref

__all__ = ["Holder", "forget", "note_if", "noted", "readable"]


class Holder(Protocol):
    """A socket that may hold data read ahead."""

    def fileno(self) -> int:
        """The socket's descriptor; negative when it is closed."""

    def has_ahead(self) -> bool:
        """Whether a read would return at once, whatever the kernel says."""


noted: dict[int, ref[Any]] = {}
"""Sockets that may hold data read ahead, by descriptor. Mostly empty, so callers check that first."""


def note_if(holder: Holder, keeps: bool) -> None:
    """Note whether ``holder`` holds data read ahead from now on."""
    if keeps:
        noted[holder.fileno()] = ref(holder)
    elif noted:
        noted.pop(holder.fileno(), None)


def forget(fd: int) -> None:
    """Note that the socket of ``fd`` holds nothing any more."""
    noted.pop(fd, None)


def readable(fd: int) -> bool:
    """Whether a read of ``fd`` would return at once because of what was read before."""
    reference = noted.get(fd)
    if reference is None:
        return False
    holder: Holder | None = reference()
    if holder is None or holder.fileno() != fd:
        noted.pop(fd, None)  # the descriptor was closed without the socket's close()
        return False
    return holder.has_ahead()
