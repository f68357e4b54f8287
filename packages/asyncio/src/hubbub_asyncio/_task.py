"""Tasks that hear of a cancellation also while a function that they have called waits.

A task that is cancelled while it awaits cancels what it awaits. In a function that waits by
:func:`hubbub_asyncio.await_` the task awaits nothing that asyncio knows of. asyncio would note the request and deliver
it at the next ``await``, when the wait has ended. So the tasks of a :class:`hubbub_asyncio.HubEventLoop` know what they
wait for in such a function (a *loan*: the task has lent its event loop to others for as long), and cancel that.
"""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar

from greenlet import greenlet
from hubbub.lowlevel import keeps_out

__all__ = ["Loan", "Task"]

T = TypeVar("T")


class Loan:
    """A wait in the middle of a task.

    :param future: what is waited for.
    :param waiting: the greenlet that waits.
    :param began: the moment since which the task runs there; shields that were entered before are not the task's.
    """

    __slots__ = ("began", "future", "waiting")

    def __init__(self, future: asyncio.Future[Any], waiting: greenlet, began: int) -> None:
        self.future = future
        self.waiting = waiting
        self.began = began


class Task(asyncio.Task[T]):
    """A task of a :class:`hubbub_asyncio.HubEventLoop`.

    A request that finds what the function waits for done, before the function goes on, is *late*: it takes nothing from
    the function. It ends the function's next wait, or that of the task. asyncio must not hear of it before the task
    awaits: to CPython 3.12 :meth:`uncancel` could not take it back any more.
    """

    loan: Loan | None = None
    """Set while a function that the task has called waits by ``await_``."""
    _passed_on = 0
    """The requests among those of :meth:`cancelling` that asyncio does not know of."""
    _late = False
    _message: Any = None
    """The message of the last request."""

    def begin_loan(self, loan: Loan) -> None:
        """A function that the task has called waits."""
        self.loan = loan
        self._remind()

    def end_loan(self) -> None:
        """It goes on."""
        self.loan = None
        if self._late:
            self._deliver_soon()

    @property
    def _fut_waiter(self) -> Any:
        """What the task waits for. anyio looks at it before it cancels a task once more."""
        loan = self.loan
        return super()._fut_waiter if loan is None else loan.future  # type: ignore[misc]  # private in typeshed

    def cancel(self, msg: Any = None) -> bool:
        """Ask the task to cancel itself, or what it waits for (:meth:`asyncio.Task.cancel`).

        A shield (:func:`hubbub.shield`) that the function which waits is in keeps the request out until it ends.
        """
        loan = self.loan
        if loan is None:
            return super().cancel(msg)
        self._passed_on += 1
        self._message = msg
        if not keeps_out(loan.waiting, loan.began, self._after_shield):
            self._late |= not loan.future.cancel(msg)
        return True

    def _remind(self) -> None:
        """The function waits: a request that came too late for its last wait ends this one."""
        loan = self.loan
        if loan is not None and self._late and not keeps_out(loan.waiting, loan.began, self._remind):
            self._late = not loan.future.cancel(self._message)

    def _after_shield(self) -> None:
        """A shield has ended that kept a request out. If that was taken back meanwhile, nothing happens."""
        if not self._passed_on:
            return
        self._late = True
        if self.loan is not None:
            self._remind()
        else:
            self._deliver_soon()

    def _deliver_soon(self) -> None:
        loop = self.get_loop()
        if not loop.is_closed():
            loop.call_soon(self._deliver)

    def _deliver(self) -> None:
        """The step in which the function went on is over: leave a late request to asyncio."""
        if self._late and self.loan is None:
            self._late = False
            self._passed_on -= 1
            super().cancel(self._message)

    def cancelling(self) -> int:
        """How many requests to cancel were not taken back (:meth:`asyncio.Task.cancelling`)."""
        return super().cancelling() + self._passed_on

    def uncancel(self) -> int:
        """Take back one request (:meth:`asyncio.Task.uncancel`).

        :returns: how many are left.
        """
        if self._passed_on:
            self._passed_on -= 1
            self._late = self._late and self._passed_on > 0
            return self.cancelling()
        return super().uncancel()
