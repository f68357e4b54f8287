"""Events and results: one greenlet tells others that something happened."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from hubbub._links import Linkable
from hubbub._originals import RLock
from hubbub._reports import Unseen
from hubbub._waiter import Waiter
from hubbub._waitqueue import WaitQueue
from hubbub.timeout import Timeout

__all__ = ["AsyncResult", "Event"]

T = TypeVar("T")


class _Awaitable(Linkable):
    """Waiters and links.

    The mutex makes looking at the state and joining the queue one step, as it does changing the state and emptying the
    queue: whoever waits anew after that is not woken by it. It is re-entrant because destructors may call ``set``.
    """

    def __init__(self) -> None:
        self._mutex = RLock()
        self._waiters = WaitQueue()
        self._links = None
        self._flag = False

    def _enter(self, waiter: Waiter) -> None:
        with self._mutex:
            if self._flag:  # set by another thread meanwhile
                waiter.done = True
            else:
                self._waiters.join(waiter)


class Event(_Awaitable):
    """A flag to wait for, as :class:`threading.Event`. Waiters wake in the order they came.

    ``set`` then ``clear`` still wakes those that waited before. May be used from several threads.
    """

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
        try:
            with self._mutex:
                self._flag = True
                if self._waiters:
                    self._waiters.wake_all()
        except BaseException:  # of a signal handler
            if self._flag:
                self._waiters.wake_all()
            raise
        finally:
            if self._links is not None:
                self._links.fire()

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
        waiter = Waiter()
        return self._waiters.wait(waiter, timeout, self._enter)


class AsyncResult(_Awaitable, Generic[T]):
    """A value or an error that will be there later, as :class:`concurrent.futures.Future`. The last one set counts."""

    unseen: Unseen | None = None
    """Of a failed task: what reports its error if nobody asks for it."""

    def __init__(self) -> None:
        super().__init__()
        self.value: T | None = None
        self._exc_info: tuple[Any, Any, Any] | tuple[()] = ()

    def __repr__(self) -> str:
        state = "failed" if self._exc_info else "ready" if self._flag else "pending"
        return f"<{type(self).__name__} {state} waiters={len(self._waiters)}>"

    def ready(self) -> bool:
        """Whether there is a value or an error."""
        return self._flag

    done = ready

    def successful(self) -> bool:
        """Whether there is a value."""
        return self._flag and not self._exc_info

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
        try:
            with self._mutex:  # value and error belong together
                self.value = value
                self._exc_info = exc_info
                self._flag = True
                self._waiters.wake_all()
        except BaseException:  # of a signal handler
            if self._flag:
                self._waiters.wake_all()
            raise
        finally:
            if self._links is not None:
                self._links.fire()

    def set_exception(self, exception: BaseException, exc_info: Any = None) -> None:
        """Store an error and wake all that wait."""
        self._store(None, exc_info or (type(exception), exception, exception.__traceback__))

    def wait(self, timeout: float | None = None) -> T | None:
        """The value; None when there is an error instead, or nothing after ``timeout`` seconds."""
        if not self._flag:
            waiter = Waiter()
            self._waiters.wait(waiter, timeout, self._enter)
        return self.value

    def get(self, block: bool = True, timeout: float | None = None) -> T:
        """The value; raises the stored error.

        :raises Timeout: nothing was stored in ``timeout`` seconds, or not yet and ``block`` is false.
        """
        if not self._flag:
            if not block:
                raise Timeout()
            limit = Timeout.start_new(timeout)
            try:
                self.wait()
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
