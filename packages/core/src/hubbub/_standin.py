"""The runners of a loop: its hub and, while a callback of the hub waits, a stand-in.

Code that runs in the hub may have to wait: a callback of the loop, a signal handler, a destructor. The hub cannot go on
before that code has returned. So another greenlet, a :class:`StandIn`, turns the loop meanwhile; its callbacks may wait
too. All greenlets that can turn the loop are *runners*. One of them has the role at a time: ``hub.runner``. A runner
whose callback waits is *parked*. The waker queues :meth:`Runner._take_over`, by which the runner gets the role back and
goes on with its callback. The runner that gives the role up there is in the middle of the run queue, with no frame but
the loop's below. It loses nothing by that, and is kept as a spare.

The hub remains the parent of all greenlets, and they call its ``switch``. While a stand-in has the role, the hub's
dictionary has a ``switch`` that leads to the stand-in; while the hub has the role there is none, and a switch costs
nothing more. A greenlet that ends switches to its parent, the hub. If the hub does not have the role, it switches on to
the runner that has it (:meth:`HubRunner._forward`).

A signal handler may run after any call, and may wait there. So plain stores hand the role over, and the last step is
the switch. For the same reason a callback that was woken looks at what it waits for before it is parked again. A wait
that was woken for nothing may have got the wake-up of a wait that it interrupts, so it passes a wake-up on when it ends
(:meth:`HubRunner.wait_while`).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextvars import Context
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from greenlet import GreenletExit, getcurrent, greenlet

from hubbub._struck import never_began, of_callee, shielded
from hubbub._twins import known_to_c
from hubbub._weak import snapshot
from hubbub.exceptions import BlockingSwitchOutError, HubDestroyed, LoopDestroyed, LoopExit, StandInRetired
from hubbub.loop.watchers import under_way

if TYPE_CHECKING:
    from hubbub.hub import Hub
    from hubbub.loop.base import BaseLoop

__all__ = ["HubRunner", "Runner", "Seat", "StandIn"]

_DRAINED_AT_ONCE = 16
_getcurrent: Any = getcurrent
_switch_to: Any = greenlet.switch
_throw_into: Any = greenlet.throw


def _nothing() -> None:
    """Keeps a run queue from being empty."""


@known_to_c
class Runner:
    """A greenlet that can run a loop, and in whose callbacks the code may wait.

    A base class that is named after :class:`greenlet.greenlet`: each switch looks, one after the other, at the classes
    that come before that one.
    """

    hub: Hub
    # Attributes of the greenlet:
    gr_context: Context | None
    if TYPE_CHECKING:

        @property
        def dead(self) -> bool: ...
        def switch(self, *args: object) -> Any: ...

    parked: bool = False
    """Whether a callback that it runs waits, while another runner has the role."""
    woken: bool = False
    """Its callback was woken, or may have been: it looks at what it waits for before it is parked."""
    _error: BaseException | None = None

    def resume(self, *_: object) -> None:
        """Wake its callback, as ``switch`` wakes any other greenlet: the callback goes on from the run queue."""
        self.woken = True
        if self.parked:
            self.hub.loop.ready.append(self._take_over)

    def throw(self, *error: Any) -> Any:
        """Raise an exception in its callback, from the run queue; if none waits, at once in the runner of the loop."""
        if self.parked:
            self._error = _as_exception(*error)
            self.resume()
            return None
        runner, me = self.hub.runner, _getcurrent()
        return _throw_into(runner if self is not me else self, *error)

    def _take_over(self) -> None:
        """From the run queue: the runner that has the role gives it to this one."""
        hub = self.hub
        current = _getcurrent()
        if not self.parked or current is not hub.runner:
            return
        former: Any = current
        own = hub.__dict__
        # No call from here to the switch.
        if former is hub:
            hub.free = True
        else:
            former.following = hub.spare
            hub.spare = former
        self.parked = False
        hub.runner = self
        detour = hub.detour
        if detour is not None:
            detour.plain = detour.home if self is hub else self.way  # type: ignore[attr-defined]  # a stand-in has one
        elif self is hub:
            del own["switch"]
        else:
            own["switch"] = self.way  # type: ignore[attr-defined]  # a stand-in has one
        try:
            hub._hand_over(former)
        except BaseException as error:
            hub._hand_over_again(former, error)


def _as_exception(kind: Any = GreenletExit, value: Any = None, tb: Any = None) -> BaseException:
    """The exception that the arguments of ``throw`` mean."""
    if isinstance(kind, BaseException):
        error = kind
    elif isinstance(value, BaseException):
        error = value
    else:
        error = kind() if value is None else kind(value)
    return error.with_traceback(tb) if tb is not None else error


class Seat:
    """Stands for a hub among the greenlets that wait: its ``switch`` wakes the hub's callback."""

    __slots__ = ("runner",)
    dead = False

    def __init__(self, runner: Runner) -> None:
        self.runner = runner

    def __repr__(self) -> str:
        return f"<callback of {self.runner!r}>"

    def switch(self, *_: object) -> None:
        """See :meth:`Runner.resume`."""
        self.runner.resume()


class StandIn(greenlet, Runner):
    """Runs the loop of a hub while a callback of the hub's, or of another stand-in's, waits."""

    following: StandIn | None = None
    """The next spare stand-in of the hub."""

    def __init__(self, hub: Hub) -> None:
        super().__init__(None, hub.main)
        self.hub = hub
        self.__dict__["run"] = shielded(self.run, hub._struck)
        self.way: Callable[..., Any] = _switch_to.__get__(self)
        """Switches to it, when it has the role."""
        self.begun: bool = False

    # Wakers treat it as any other greenlet: these wake the callback that waits in it.
    if not TYPE_CHECKING:
        switch = Runner.resume
        throw = Runner.throw

    def run(self) -> None:
        """Turn the loop until the hub can."""
        hub = self.hub
        self.begun = True
        going = True
        while going:
            try:
                if hub.free and hub.runner is self and self._give_back():
                    return
                going = hub.go_on(self._turn)
            except StandInRetired:
                pass
            except LoopDestroyed:
                if not hub._destroyed:
                    raise
                break
        hub.end_stand_ins()
        if hub.parked and not hub.dead:
            self.parent = hub
            raise HubDestroyed  # ends the hub, too

    def _turn(self) -> None:
        hub = self.hub
        loop = hub.loop
        loop.check_alive()
        loop._break = False
        while loop.turn(False) and not hub.free:
            pass

    def _give_back(self) -> bool:
        """Between two turns: give the role back to the hub, which is free. True: this stand-in is to end."""
        hub = self.hub
        own = hub.__dict__
        # No call from here to the switch, or to the end.
        hub.free = False
        last = hub.spare is not None
        if last:
            hub.leaver = self
        else:
            self.following = None
            hub.spare = self
        hub.runner = hub
        if hub.detour is None:
            del own["switch"]
        else:
            hub.detour.plain = hub.detour.home
        if last:
            self.parent = hub
        else:
            _switch_to(hub)
        return last


class Detour(Protocol):
    """What is called in the place of a hub's ``switch``; see :meth:`HubRunner.redirect`."""

    home: Callable[..., Any]
    """Switches to the hub itself."""
    plain: Callable[..., Any]
    """Switches to the runner of the hub's loop. The hub sets it; :meth:`switch` calls it in the end."""

    def switch(self, *args: Any) -> Any:
        """Called in the place of the hub's ``switch``."""


class HubRunner(Runner):
    """The part of a hub that knows which greenlet runs its loop."""

    loop: BaseLoop
    main: greenlet
    _destroyed: bool
    MAX_STAND_INS: ClassVar[int] = 1000
    """How many callbacks may wait at a time. A greenlet for each piece of work is cheaper."""

    def _begin(self) -> None:
        self.hub: Any = self
        self.runner: Any = self
        """The greenlet that runs the loop."""
        self.free: bool = False
        """Whether the hub could run the loop, while a stand-in does."""
        self.spare: StandIn | None = None
        """A stand-in that could run the loop too; the first of a chain."""
        self.stand_ins: set[StandIn] = set()
        self.leaver: StandIn | None = None
        """The stand-in that has just ended."""
        self.detour: Detour | None = None
        """See :meth:`redirect`."""
        self.shifts: int = 0
        """How often a callback that had waited went on."""
        self._draining = False
        self._ending = False
        self._nursery: greenlet | None = None

    def redirect(self, detour: Detour | None) -> None:
        """Have each call of :meth:`switch` go to the switch of ``detour``; None: as usual."""
        own = self.__dict__
        self.detour = detour
        if detour is not None:
            detour.plain = detour.home if self.runner is self else self.runner.way
            own["switch"] = detour.switch
        elif self.runner is self:
            own.pop("switch", None)
        else:
            own["switch"] = self.runner.way

    def go_on(self, run: Callable[[], None]) -> bool:
        """Have ``run`` turn the loop until it ends. False: this was the last time."""
        raise NotImplementedError("a hub says what happens when nothing is left to wait for")

    # Waiting --------------------------------------------------------------------------------------------------------

    def wait_while(self, waits: Callable[[], object]) -> None:
        """Wait until ``waits()`` is false. For callers to which :meth:`switch` has returned too early.

        It returns at once if the hub itself, or a stand-in, waits. It returns too early if code that was called in the
        middle of a wait, by a signal handler for instance, waits as well: one wait then gets the other's wake-up.

        :raises BlockingSwitchOutError: more than :attr:`MAX_STAND_INS` callbacks wait.
        :raises LoopExit: the hub was destroyed.
        """
        current: Any = getcurrent()
        if current is self.runner:
            self._wait_in_callback(current, waits)
            return
        wake = current.switch
        try:
            while waits():
                if self.dead:
                    raise LoopExit("The hub was destroyed while this greenlet waited", self, repr(self.loop))
                self.switch()
        finally:
            self.loop.ready.append(wake)

    def rouse(self) -> None:
        """Have each callback that waits look again whether it has to: a handler of signals has struck, perhaps in the
        middle of a wake-up."""
        for runner in (self, *self.stand_ins):
            if runner.parked:
                runner.resume()

    def _wait_in_callback(self, current: Runner, waits: Callable[[], object]) -> None:
        loop = self.loop
        loop.check_alive()
        if len(self.stand_ins) > self.MAX_STAND_INS:
            raise BlockingSwitchOutError(
                f"{len(self.stand_ins)} loop callbacks wait; spawn a greenlet for each instead"
            )
        polls = loop.told is not True
        loop.in_poll = False
        loop.report_again()
        watchers = under_way(sys._getframe(2))
        for watcher in watchers:
            watcher.callback_waits()
        try:
            while waits():
                self._park(current)
        finally:
            current.woken = True
            for watcher in watchers:
                watcher.callback_goes_on()
            self._restore(polls)

    def _restore(self, polls: bool) -> None:
        """Make the loop look again: frames below may be between a look at the run queue and its use, or in a poll."""
        self.shifts += 1
        loop = self.loop
        if not loop.destroyed:
            loop.ready.append(_nothing)
            if polls:
                loop.told = None
                loop.in_poll = True
                loop.wake()
                loop.in_poll = True

    def _park(self, current: Runner) -> None:
        """Have another runner turn the loop until ``current`` is resumed. May come back early."""
        own = self.__dict__
        fresh = None if self.free or self.spare is not None else self._hire(current)
        runner: Any
        # No call from here to the switch.
        if current.woken:
            current.woken = False
            return
        if self.free:
            self.free = False
            runner = self
        elif self.spare is not None:
            runner = self.spare
            self.spare = runner.following
        elif fresh is not None:
            runner = fresh
        else:
            return
        current.parked = True
        self.runner = runner
        detour = self.detour
        if detour is not None:
            detour.plain = detour.home if runner is self else runner.way
        elif runner is self:
            del own["switch"]
        else:
            own["switch"] = runner.way
        try:
            self._hand_over(current)
        except BaseException as struck:
            self._hand_over_again(current, struck)
        current.woken = False
        error, current._error = current._error, None
        if error is not None:
            raise error

    def _hire(self, current: Runner) -> StandIn:
        """A new stand-in. It has the context variables of ``current``."""
        context = current.gr_context
        if context is None:
            context = current.gr_context = Context()
        new = StandIn(self.hub)
        new.gr_context = context
        self.stand_ins.add(new)
        if self._nursery is None:
            self._nursery = greenlet(_start_all, self.main)
        return new

    def _hand_over(self, current: Runner, error: StandInRetired | None = None) -> None:
        """Switch from ``current``, which has given up the role, to its new runner, until ``current`` has it again.

        :param error: what to raise there.
        """
        try:
            runner: Any = self.runner
            if error is not None:
                _throw_into(runner, error)
            elif self.detour is not None and runner is not current:
                self.detour.switch()
            elif runner is self or runner.begun:
                _switch_to(runner)
            else:
                self._nursery.switch(runner)  # type: ignore[union-attr]  # made with the first stand-in
        except BaseException as failure:
            self._forward(current, failure)
        else:
            if self.runner is not current:
                self._forward(current, None)
        self._tidy()

    def _hand_over_again(self, current: Runner, struck: BaseException, error: StandInRetired | None = None) -> None:
        """:meth:`_hand_over` has raised ``struck``. If it had not begun, it is to be done all the same."""
        if not never_began(of_callee(struck)):
            raise struck
        self.hub.raise_soon(struck)
        self._hand_over(current, error)

    def _forward(self, current: Runner, error: BaseException | None) -> None:
        """A greenlet has ended and so has switched to ``current``, its parent, which does not have the role.

        Switch on to the runner that has the role, until ``current`` has it.
        """
        while True:
            if self._destroyed:
                raise error if isinstance(error, HubDestroyed) else HubDestroyed()
            if isinstance(error, StandInRetired):
                raise error
            runner = self.runner
            if runner is current:
                if error is not None:
                    raise error
                return
            try:
                if error is None:
                    _switch_to(runner)
                else:
                    _throw_into(runner, error.__class__, error, error.__traceback__)
            except BaseException as another:
                error = another
            else:
                error = None

    # How many there are ---------------------------------------------------------------------------------------------

    def _tidy(self) -> None:
        """If the hub runs the loop: have the spare stand-ins end soon, all but one."""
        leaver, self.leaver = self.leaver, None
        if leaver is not None:
            self._strike_off(leaver)
        if self.runner is self and not self._draining:
            spare = self.spare
            if spare is not None and spare.following is not None:
                self._draining = True
                self.loop.ready.append(self._drain)

    def _drain(self) -> None:
        """From the run queue: end some of the spare stand-ins; one stays."""
        self._draining = False
        for _ in range(_DRAINED_AT_ONCE):
            self._retire()
        self._tidy()

    def _retire(self) -> None:
        own = self.__dict__
        error = StandInRetired()
        runner = self.spare
        if _getcurrent() is not self or self.runner is not self or runner is None or runner.following is None:
            return
        # No call from here to the switch.
        self.spare = runner.following
        self.free = True
        self.runner = runner
        if self.detour is None:
            own["switch"] = runner.way
        else:
            self.detour.plain = runner.way
        try:
            self._hand_over(self, error)
        except BaseException as struck:
            self._hand_over_again(self, struck, error)

    def helpers(self) -> list[greenlet]:
        """The hub and all greenlets that it has made for itself."""
        nursery = self._nursery
        return [self.hub, *snapshot(lambda: self.stand_ins), *([] if nursery is None else [nursery])]

    def _strike_off(self, stand_in: StandIn) -> None:
        self.stand_ins.discard(stand_in)
        stand_in.__dict__.pop("way", None)  # it refers to the stand-in itself

    def end_stand_ins(self) -> None:
        """For a destroyed hub: end all stand-ins but the current greenlet. A suspended greenlet is never freed."""
        current: Any = getcurrent()
        if self._ending:
            return
        self._ending = True
        self.spare = None
        nursery, self._nursery = self._nursery, None
        for runner in (*self.stand_ins, nursery):
            if runner is not None and runner is not current and not runner.dead:
                runner.parent = current
                _throw_into(runner, HubDestroyed())
        for stand_in in list(self.stand_ins):
            self._strike_off(stand_in)

    def end_runners(self) -> None:
        """End all stand-ins and the hub itself. From the main greenlet."""
        self.end_stand_ins()
        self.runner = self
        self.__dict__.pop("switch", None)
        if not self.dead:
            _throw_into(self, HubDestroyed())


def _start_all(runner: StandIn) -> None:
    """Start all stand-ins from one place: if they started one another, each would begin deeper in the stack."""
    while True:
        runner = _switch_to(runner)
