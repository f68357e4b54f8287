"""``mutex``, ``not_empty``, ``not_full`` and ``all_tasks_done`` of queues, as :class:`queue.Queue` has them.

gevent's queues have none of these, and programs written for the standard library's fail on that. hubbub's queues do not
need them either: they are made at the first access, and only then does the queue tell them what has changed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from hubbub.event import Event
from hubbub.lowlevel import monotonic

from hubbub_gevent.thread import LockType

__all__ = ["Conditions", "QueueCondition"]


class QueueCondition:
    """The interface of :class:`threading.Condition` over the mutex of a queue.

    :param settle: called by ``notify``; it makes the greenlets that wait in the queue itself look again.
    """

    def __init__(self, mutex: LockType, settle: Callable[[], Any]) -> None:
        self._mutex = mutex
        self._settle = settle
        self._waiters: deque[Event] = deque()
        self.acquire = mutex.acquire
        self.release = mutex.release

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._mutex!r} waiters={len(self._waiters)}>"

    def __enter__(self) -> bool:
        return self._mutex.acquire()

    def __exit__(self, *_: object) -> None:
        self._mutex.release()

    def _check_held(self, what: str) -> None:
        if not self._mutex.locked():
            raise RuntimeError(f"cannot {what} on un-acquired lock")

    def wait(self, timeout: float | None = None) -> bool:
        """Release the mutex, wait until this is notified or the queue changes, and take the mutex again.

        :param timeout: seconds, or None for no limit.
        :returns: False when the time ran out first.
        :raises RuntimeError: the mutex is free.
        """
        self._check_held("wait")
        waiter = Event()
        self._waiters.append(waiter)
        self._mutex.release()
        try:
            return waiter.wait(timeout)
        except BaseException:
            if waiter not in self._waiters:  # it was woken: pass the wake-up on
                self.tell(1)
            raise
        finally:
            if waiter in self._waiters:
                self._waiters.remove(waiter)
            self._take_back()

    def _take_back(self) -> None:
        """Take the mutex again, even if the greenlet is interrupted meanwhile: ``with`` is going to release it."""
        interruption: BaseException | None = None
        while True:
            try:
                self._mutex.acquire()
                break
            except BaseException as error:
                interruption = error
        if interruption is not None:
            raise interruption

    def wait_for(self, predicate: Callable[[], Any], timeout: float | None = None) -> Any:
        """:meth:`wait` until ``predicate()`` is true. Returns what it returned last."""
        end = None if timeout is None else monotonic() + timeout
        while not (result := predicate()):
            left = None if end is None else end - monotonic()
            if left is not None and left <= 0:
                break
            self.wait(left)
        return result

    def notify(self, n: int = 1) -> None:
        """Wake ``n`` of the greenlets that wait here, and those that need no longer wait in the queue itself.

        :raises RuntimeError: the mutex is free.
        """
        self._check_held("notify")
        self._settle()
        self.tell(n)

    def notify_all(self) -> None:
        """:meth:`notify` for all that wait here."""
        self.notify(len(self._waiters))

    notifyAll = notify_all

    def tell(self, n: int) -> None:
        """Wake ``n`` of the greenlets that wait here; the mutex need not be held."""
        for _ in range(min(n, len(self._waiters))):
            self._waiters.popleft().set()


class Conditions:
    """The mutex of one queue and what belongs to it."""

    def __init__(self, queue: Any) -> None:
        self.mutex = LockType()
        self.not_empty = QueueCondition(self.mutex, queue.settle)
        self.not_full = QueueCondition(self.mutex, queue.settle)
        self.all_tasks_done = QueueCondition(self.mutex, queue.settle)

    def changed(self, queue: Any) -> None:
        """An item was put or taken, or a task is done. Wakes the greenlets that need no longer wait."""
        if queue.qsize():
            self.not_empty.tell(queue.qsize())
        if not queue.full():
            self.not_full.tell(len(self.not_full._waiters))
        if not getattr(queue, "unfinished_tasks", 1):
            self.all_tasks_done.tell(len(self.all_tasks_done._waiters))
