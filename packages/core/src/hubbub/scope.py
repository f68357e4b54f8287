"""Cancel scopes: blocks of code that can be told to end, with deadlines and shields.

Cancellation is level-triggered: while its scope is cancelled, a greenlet gets :class:`Cancelled` at every wait, so
code that swallows it cannot hang on. A scope swallows its own ``Cancelled`` at its end and no other scope's.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar

from greenlet import GreenletExit, getcurrent, greenlet

from hubbub._arguments import as_seconds
from hubbub._current import get_hub
from hubbub._identity import Reduce, refuse_copies
from hubbub._interrupt import keeps_out, scopes_of, taken
from hubbub._originals import get_ident
from hubbub._struck import repeatable

if TYPE_CHECKING:
    from typing import Self

    from hubbub.hub import Hub

__all__ = ["CancelScope", "Cancelled", "fail_after", "move_on_after", "shield"]


class Cancelled(GreenletExit):
    """Raised in a greenlet whose scope was cancelled. Let it pass: the scope stops it."""

    def __init__(self, scope: CancelScope) -> None:
        super().__init__("cancelled")
        self.scope = scope


class CancelScope:
    """A block that can be cancelled from anywhere in its thread.

    :param deadline: seconds after entering at which it is cancelled; None: never.
    :param shield: interrupts from outside wait for the end of the block: see :func:`shield`.
    """

    __reduce_ex__: ClassVar[Reduce] = refuse_copies

    def __init__(self, deadline: float | None = None, shield: bool = False) -> None:
        if deadline is not None:
            as_seconds(deadline)
        self.deadline = deadline
        self.shield = shield
        self.cancel_called: bool = False
        """Whether :meth:`cancel` was called, or the deadline has passed."""
        self.cancelled_caught: bool = False
        """Whether the block ended by its own cancellation."""
        self.entered: int = 0
        """When it was entered, as :meth:`hubbub.loop.timers.Timers.moment` tells it."""
        self._greenlet: greenlet | None = None
        self._hub: Hub | None = None
        self._timer: tuple[Any, Callable[[], None]] | None = None
        self._delivering = False
        self._kept: list[Any] = []

    def __repr__(self) -> str:
        state = "cancelled" if self.cancel_called else "active" if self._greenlet is not None else "idle"
        return f"<{type(self).__name__} {state} deadline={self.deadline} shield={self.shield}>"

    def __enter__(self) -> Self:
        if self._greenlet is not None:
            raise RuntimeError("a cancel scope cannot be entered twice")
        self._hub = hub = get_hub()
        self.entered = hub.loop.moment()
        self._greenlet = current = getcurrent()
        scopes_of(current).append(self)
        if self.deadline is not None:
            expire = self.cancel
            key = hub.loop.call_later(max(self.deadline, 0.0), expire)
            self._timer = (key, expire)
        if self.cancel_called:
            self._deliver_soon()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        current, self._greenlet = self._greenlet, None
        if current is None or current is not getcurrent():
            raise RuntimeError("a cancel scope must be left in the greenlet that entered it")
        scopes_of(current).remove(self)
        loop = get_hub().loop
        if self._timer is not None:
            loop.cancel_later(*self._timer)
            self._timer = None
        kept, self._kept = self._kept, []
        for deliver in kept:
            loop.run_callback(deliver)
        if isinstance(error, Cancelled) and error.scope is self:
            self.cancelled_caught = True
            return True
        return False

    @repeatable
    def cancel(self) -> None:
        """End the block: raise :class:`Cancelled` in it at this wait and every further one. Idempotent.

        A shield that was entered in the block keeps the error out until it ends. May be called from any thread.
        """
        self.cancel_called = True
        if self._greenlet is not None:
            self._deliver_soon()

    def _deliver_soon(self) -> None:
        hub = self._hub
        if self._delivering or hub is None:
            return
        is_own = hub.thread_ident == get_ident()
        self._delivering = True
        if is_own:
            hub.loop.ready.append(self._deliver)  # no call before
            return
        try:
            hub.loop.run_callback_threadsafe(self._deliver)
        except BaseException:  # raised by a signal handler, or the loop is gone
            self._delivering = False
            raise

    @repeatable
    def _deliver(self) -> None:
        """On the hub: throw into the greenlet, and again in each turn for as long as the block goes on."""
        self._delivering = False
        victim = self._greenlet
        if victim is None or victim.dead or keeps_out(victim, self.entered, self._deliver_soon):
            return
        error = Cancelled(self)
        if not taken(victim, self.entered, error):
            victim.throw(error)
        if self._greenlet is victim and not victim.dead:
            self._deliver_soon()

    def keep(self, deliver: Callable[[], Any]) -> None:
        """For a shield: call ``deliver`` when the shield has ended."""
        if deliver not in self._kept:
            self._kept.append(deliver)


def shield() -> CancelScope:
    """``with shield():`` a section that nothing from outside interrupts.

    Kills, cancellation of the scopes around it, and timeouts that began before it are raised after it. Timeouts and
    scopes that begin inside of it work as everywhere, and what a signal handler raises is not kept out.
    """
    return CancelScope(shield=True)


def move_on_after(seconds: float | None) -> CancelScope:
    """A scope that ends quietly after ``seconds``; ``cancelled_caught`` tells whether it did."""
    return CancelScope(seconds)


class _FailAfter(CancelScope):
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        if super().__exit__(kind, error, traceback):
            raise TimeoutError(f"not finished in {self.deadline} seconds") from error
        return self.cancelled_caught


def fail_after(seconds: float | None) -> CancelScope:
    """A scope that raises the builtin TimeoutError if it has not ended after ``seconds``."""
    return _FailAfter(seconds)
