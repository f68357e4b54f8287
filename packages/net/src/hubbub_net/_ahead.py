"""Descriptors of which more was read than was asked for, so that the kernel cannot tell of all that there is to read.

TLS sockets read what has come, and hand out what was asked for. Those that keep something are noted here, for
``select`` and its kin.
"""

from __future__ import annotations

from typing import Any, Protocol
from weakref import ref

__all__ = ["Holder", "forget", "note_if", "noted", "readable"]


class Holder(Protocol):
    """A socket that may keep something."""

    def fileno(self) -> int:
        """Its descriptor; negative when it is closed."""

    def has_ahead(self) -> bool:
        """Whether a read would return at once, whatever the kernel says."""


noted: dict[int, ref[Any]] = {}
"""Those that may keep something, by descriptor. Mostly empty, which is all that the others ask then."""


def note_if(holder: Holder, keeps: bool) -> None:
    """``holder`` keeps something from now on, or does not."""
    if keeps:
        noted[holder.fileno()] = ref(holder)
    elif noted:
        noted.pop(holder.fileno(), None)


def forget(fd: int) -> None:
    """``fd`` keeps nothing."""
    noted.pop(fd, None)


def readable(fd: int) -> bool:
    """Whether a read of ``fd`` would return at once because of what was read before."""
    reference = noted.get(fd)
    if reference is None:
        return False
    holder: Holder | None = reference()
    if holder is None or holder.fileno() != fd:
        noted.pop(fd, None)  # closed by other means than its own
        return False
    return holder.has_ahead()
