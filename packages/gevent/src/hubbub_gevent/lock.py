"""gevent.lock on hubbub."""

from __future__ import annotations

from typing import Any

from hubbub import lock as _lock
from hubbub.lock import DummySemaphore

from hubbub_gevent._abstract_linkable import AbstractLinkable
from hubbub_gevent.hub import get_hub_if_exists

__all__ = ["BoundedSemaphore", "DummySemaphore", "RLock", "Semaphore"]


class Semaphore(AbstractLinkable, _lock.Semaphore):
    """:class:`hubbub.lock.Semaphore` that tells the hub of the last thread to use it.

    :param hub: tells nothing to hubbub, whose semaphores serve all threads.
    """

    def __init__(self, value: int = 1, hub: Any = None) -> None:
        super().__init__(value)
        self.hub: Any = hub

    def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool:
        """Take a permit."""
        if self.hub is None:
            self.hub = get_hub_if_exists()
        return super().acquire(blocking, timeout)


class BoundedSemaphore(AbstractLinkable, _lock.BoundedSemaphore):
    """:class:`hubbub.lock.BoundedSemaphore`, as above; free of its hub when nobody holds it."""

    def __init__(self, value: int = 1, hub: Any = None) -> None:
        super().__init__(value)
        self.hub: Any = hub
        self._most = value

    def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool:
        """Take a permit."""
        if self.hub is None:
            self.hub = get_hub_if_exists()
        return super().acquire(blocking, timeout)

    def release(self) -> int:
        """Give a permit.

        :raises ValueError: released more often than acquired.
        """
        free = super().release()
        if free == self._most:
            self.hub = None
        return free


class RLock(_lock.RLock):
    """:class:`hubbub.lock.RLock`."""

    def __init__(self, hub: Any = None) -> None:
        super().__init__()
