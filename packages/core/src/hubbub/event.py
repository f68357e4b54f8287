"""Events and results: one greenlet tells others that something happened."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from hubbub._links import Linkable
from hubbub._mutex import module_mutex
from hubbub._reports import Unseen
from hubbub._twins import mirrored, twin
from hubbub._waiter import Waiter
from hubbub._waitqueue import WaitQueue
from hubbub.timeout import Timeout

__all__ = ["AsyncResult", "Awaitable", "Event"]

T = TypeVar("T")


_mutex = module_mutex()
"""One for all events: it is held for a few steps, and only where a greenlet waits. It is re-entrant because destructors
may call ``set``."""


class Awaitable(Linkable):
    """What events and results are made of: a flag, a queue of waiters, and links.

    The mutex makes raising the flag and emptying the queue one step: waiters that join after it are not woken by it.
    Without waiters the flag is raised without the mutex. So a waiter joins first and looks at the flag then: either it
    sees the flag, or the greenlet that raises the flag sees the waiter.
    """

    __slots__ = ("_flag", "_links", "_waiters")

    @twin("event.c")
    def __init__(self) -> None:
        self._flag: bool = False
        self._links = None
        self._waiters: WaitQueue | None = None

    @twin("event.c")
    def _wait_for_flag(self, timeout: float | None) -> bool:
        waiter = Waiter()
        with _mutex:
            if self._waiters is None:
                self._waiters = WaitQueue()
        return self._waiters.wait(waiter, timeout, self._enter)

    def _enter(self, waiter: Waiter) -> None:
        waiters = self._waiters
        assert waiters is not None
        with _mutex:
            waiters.join(waiter)
            if self._flag:  # set by another thread meanwhile
                waiters.remove(waiter)
                waiter.done = True

    @mirrored("event.c")
    def _raise_flag(self) -> None:
        """Raise the flag, and wake those who wait for it."""
        try:
            if self._waiters:
                with _mutex:
                    self._flag = True
                    self._waiters.wake_all()
            else:
                self._flag = True
                if self._waiters:  # somebody has joined meanwhile, in another thread
                    with _mutex:
                        if self._flag:
                            self._waiters.wake_all()
        except BaseException:  # of a signal handler
            if self._flag and self._waiters:
                self._waiters.wake_all()
            raise
        finally:
            if self._links is not None:
                self._links.fire()


class Event(Awaitable):
    """A flag to wait for, as :class:`threading.Event`. Waiters wake in the order they came.

    ``set`` then ``clear`` still wakes those that waited before. May be used from several threads.
    """

    # Beside the __dict__ of Linkable.
    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {'set' if self._flag else 'clear'} waiters={len(self._waiters or ())}>"

    @twin("event.c")
    def is_set(self) -> bool:
        """Whether the flag is set."""
        return self._flag

    isSet = is_set

    def ready(self) -> bool:
        """Whether the flag is set."""
        return self._flag

    @twin("event.c")
    def set(self) -> None:
        """Set the flag and wake all that wait."""
        self._raise_flag()

    @twin("event.c")
    def clear(self) -> None:
        """Unset the flag."""
        self._flag = False

    @twin("event.c")
    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the flag is set.

        :param timeout: seconds, or None for no limit.
        :returns: False when the time ran out first.
        """
        return self._flag or self._wait_for_flag(timeout)


class AsyncResult(Awaitable, Generic[T]):
    """A value or an error that will be there later, as :class:`concurrent.futures.Future`. The last one set counts."""

    # Beside the __dict__ of Linkable.
    __slots__ = ("_exc_info", "value")

    unseen: Unseen | None = None
    """Of a failed task: what reports its error if nobody asks for it."""

    @twin("event.c")
    def __init__(self) -> None:
        super().__init__()
        self.value: T | None = None
        self._exc_info: tuple[Any, Any, Any] | tuple[()] = ()

    def __repr__(self) -> str:
        state = "failed" if self._exc_info else "ready" if self._flag else "pending"
        return f"<{type(self).__name__} {state} waiters={len(self._waiters or ())}>"

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
        """The error was asked for: it need not be reported."""
        if self.unseen is not None:
            self.unseen.seen()

    @twin("event.c")
    def set(self, value: Any = None) -> None:
        """Store a value and wake all that wait."""
        self._store(value, ())

    set_result = set

    def _store(self, value: Any, exc_info: Any) -> None:
        with _mutex:  # value and error belong together
            self.value = value
            self._exc_info = exc_info
        self._raise_flag()

    def set_exception(self, exception: BaseException, exc_info: Any = None) -> None:
        """Store an error and wake all that wait."""
        self._store(None, exc_info or (type(exception), exception, exception.__traceback__))

    def wait(self, timeout: float | None = None) -> T | None:
        """The value; None when there is an error instead, or nothing after ``timeout`` seconds."""
        if not self._flag:
            self._wait_for_flag(timeout)
        return self.value

    @twin("event.c")
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
        """False: a result cannot be cancelled."""
        return False

    def cancelled(self) -> bool:
        """False: see :meth:`cancel`."""
        return False

    def __call__(self, source: Any) -> None:
        """Take over the result of ``source``: use as a link of a greenlet."""
        if source.successful():
            self.set(source.value)
        else:
            self.set_exception(source.exception, getattr(source, "exc_info", None))
