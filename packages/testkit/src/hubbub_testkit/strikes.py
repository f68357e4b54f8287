"""Strikes at every switch: a scenario is run again and again, and interrupted at its first, second ... switch.

::

    def scenario(hit):
        lock = hubbub.RLock()
        hit.victim(work, lock)      # this greenlet is struck
        others(lock)                # these go on
        ...                         # and see whether the promises hold

    at_every_switch(scenario, KILL)

Switches are those of greenlets in this native thread. The strike comes either before everything else that is ready to
run then, or behind it, so also between the moment at which somebody was woken and that at which it goes on.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any, ClassVar

import greenlet
import hubbub
from hubbub import CancelScope, Greenlet, GreenletExit
from hubbub.lowlevel import interrupt

from hubbub_testkit.greenlets import Census, open_descriptors, stack

__all__ = [
    "CANCEL",
    "INTERRUPT",
    "KILL",
    "KILL_FROM_THREAD",
    "NOTHING",
    "VICTIMS",
    "Hit",
    "at_every_switch",
]

_MOST = 2000


class _Interruption(BaseException):
    """What :data:`INTERRUPT` throws."""


class Hit:
    """One run of a scenario.

    :param at: the number of the switch, the first is 1.
    :param first: strike before all that is ready to run, else behind it.
    """

    interruptions: ClassVar[tuple[type[BaseException], ...]] = (GreenletExit, _Interruption)
    """What a victim that was struck ends by. A scope's Cancelled is a GreenletExit."""

    def __init__(self, at: int, first: bool, action: Callable[[Hit], object]) -> None:
        self.at = at
        self.first = first
        self.action = action
        self.greenlet: Greenlet[Any] | None = None
        self.scope: CancelScope = CancelScope()
        self.struck: bool = False
        """Whether the strike has come."""
        self.alive: bool = False
        """Whether the victim was there to be struck, and not about to end before that."""
        self.returned: list[Any] = []
        """What the victim's function has returned: one value, or nothing."""
        self._left = at
        self._thread = threading.get_ident()

    def victim(self, function: Callable[..., Any], *args: Any) -> Greenlet[Any]:
        """Start the greenlet that is struck."""
        self.greenlet = hubbub.spawn(self._body, function, args)
        return self.greenlet

    def _body(self, function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        caught: BaseException | None = None
        with self.scope:
            try:
                self.returned.append(function(*args))
            except self.interruptions as error:
                caught = error
                raise
        return caught

    def _trace(self, event: str, args: tuple[Any, Any]) -> None:
        if self._left and threading.get_ident() == self._thread:
            self._left -= 1
            if not self._left:
                ready = hubbub.get_hub().loop.ready
                (ready.appendleft if self.first else ready.append)(self._strike)

    def _strike(self) -> None:
        self.struck = True
        self.action(self)
        if self.greenlet is not None:
            hubbub.get_hub().loop.ready.append(self._mark)  # behind what throws into the victim

    def _mark(self) -> None:
        victim = self.greenlet
        self.alive = victim is not None and bool(victim) and not self.returned

    def check(self) -> None:
        """After the scenario: what was struck has ended by that, or had ended before."""
        victim = self.greenlet
        if victim is None:
            return
        assert victim.dead, f"the victim hangs in\n{stack(victim)}"
        if self.struck and self.alive and self.action is not NOTHING:
            assert not self.returned, "the strike was swallowed"


def KILL(hit: Hit) -> None:
    """Kill the victim."""
    if hit.greenlet is not None:
        hit.greenlet.kill(block=False)


def KILL_FROM_THREAD(hit: Hit) -> None:
    """Kill the victim from another native thread, while this one stands still."""
    thread = threading.Thread(target=KILL, args=(hit,))
    thread.start()
    thread.join()


def CANCEL(hit: Hit) -> None:
    """Cancel the scope that the victim is in."""
    hit.scope.cancel()


def INTERRUPT(hit: Hit) -> None:
    """Throw something into the victim that it does not know, as a :class:`hubbub.Timeout` does."""
    if hit.greenlet is not None and not hit.greenlet.dead:
        interrupt(hit.greenlet, _Interruption())


def NOTHING(hit: Hit) -> None:
    """Only be there."""


VICTIMS = [KILL, KILL_FROM_THREAD, CANCEL, INTERRUPT]
"""All that ends the victim."""


@contextmanager
def _traced(hit: Hit) -> Any:
    before = greenlet.gettrace()
    greenlet.settrace(hit._trace)
    try:
        yield
    finally:
        greenlet.settrace(before)


def at_every_switch(
    scenario: Callable[[Hit], object],
    action: Callable[[Hit], object],
    *,
    seconds: float = 20.0,
    clean: bool = True,
) -> int:
    """Run ``scenario(hit)`` with ``action(hit)`` at each of its switches in turn. Returns how many there were.

    :param seconds: how long one run may take.
    :param clean: a run must leave neither greenlets nor descriptors nor anything in the loop.
    """
    scenario(Hit(0, True, NOTHING))  # makes what is made once: threads, caches, modules
    before = Census.take()
    for at in range(1, _MOST):
        struck = False
        for first in (True, False):
            hit = Hit(at, first, action)
            try:
                _run(scenario, hit, seconds)
                if clean:
                    _look_for_descriptors(before)
            except BaseException as error:
                error.add_note(f"struck by {action.__name__} at switch {at}, {'first' if first else 'last'}")
                raise
            struck = struck or hit.struck
        if not struck:
            _look_for_greenlets(before)
            return at - 1
    raise AssertionError(f"there is no end of switches: {_MOST}")


def _run(scenario: Callable[[Hit], object], hit: Hit, seconds: float) -> None:
    limit = hubbub.Timeout(seconds, AssertionError("the scenario hangs"))
    with limit:
        with _traced(hit):
            scenario(hit)
            if hit.greenlet is not None:
                hit.greenlet.join()
        hit.check()


def _look_for_descriptors(before: Census) -> None:
    hub = hubbub.get_hub()
    for _ in range(3):  # for those that were struck last
        hubbub.sleep(0)
    left = Census((), open_descriptors())
    descriptors = before.new_descriptors(left)
    assert not descriptors, f"left behind: {descriptors}"
    counts = hub.statistics()
    assert counts.timers == counts.waiting == 0, f"left in the loop: {counts}"
    assert not hub.loop.holders, f"left in the loop: {hub.loop.holders}"


def _look_for_greenlets(before: Census) -> None:
    gc.collect()
    greenlets = before.new_greenlets(Census.take())
    assert not greenlets, "left behind:\n" + "\n".join(f"{one!r} in\n{stack(one)}" for one in greenlets)
