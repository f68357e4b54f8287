"""Events and results: one greenlet tells others that something happened."""

from __future__ import annotations

from collections import deque
from typing import Any, Generic, TypeVar

from hubbub._leaving import leave
from hubbub._links import Linkable
from hubbub._originals import RLock
from hubbub._reports import Unseen
from hubbub._waiter import Waiter
from hubbub.timeout import Timeout

__all__ = ["AsyncResult", "Event"]

T = TypeVar("T")
_NOBODY: deque[Waiter] = deque(maxlen=0)


class _Awaitable(Linkable):
    """Waiters and links.

    The mutex makes looking at the state and joining the queue one step, as it does raising the flag and emptying the
    queue: whoever waits anew after that is not woken by it. It is re-entrant because destructors may call ``set``.
    """

    def __init__(self) -> None:
        self._mutex = RLock()
        self._waiters: deque[Waiter] = deque()
        self._links = None

    def _release(self, waiters: deque[Waiter]) -> None:
        """Wake all that waited; see :meth:`_take_waiters`."""
        try:
            for waiter in waiters:
                waiter.wake()
        except BaseException:  # of a signal handler
            for waiter in waiters:
                if not waiter.done:
                    waiter.wake()
            raise
        if self._links is not None:
            self._links.fire()

    def _take_waiters(self) -> deque[Waiter]:
        """Empty the queue. The mutex is held."""
        waiters, self._waiters = self._waiters, deque()
        return waiters

    def _wait(self, timeout: float | None) -> bool:
        """Wait for a wake-up. False when the time ran out first."""
        waiter = Waiter()
        with self._mutex:
            if self.ready():  # set by another thread meanwhile
                return True
            self._waiters.append(waiter)
        try:
            return waiter.wait(timeout) or not self._withdraw(waiter)
        except BaseException:
            self._withdraw(waiter)
            raise

    def _withdraw(self, waiter: Waiter) -> bool:
        """Leave the queue. False when a wake-up was on its way."""
        with self._mutex:
            return leave(self._waiters, waiter)


class Event(_Awaitable):
    """A flag to wait for, as :class:`threading.Event`. Waiters wake in the order they came.

    ``set`` then ``clear`` still wakes those that waited before. May be used from several threads.
    """

    def __init__(self) -> None:
        super().__init__()
        self._flag = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {'set' if self._flag else 'clear'} waiters={len(self._waiters)}>"

    def is_set(self) -> bool:
        """Whether the flag is set."""
        return self._flag

    isSet = is_set

    def ready(self) -> bool:
        """Whether the flag is set."""
        return self._flag

    def set(self) -> None:
        """Set the flag and wake all that wait."""
        waiters: deque[Waiter] = _NOBODY
        try:
            with self._mutex:
                self._flag = True
                if self._waiters:
                    waiters = self._take_waiters()
        finally:
            if waiters or self._links is not None:
                self._release(waiters)

    def clear(self) -> None:
        """Unset the flag."""
        self._flag = False

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the flag is set.

        :param timeout: seconds, or None for no limit.
        :returns: False when the time ran out first.
        """
        if self._flag:
            return True
        return self._wait(timeout)


class AsyncResult(_Awaitable, Generic[T]):
    """A value or an error that will be there later, as :class:`concurrent.futures.Future`. The last one set counts."""

    unseen: Unseen | None = None
    """Of a failed task: what reports its error if nobody asks for it."""

    def __init__(self) -> None:
        super().__init__()
        self._ready = False
        self.value: T | None = None
        self._exc_info: tuple[Any, Any, Any] | tuple[()] = ()

    def __repr__(self) -> str:
        state = "failed" if self._exc_info else "ready" if self._ready else "pending"
        return f"<{type(self).__name__} {state} waiters={len(self._waiters)}>"

    def ready(self) -> bool:
        """Whether there is a value or an error."""
        return self._ready

    done = ready

    def successful(self) -> bool:
        """Whether there is a value."""
        return self._ready and not self._exc_info

    @property
    def exc_info(self) -> tuple[Any, Any, Any] | tuple[()]:
        """(type, error, traceback), or an empty tuple."""
        self._asked()
        return self._exc_info

    @property
    def exception(self) -> BaseException | None:
        """The error, or None."""
        self._asked()
        return self._exc_info[1] if self._exc_info else None

    def _asked(self) -> None:
        """Somebody has asked for the error."""
        if self.unseen is not None:
            self.unseen.seen()

    def set(self, value: Any = None) -> None:
        """Store a value and wake all that wait."""
        self._store(value, ())

    set_result = set

    def _store(self, value: Any, exc_info: Any) -> None:
        waiters: deque[Waiter] = _NOBODY
        try:
            with self._mutex:  # value and error belong together
                self.value = value
                self._exc_info = exc_info
                self._ready = True
                waiters = self._take_waiters()
        finally:
            self._release(waiters)

    def set_exception(self, exception: BaseException, exc_info: Any = None) -> None:
        """Store an error and wake all that wait."""
        self._store(None, exc_info or (type(exception), exception, exception.__traceback__))

    def wait(self, timeout: float | None = None) -> T | None:
        """The value; None when there is an error instead, or nothing after ``timeout`` seconds."""
        if not self._ready:
            self._wait(timeout)
        return self.value

    def get(self, block: bool = True, timeout: float | None = None) -> T:
        """The value; raises the stored error.

        :raises Timeout: nothing was stored in ``timeout`` seconds, or not yet and ``block`` is false.
        """
        if not self._ready:
            if not block:
                raise Timeout()
            limit = Timeout.start_new(timeout)
            try:
                self._wait(None)
            finally:
                limit.cancel()
        if self._exc_info:
            self._asked()
            _, error, traceback = self._exc_info
            raise error.with_traceback(traceback)
        value: Any = self.value
        return value  # type: ignore[no-any-return]  # set() stored a T

    def get_nowait(self) -> T:
        """:meth:`get` without waiting."""
        return self.get(block=False)

    def result(self, timeout: float | None = None) -> T:
        """:meth:`get` under the name of :class:`concurrent.futures.Future`."""
        return self.get(timeout=timeout)

    def cancel(self) -> bool:
        """Cannot be cancelled."""
        return False

    def cancelled(self) -> bool:
        """Never."""
        return False

    def __call__(self, source: Any) -> None:
        """Take over the result of ``source``: use as a link of a greenlet."""
        if source.successful():
            self.set(source.value)
        else:
            self.set_exception(source.exception, getattr(source, "exc_info", None))
