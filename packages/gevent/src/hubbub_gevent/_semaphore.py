"""gevent._semaphore on hubbub."""

from __future__ import annotations

from hubbub_gevent.lock import BoundedSemaphore, Semaphore

__all__ = ["BoundedSemaphore", "Semaphore"]
