"""gevent.time on hubbub."""

from __future__ import annotations

from hubbub.hub import sleep

__all__ = ["sleep"]

__implements__ = ["sleep"]
