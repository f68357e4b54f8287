"""Giving up a wait."""

from __future__ import annotations

from collections import deque
from math import inf

from hubbub._waiter import Waiter

__all__ = ["leave", "put_back"]


def leave(waiters: deque[Waiter], waiter: Waiter) -> bool:
    """Take ``waiter``, whose wait has ended without a wake-up, out of the queue ``waiters``. Harmless a second time.

    Should somebody in another thread have it in hand just now, he finds that there is nobody to wake.

    :returns: False if it is too late: what was waited for has been handed over, and belongs to the caller now.
    """
    waiter.since = -inf  # stale: nobody can wake it from here on
    try:
        waiters.remove(waiter)
    except ValueError:
        return not waiter.done
    return True


def put_back(waiters: deque[Waiter], waiter: Waiter) -> None:
    """Undo taking ``waiter`` out of the queue ``waiters``: there was nothing to hand over after all."""
    waiters.appendleft(waiter)
    if waiter.stale:  # it has left meanwhile
        leave(waiters, waiter)
