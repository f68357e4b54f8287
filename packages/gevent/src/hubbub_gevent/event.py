"""gevent.event on hubbub: waits also take a Timeout object as their limit."""

from __future__ import annotations

from typing import Any

from hubbub import event as _event
from hubbub.lock import Semaphore as _Mutex
from hubbub.timeout import Timeout

from hubbub_gevent._abstract_linkable import AbstractLinkable

__all__ = [
    "AsyncResult",
    "Event",
]


class _EventCondition(_Mutex):
    """``Event._cond``: :class:`threading.Event` waits on a condition, which some programs use.

    Here it is the reverse: a greenlet that waits here waits for the event, and notifying wakes all that wait for it.
    """

    def __init__(self, event: Event) -> None:
        super().__init__(1)
        self._event = event

    def wait(self, timeout: float | None = None) -> bool:
        """Release the lock, wait until the event is set or this is notified, and take the lock again."""
        self.release()
        try:
            return self._event.wait(timeout)
        finally:
            self.acquire()

    def notify_all(self) -> None:
        """Wake all that wait for the event, set or not."""
        event = self._event
        if not event.is_set():
            event.set()
            event.clear()

    def notify(self, n: int = 1) -> None:
        """The same as :meth:`notify_all`: all that wait for an event go on together."""
        self.notify_all()

    notifyAll = notify_all

    def _at_fork_reinit(self) -> None:
        self.__init__(self._event)  # type: ignore[misc]  # as new


class Event(AbstractLinkable, _event.Event):
    """:class:`hubbub.event.Event`, which also replaces :class:`threading.Event` by patching."""

    _condition: _EventCondition | None = None

    def wait(self, timeout: Any = None) -> bool:
        """Wait until the flag is set."""
        if isinstance(timeout, Timeout):
            with timeout:
                return super().wait()
        return super().wait(timeout)

    def _at_fork_reinit(self) -> None:
        """In the child after a fork: keep the flag, and forget the waiters. Called by :mod:`threading`."""
        was_set = self.is_set()
        _event.Event.__init__(self)
        if was_set:
            self.set()
        if self._condition is not None:
            self._condition._at_fork_reinit()

    @property
    def _cond(self) -> _EventCondition:
        if self._condition is None:
            self._condition = _EventCondition(self)
        return self._condition


class AsyncResult(AbstractLinkable, _event.AsyncResult[Any]):
    """:class:`hubbub.event.AsyncResult`."""

    value: Any = None

    def set_exception(self, exception: Any, exc_info: Any = None) -> None:
        """Store an error, or a class of errors, and wake all that wait.

        :raises TypeError: ``exception`` is neither.
        """
        if isinstance(exception, type) and issubclass(exception, BaseException):
            exception = exception()
        if not isinstance(exception, BaseException):
            raise TypeError(f"the exception must be an exception, not {exception!r}")
        super().set_exception(exception, exc_info)

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
