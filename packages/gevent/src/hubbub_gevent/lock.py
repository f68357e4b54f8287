"""gevent.lock on hubbub."""

from __future__ import annotations

from typing import Any

from hubbub import lock as _lock
from hubbub.lock import DummySemaphore

from hubbub_gevent._abstract_linkable import AbstractLinkable
from hubbub_gevent.hub import get_hub_if_exists

__all__ = ["BoundedSemaphore", "DummySemaphore", "RLock", "Semaphore"]


class Semaphore(AbstractLinkable, _lock.Semaphore):
    """:class:`hubbub.lock.Semaphore` with the attribute ``hub``: the hub of the first thread that acquired it.

    :param hub: the value of the attribute; otherwise without effect, as hubbub's semaphores serve all threads.
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
    """:class:`hubbub.lock.BoundedSemaphore` with the same attribute, which is None again when all permits are free."""

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
