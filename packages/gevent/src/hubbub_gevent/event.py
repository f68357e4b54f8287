"""gevent.event on hubbub: waits also take a Timeout object as their limit."""

from __future__ import annotations

from typing import Any

from hubbub import event as _event
from hubbub.timeout import Timeout

__all__ = ["AsyncResult", "Counted", "Event"]


class Counted:
    """What gevent's events and semaphores tell of those who wait."""

    hub: Any = None
    _waiters: Any
    _links: Any

    def linkcount(self) -> int:
        """How many wait or are linked."""
        return len(self._waiters) + len(self._links or ())


class Event(Counted, _event.Event):
    """:class:`hubbub.event.Event`."""

    def wait(self, timeout: Any = None) -> bool:
        """Wait until the flag is set."""
        if isinstance(timeout, Timeout):
            with timeout:
                return super().wait()
        return super().wait(timeout)


class AsyncResult(Counted, _event.AsyncResult[Any]):
    """:class:`hubbub.event.AsyncResult`."""

    def get(self, block: bool = True, timeout: Any = None) -> Any:
        """The value; raises the stored error."""
        if isinstance(timeout, Timeout):
            with timeout:
                return super().get(block)
        return super().get(block, timeout)

    def wait(self, timeout: Any = None) -> Any:
        """The value, or None."""
        if isinstance(timeout, Timeout):
            with timeout:
                return super().wait()
        return super().wait(timeout)
