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

Code that runs others' callbacks in a greenlet, as an event loop does, is asked first (:func:`interrupts_to`): an
interrupt that began before it means all of them, and not the one that happens to wait.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from greenlet import getcurrent, greenlet

from hubbub._arguments import check_exception
from hubbub._current import get_hub, hubs
from hubbub._struck import is_of_handler, struck_at_entry
from hubbub.hub import Hub

if TYPE_CHECKING:
    from hubbub.scope import CancelScope

__all__ = [
    "OUTSIDE",
    "hub_of",
    "interrupt",
    "interrupts_to",
    "keeps_out",
    "scopes_of",
    "taken",
    "throw_unless_shielded",
]

OUTSIDE = -1
"""The moment of interrupts that began inside of no shield: before any shield was entered."""
_RECEIVER = "_hubbub_receiver"
"""The attribute of a greenlet that holds what :func:`interrupts_to` has set: a moment and a function."""


def interrupt(
    target: greenlet, error: BaseException | type[BaseException], wanted: Callable[[], object] | None = None
) -> None:
    """Have the hub of ``target`` throw ``error`` into it soon, after the shields that it is in. From any thread.

    Nothing happens if ``target`` has ended by then. A greenlet that has not begun ends without running.

    :param wanted: called once, on the hub, when nothing is left between it and the throw; nothing is thrown if it
        returns something false. So a greenlet that does one thing after the other is interrupted in the one that is
        meant, or not at all. It must not wait.
    :raises TypeError: ``target`` is no greenlet, or ``error`` no exception.
    :raises RuntimeError: ``target`` is a raw greenlet of a thread without a hub.
    """
    if not isinstance(target, greenlet):
        raise TypeError(f"a greenlet is needed, not {target!r}")
    check_exception(error)
    if not target.dead:
        hub_of(target).loop.run_callback_threadsafe(throw_unless_shielded, target, error, wanted)


def throw_unless_shielded(target: greenlet, error: Any, wanted: Callable[[], object] | None) -> None:
    """On the hub of ``target``: throw ``error`` into it unless it has ended, or it is not wanted; if it is in a shield,
    after the shield."""
    throws = False
    try:
        again = partial(throw_unless_shielded, target, error, wanted)
        if target.dead or keeps_out(target, OUTSIDE, again) or (wanted is not None and not wanted()):
            return
        if not taken(target, OUTSIDE, error):
            throws = True
            target.throw(error)
    except BaseException as struck:
        if is_of_handler(struck) and (not throws or struck_at_entry(struck)):
            hub_of(target).loop.ready.append(partial(throw_unless_shielded, target, error, wanted))
        raise


@contextmanager
def interrupts_to(receive: Callable[[Any], bool], since: int | None = None) -> Iterator[int]:
    """Within the block, ask ``receive`` before an interrupt that began before the block strikes this greenlet.

    It is called on the hub with the exception (in rare cases a class) that is about to be thrown, after the shields of
    the greenlet. True: it takes the exception, and the block will raise it itself; it is not thrown. It must not wait.

    :param since: an earlier moment (:meth:`hubbub.loop.timers.Timers.moment`) that counts as the begin of the block.

    The value of ``with`` is the moment at which the block began.
    """
    own = getcurrent().__dict__
    before = own.get(_RECEIVER)
    moment: int = get_hub().loop.moment() if since is None else since
    own[_RECEIVER] = moment, receive
    try:
        yield moment
    finally:
        own[_RECEIVER] = before


def taken(target: greenlet, began: int, error: Any) -> bool:
    """Whether code that runs in ``target`` takes the exception that is about to be thrown (:func:`interrupts_to`).

    :param began: as in :func:`keeps_out`.
    """
    receiver: tuple[int, Callable[[Any], bool]] | None = target.__dict__.get(_RECEIVER)
    return receiver is not None and receiver[0] > began and receiver[1](error)


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
