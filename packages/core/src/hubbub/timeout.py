"""Time limits: :class:`Timeout`, raised in the greenlet that started it, and :func:`with_timeout`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Any, ParamSpec, TypeVar, overload

from greenlet import getcurrent

from hubbub._arguments import as_seconds, check_function
from hubbub._interrupt import keeps_out, taken
from hubbub._struck import repeatable, struck_at_entry
from hubbub._twins import twin
from hubbub.hub import get_hub

__all__ = ["Timeout", "with_timeout"]

P = ParamSpec("P")
T = TypeVar("T")
V = TypeVar("V")
_UNSET: Any = object()


class Timeout(BaseException):
    """Raise ``exception`` (or the timeout itself) in the current greenlet after ``seconds``.

    As a context manager it runs for the length of the block. ``exception=False`` makes the block end quietly.
    Derived from BaseException, so that ``except Exception`` does not swallow it.

    :param seconds: None never fires; 0 or less fires in the next turn of the loop.
    :param exception: None or True: the timeout itself; False: itself, swallowed by its own ``with``; a text for its
        message; or an exception (class or instance) to raise instead.
    :param ref: whether the timeout counts as a reason for the loop to go on.
    """

    # Without slots, making one takes three times as long.
    __slots__ = ("_fire", "_greenlet", "_key", "_loop", "_ref", "exception", "seconds")

    @twin("timeout.c")
    def __init__(
        self, seconds: float | None = None, exception: Any = None, ref: bool = True, priority: int = -1
    ) -> None:
        if seconds is not None:
            as_seconds(seconds)
        self.seconds: float | None = seconds
        self.exception: Any = exception
        self._ref = ref
        self._key: Any = None
        self._loop: Any = None
        self._greenlet: Any = None
        self._fire: Callable[[], None] | None = None

    @classmethod
    def start_new(cls, timeout: Any = None, exception: Any = None, ref: bool = True) -> Timeout:
        """A started timeout. An existing one, given as ``timeout``, is returned, and started unless it runs."""
        if isinstance(timeout, Timeout):
            if not timeout.pending:
                timeout.start()
            return timeout
        new = cls(timeout, exception, ref)
        new.start()
        return new

    @twin("timeout.c")
    def start(self) -> None:
        """Let the time run, from now.

        :raises ValueError: it is running already.
        """
        if self._fire is not None:
            raise ValueError(f"{self!r} is already started; to restart it, cancel it first")
        if self.seconds is None:
            return
        self._greenlet = getcurrent()
        self._loop = loop = get_hub().loop
        self._fire = fire = self._expired
        self._key = loop.call_later(self.seconds if self.seconds > 0 else 0.0, fire, 0.0, self._ref)

    @repeatable
    def _expired(self) -> None:
        victim, fire = self._greenlet, self._fire
        if victim is None or victim.dead:
            self._fire = self._greenlet = None
            return
        began, error = self._loop.moment_of(self._key), self._to_raise()
        if not keeps_out(victim, began, partial(self._expired_late, fire)):
            kept = taken(victim, began, error)
            self._fire = self._greenlet = None
            if kept:
                return
            try:
                self._on_expiration(victim, error)
            except BaseException as struck:
                if struck_at_entry(struck):  # nothing was raised in it
                    self._fire, self._greenlet = fire, victim
                raise

    def _expired_late(self, fire: Any) -> None:
        """The shield that kept the timeout out has ended: fire, unless it was cancelled or started anew meanwhile."""
        if self._fire is fire:
            self._expired()

    def _on_expiration(self, victim: Any, error: Any) -> None:
        """Raise ``error`` in ``victim``. A subclass may do more."""
        victim.throw(error)

    def _to_raise(self) -> Any:
        if self.exception is None or isinstance(self.exception, (bool, str)):
            return self
        return self.exception

    @property
    def pending(self) -> bool:
        """True while the time is running."""
        return self._fire is not None

    @twin("timeout.c")
    def cancel(self) -> None:
        """Stop. It can be started again."""
        fire, self._fire = self._fire, None
        if fire is not None:
            self._greenlet = None
            self._loop.cancel_later(self._key, fire)

    close = cancel

    def __enter__(self) -> Timeout:
        if self._fire is None:
            self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        self.close()
        return error is self and self.exception is False

    def __str__(self) -> str:
        if self.seconds is None:
            return ""
        unit = "second" if self.seconds == 1 else "seconds"
        if self.exception is None or self.exception is True:
            return f"{self.seconds} {unit}"
        if self.exception is False:
            return f"{self.seconds} {unit} (silent)"
        return f"{self.seconds} {unit}: {self.exception}"

    def __repr__(self) -> str:
        state = " pending" if self.pending else ""
        exception = "" if self.exception is None else f" exception={self.exception!r}"
        return f"<{type(self).__name__} at {id(self):#x} seconds={self.seconds}{exception}{state}>"

    def __lt__(self, other: Any) -> bool:
        if not isinstance(other, Timeout):
            return NotImplemented
        mine = float("inf") if self.seconds is None else self.seconds
        theirs = float("inf") if other.seconds is None else other.seconds
        return mine < theirs


@overload
def with_timeout(
    seconds: float | None, function: Callable[..., T], *args: Any, timeout_value: V, **kwargs: Any
) -> T | V: ...


@overload
def with_timeout(seconds: float | None, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T: ...


def with_timeout(
    seconds: float | None, function: Callable[..., Any], *args: Any, timeout_value: Any = _UNSET, **kwargs: Any
) -> Any:
    """``function(*args, **kwargs)``, at most ``seconds`` long.

    :param timeout_value: what to return when the time runs out; without it the Timeout is raised.
    """
    check_function(function)
    timeout = Timeout.start_new(seconds)
    try:
        return function(*args, **kwargs)
    except Timeout as error:
        if error is timeout and timeout_value is not _UNSET:
            return timeout_value
        raise
    finally:
        timeout.cancel()
