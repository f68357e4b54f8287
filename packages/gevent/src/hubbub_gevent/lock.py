"""gevent.lock on hubbub."""

from __future__ import annotations

from hubbub.lock import BoundedSemaphore, DummySemaphore, RLock, Semaphore

__all__ = ["BoundedSemaphore", "DummySemaphore", "RLock", "Semaphore"]
