"""gevent._waiter on hubbub."""

from __future__ import annotations

from hubbub_gevent.hub import Waiter

__all__ = ["Waiter"]
