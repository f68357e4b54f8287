"""gevent.event on hubbub."""

from __future__ import annotations

from hubbub.event import AsyncResult, Event

__all__ = ["AsyncResult", "Event"]
