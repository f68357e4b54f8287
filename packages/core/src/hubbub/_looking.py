"""Looks whether a descriptor is ready, without waiting."""

from __future__ import annotations

import select

from hubbub._originals import poll as _poll

__all__ = ["can_look", "is_ready"]

can_look: bool = _poll is not None
"""False on Windows, which has no poll(2). Systems that have epoll have it."""


def is_ready(fd: int, writing: bool) -> bool:
    """Look once, by poll(2). False if nobody can look."""
    if _poll is None:
        return False
    poller = _poll()
    poller.register(fd, select.POLLOUT if writing else select.POLLIN)
    return bool(poller.poll(0))
