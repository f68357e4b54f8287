"""Throwing exceptions into a greenlet from outside, and the rule of what a shield keeps out.

.. list-table::
   :header-rows: 1

   * - what
     - a shield keeps it out
     - from which thread
   * - :meth:`hubbub.Greenlet.kill`, :func:`hubbub.kill`, :func:`interrupt`
     - always
     - any
   * - :meth:`hubbub.CancelScope.cancel`, a deadline
     - if the shield was entered after the scope
     - any
   * - :class:`hubbub.Timeout`
     - if the shield was entered after the time began to run
     - the greenlet's
   * - what a signal handler raises; :class:`hubbub.LoopExit`
     - never: it belongs to the main greenlet, and nothing limits how long a shield would delay it
     - the main thread
   * - ``greenlet.throw``
     - never: it switches at once
     - the greenlet's

An interrupt that is kept out is not lost: it is thrown in the first turn after the shield, unless it was taken back
meanwhile. So the one rule is: scopes and timeouts that began inside of the shield are part of what it protects, and
may interrupt it; everything else waits.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from greenlet import greenlet

from hubbub._arguments import check_exception
from hubbub._current import hubs
from hubbub.hub import Hub

if TYPE_CHECKING:
    from hubbub.scope import CancelScope

__all__ = ["OUTSIDE", "hub_of", "interrupt", "keeps_out", "scopes_of", "throw_unless_shielded"]

OUTSIDE = -1
"""The moment of interrupts that began inside of no shield: before any shield was entered."""


def interrupt(target: greenlet, error: BaseException | type[BaseException]) -> None:
    """Have the hub of ``target`` throw ``error`` into it soon, after the shields that it is in. From any thread.

    Nothing happens if ``target`` has ended by then. A greenlet that has not begun ends without running.

    :raises TypeError: ``target`` is no greenlet, or ``error`` no exception.
    :raises RuntimeError: ``target`` is a raw greenlet of a thread without a hub.
    """
    if not isinstance(target, greenlet):
        raise TypeError(f"a greenlet is needed, not {target!r}")
    check_exception(error)
    if not target.dead:
        hub_of(target).loop.run_callback_threadsafe(throw_unless_shielded, target, error)


def throw_unless_shielded(target: greenlet, error: Any) -> None:
    """On the hub of ``target``: throw ``error`` into it unless it has ended; if it is in a shield, after the shield."""
    if not target.dead and not keeps_out(target, OUTSIDE, partial(throw_unless_shielded, target, error)):
        target.throw(error)


def keeps_out(target: greenlet, began: int, again: Callable[[], Any]) -> bool:
    """Whether ``target`` is in a shield that it entered after the cause of the interrupt (a scope, a timeout) began.

    :param began: what :meth:`hubbub.loop.timers.Timers.moment` returned then; :data:`OUTSIDE`: any shield counts.
    :param again: called on the hub when that shield has ended.
    """
    for scope in target.__dict__.get("_hubbub_scopes", ()):
        if scope.shield and scope.entered > began:
            scope.keep(again)
            return True
    return False


def scopes_of(target: greenlet) -> list[CancelScope]:
    """The scopes that a greenlet is in, the outermost first."""
    scopes: list[CancelScope] = target.__dict__.setdefault("_hubbub_scopes", [])
    return scopes


def hub_of(target: greenlet) -> Hub:
    """The hub of the thread of ``target``.

    :raises RuntimeError: the thread has none.
    """
    top = target
    while (parent := top.parent) is not None:
        if isinstance(parent, Hub):
            return parent
        top = parent
    for hub in hubs():
        if hub.main is top:
            return hub
    raise RuntimeError(f"the thread of {target!r} has no hub")
