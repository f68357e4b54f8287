"""gevent._abstract_linkable on hubbub."""

from __future__ import annotations

from hubbub.event import Event

__all__ = ["AbstractLinkable"]

AbstractLinkable = Event.__mro__[-2]
"""What events, results and semaphores have in common."""
