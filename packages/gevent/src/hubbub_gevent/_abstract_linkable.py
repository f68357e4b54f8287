"""gevent._abstract_linkable on hubbub."""

from __future__ import annotations

from typing import Any

from hubbub.event import Event

__all__ = ["AbstractLinkable", "Counted"]

AbstractLinkable = Event.__mro__[-2]
"""What events, results and semaphores have in common."""


class Counted:
    """What gevent's events and semaphores tell of those who wait."""

    hub: Any = None
    _waiters: Any
    _links: Any

    def linkcount(self) -> int:
        """How many wait or are linked."""
        return len(self._waiters) + len(self._links or ())
