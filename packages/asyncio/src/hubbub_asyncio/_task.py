"""Tasks that hear of a cancellation also while a function that they have called waits.

A task that is cancelled while it awaits cancels what it awaits. In a function that waits by
:func:`hubbub_asyncio.await_` the task awaits nothing that asyncio knows of. asyncio would note the request and deliver
it at the next ``await``, when the wait has ended. So the tasks of a :class:`hubbub_asyncio.HubEventLoop` know what they
wait for in such a function (a *loan*: the task has lent its event loop to others for as long), and cancel that.
"""

from __future__ import annotations

import asyncio
from functools import partial
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
    """A task of a :class:`hubbub_asyncio.HubEventLoop`."""

    _must_cancel: bool  # asyncio's: whether it delivers a request at the next ``await``, with which message
    _cancel_message: Any
    loan: Loan | None = None
    """Set while a function that the task has called waits by ``await_``."""
    _passed_on = 0
    """The requests among those of :meth:`cancelling` that asyncio does not know of: they went to what is waited for."""
    _late = False
    """A request has found what the function waits for done, and asyncio was told, before the function went on."""

    def cancel(self, msg: Any = None) -> bool:
        """Ask the task to cancel itself, or what it waits for (:meth:`asyncio.Task.cancel`).

        A shield (:func:`hubbub.shield`) that the function which waits is in keeps the request out until it ends.
        """
        if self.loan is None:
            return super().cancel(msg)
        self._passed_on += 1
        self._pass_on(self.loan, msg)
        return True

    def _pass_on(self, loan: Loan, msg: Any) -> None:
        """Cancel what the function waits for. If that has its result already, the next wait is cancelled."""
        if not keeps_out(loan.waiting, loan.began, partial(self._after_shield, msg)) and not loan.future.cancel(msg):
            self._late = True
            self._leave_to_asyncio(msg)

    def remind(self) -> None:
        """The function waits again: a request that came too late for its last wait ends this one."""
        loan = self.loan
        if loan is None or not (self._late and self._must_cancel):
            return
        if not keeps_out(loan.waiting, loan.began, self.remind) and loan.future.cancel(self._cancel_message):
            self._late = False
            super().uncancel()  # from CPython 3.13 on asyncio does not deliver it once more at the next ``await``
            self._passed_on += 1

    def _after_shield(self, msg: Any) -> None:
        """A shield has ended that kept a request out."""
        if self.loan is not None:
            self._pass_on(self.loan, msg)
        else:
            self._leave_to_asyncio(msg)

    def _leave_to_asyncio(self, msg: Any) -> None:
        if self._passed_on:  # else it was taken back by uncancel()
            self._passed_on -= 1
            super().cancel(msg)

    def cancelling(self) -> int:
        """How many requests to cancel were not taken back (:meth:`asyncio.Task.cancelling`)."""
        return super().cancelling() + self._passed_on

    def uncancel(self) -> int:
        """Take back one request (:meth:`asyncio.Task.uncancel`).

        :returns: how many are left.
        """
        if self._passed_on:
            self._passed_on -= 1
            return self.cancelling()
        return super().uncancel()
