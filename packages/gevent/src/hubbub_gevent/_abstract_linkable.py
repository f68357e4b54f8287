"""gevent._abstract_linkable on hubbub."""

from __future__ import annotations

from typing import Any

from hubbub.lowlevel import Linkable, count_waiting

__all__ = ["AbstractLinkable"]


class AbstractLinkable(Linkable):
    """What gevent's events, results and semaphores have in common: the number of their waiters and links."""

    hub: Any = None

    def linkcount(self) -> int:
        """The number of waiters and links."""
        return count_waiting(self)
