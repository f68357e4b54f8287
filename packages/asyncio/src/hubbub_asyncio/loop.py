"""An asyncio event loop on the hub: its readiness, timers, signals and wake-ups are those of the hub's loop.

Callbacks run in the greenlet that called ``run_forever``, so tasks may call functions that wait cooperatively, and
tasks and greenlets take turns. There is no second poll and no pipe to wake it: a watcher's callback queues the handle
and, if the greenlet of the event loop waits, makes it runnable.

**Waiting in the middle of a callback.** :func:`hubbub_asyncio.await_` may be called by a function that a task has
called. The frames of that task then stand on the stack of the greenlet that runs the event loop. So another greenlet, a
*stand-in*, runs the callbacks meanwhile. ``_runner`` is the greenlet that runs them at present. The greenlet that
called ``run_forever`` becomes the runner again as soon as it is free; a stand-in that is not the runner any more ends.

**Visits.** A greenlet that begins a task switches into the runner, if that waits in the hub, has it run the task's
first step, and goes on next. So a task that never waits has ended at once, and all steps of a task run in the greenlet
of its event loop. (Libraries make greenlets inside of a task, SQLAlchemy for one; these switch to their parent, the
greenlet that ran the step in which they were made, and it must be the one that runs the step in which they go on.)

**Interrupts.** A kill, a time limit or a scope of the greenlet that called ``run_forever`` is meant for all that runs
there. It ends ``run_forever``, whichever callback it strikes: a task that happened to wait would keep it.
"""

from __future__ import annotations

import asyncio
import sys
from asyncio import events
from asyncio.base_events import _run_until_complete_cb  # type: ignore[attr-defined]  # private in typeshed
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import Context, copy_context
from functools import partial
from typing import Any

from greenlet import getcurrent, greenlet
from hubbub import Greenlet, sleep, spawn
from hubbub.lowlevel import OUTSIDE, interrupts_to, monotonic, spawn_raw
from hubbub.running_loop import Separation, separate_running_loops

from hubbub_asyncio._callbacks import forget_last_frame
from hubbub_asyncio._descriptors import Descriptors
from hubbub_asyncio._task import Loan, Task
from hubbub_asyncio._waiting import Running, cancel_and_wait
from hubbub_asyncio.acceleration import accelerate, known_to_c, twin

__all__ = ["HubEventLoop"]

_TURNS = 16
"""How many rounds of callbacks run before other greenlets may run, unless a turn of the hub is over before. After so
many visits the visitor goes on behind others."""


@known_to_c
class HubEventLoop(Descriptors):
    """The event loop of asyncio (:class:`asyncio.AbstractEventLoop`), run by the hub of the thread that makes it.

    Use it as a ``loop_factory`` for :class:`asyncio.Runner`, or through :func:`hubbub_asyncio.run`.
    """

    __slots__ = (
        "_limit",
        "_most_rounds",
        "_rounds",
        "_turn",
        "_visitor",
        "_waiting",
    )  # beside the __dict__, as in Callbacks

    def __init__(self) -> None:
        separate_running_loops(sys.modules["asyncio.events"])
        accelerate()
        super().__init__()
        self._turn = -1
        self._rounds = 0
        self._most_rounds = _TURNS
        self._limit = 0.0
        self._origin: greenlet | None = None
        self._origin_waits: asyncio.Future[Any] | None = None
        self._origin_began = OUTSIDE
        self._interruption: Any = None
        """What :meth:`run_forever` is to raise: an exception that would have been thrown into its greenlet."""
        self._runner: greenlet | None = None
        self._own_greenlet: Greenlet | None = None
        self._generation = -1
        """The generation of the hub's loop in which it has begun to run: another one in the child after a fork."""
        self._kept: set[asyncio.Task[Any]] = set()
        self._is_elsewhere = False
        """A task factory is called in another greenlet than the one that runs the event loop."""
        self._stops_later = False
        self._hooks = self._asyncgen_firstiter_hook, self._asyncgen_finalizer_hook
        self._waiting: greenlet | None = None
        """The runner while it waits in the hub, where it can be visited."""
        self._visitor: greenlet | None = None
        self._visit: Callable[[], Any] = self._no_step
        self._visits = 0
        self._stepping: greenlet | None = None
        """Which greenlet is in the first step of a task of :meth:`begin_task`."""
        self._look = self._look_at_step
        self._looks = -1
        """The generation of the hub's loop in whose run queue :meth:`_look_at_step` is; -1: it is in none."""
        put = events._set_running_loop
        self._aside = Separation(self._hub, events._get_running_loop, getattr(put, "native", put))

    # Running ---------------------------------------------------------------------------------------------------------

    def run_forever(self) -> None:
        """Run callbacks until :meth:`stop` is called.

        :raises InvalidThreadUseError: the caller's native thread is not the one that made the event loop.

        What interrupts the greenlet (a kill, a time limit, a scope) is raised, also if a callback has swallowed it.
        """
        self._check_hub()
        self._check_closed()
        self._check_running()
        current = getcurrent()
        if current is self._hub.runner:
            self._run_beside()
            return
        self._generation = self._hub_loop.generation
        self._origin = self._runner = current
        try:
            with interrupts_to(self._interrupted) as self._origin_began:
                super().run_forever()
            if self._interruption is not None:
                raise self._interruption
        except BaseException:
            self._forget_stops()
            raise
        finally:
            self._origin = self._runner = self._interruption = None
            self._stops_later = False
            self._wake()  # a stand-in that is left wakes and ends

    def _run_beside(self) -> None:
        """A callback of the hub runs the event loop. Nobody could switch to it: it waits for a greenlet that does."""
        running = Running(self.run_forever, context=copy_context())
        running.start()
        try:
            running.join()
        finally:
            running.kill()
        running.get()

    def _forget_stops(self) -> None:
        """``run_until_complete`` is left by an error, but its future may be done, and its call to stop be queued."""
        for handle in self._ready:
            if handle._callback is _run_until_complete_cb:
                handle.cancel()

    def _interrupted(self, error: Any) -> bool:
        """On the hub: ``error`` is about to be thrown into the greenlet that called ``run_forever``. End that.

        A function that waits there by ``await_`` does not get it: its wait is cancelled, as those of other tasks are.
        """
        self._interruption = error
        self._stopping = True
        self._wake()
        return self._origin_waits is not None

    def begin(self) -> None:
        """Run the event loop in a greenlet of its own, until it is stopped. Does nothing if it runs, or is about to.

        A stop that has not taken effect yet is undone. If the greenlet is killed, or an error ends it, and something is
        left to do, another one goes on.
        """
        self._check_hub()
        if self._own_greenlet is not None and not self._own_greenlet.dead:
            if self._interruption is None:
                self._stopping = self._stops_later = False
        elif not self.is_running():
            self._own_greenlet = spawn(self.run_forever, context=Context())
            self._own_greenlet.rawlink(self._go_on_after)

    def _go_on_after(self, ended: Greenlet) -> None:
        """On the hub: the greenlet of :meth:`begin` has ended. Unless it was told to, another one does what is left."""
        stopped = ended.successful() and ended.value is None
        if ended is self._own_greenlet and not stopped and (self._ready or self._scheduled or asyncio.all_tasks(self)):
            self.begin()

    def stop(self) -> None:
        """As :meth:`asyncio.loop.stop`: end :meth:`run_forever` after this round.

        Any greenlet of the thread may call this.
        """
        super().stop()
        self._wake()

    @property
    def runs_on(self) -> bool:
        """Whether the event loop runs, and was not told to stop."""
        return (
            self._thread_id is not None
            and not (self._stopping or self._stops_later)
            and self._generation == self._hub_loop.generation  # else it was left in the parent of this process
        )

    @property
    def is_left(self) -> bool:
        """Whether it runs in the parent of this process: a copy that was left in the middle, and does nothing more."""
        return self._thread_id is not None and self._generation != self._hub_loop.generation

    def keep(self, task: asyncio.Task[Any]) -> None:
        """Keep a task alive until it has ended, whoever forgets it."""
        self._kept.add(task)
        task.add_done_callback(self._kept.discard)

    @twin("rounds.c")
    def _run_once(self) -> None:
        """One round: wait for something to do, then call what is ready."""
        ready = self._ready
        if ready or self._stopping:
            self._take_turns()
        else:
            self._park()
        if self._stand_ins and not self._still_runs():
            return
        if self._scheduled:
            self._queue_due()
        self._call_ready()

    def _take_turns(self) -> None:
        """There are callbacks to run: once in a while, let other greenlets run and the hub look for events first."""
        turn = self._hub_loop.iteration
        if turn != self._turn:
            self._turn = turn
            self._rounds = 0
            self._limit = monotonic() + self._hub_loop.turn_seconds
            return
        self._rounds += 1
        if self._rounds >= self._most_rounds or monotonic() > self._limit:
            self._rounds = 0
            sleep(0)

    def _park(self) -> None:
        """Wait in the hub until there is something to do."""
        loop = self._hub_loop
        delay = self._next_delay()
        key = None if delay is None else loop.call_later(delay, self._wake_up)
        self._waiting = me = getcurrent()
        switch = self._parked = me.switch
        try:
            self._stay(me, switch)
        except BaseException:
            if self._parked is not switch:
                loop.unschedule(switch)
            raise
        finally:
            if self._waiting is me:
                self._waiting = None
            if self._parked is switch:
                self._parked = None
            if key is not None and loop.timer_runs(key, self._wake_up):  # else another's may be in the run queue
                loop.cancel_later(key, self._wake_up)

    def _stay(self, me: greenlet, switch: Callable[[], Any]) -> None:
        """Wait in the hub until the event loop is woken. Visitors are received meanwhile."""
        visitor: greenlet | None = None
        try:
            while True:
                if self._visitor is not None:
                    visitor = self._receive_visitor(me, switch)
                if self._parked is not switch:
                    return
                if visitor is None:
                    self._hub.switch()
                else:  # it goes on at once
                    self._aside.aim(visitor.switch)
                    visitor = None
                    self._aside.switch()
        finally:
            if visitor is not None:
                self._hub_loop.ready.appendleft(visitor.switch)

    def _receive_visitor(self, me: greenlet, switch: Callable[[], Any]) -> greenlet | None:
        """A visitor has switched to the runner, which waits. Do what it came for; then wait on, if there is no more.

        :returns: the visitor, which is to go on next, unless it was told to already.
        """
        woken = self._parked is not switch
        if woken:  # the wake-up must not come to what the step waits for
            self._hub_loop.unschedule(switch)
        self._parked = self._waiting = None
        first = self._scheduled[0] if self._scheduled else None
        visit, self._visit = self._visit, self._no_step
        try:
            self._step(me, visit)
        except BaseException:
            self._dismiss_visitor()
            raise
        visitor, self._visitor = self._visitor, None
        self._visits += 1
        if visitor is not None and not self._visits % _TURNS:  # who visits again and again must not keep others out
            self._hub_loop.ready.append(visitor.switch)
            visitor = None
        if woken or self._ready or self._stopping:
            return visitor
        timer = self._scheduled[0] if self._scheduled else None
        if timer is not first or (timer is not None and timer._when <= self.time()):
            # Another wait: this is for ``first``, or was over while the step waited, and nobody heard of it.
            return visitor
        if (not self._stand_ins or self._still_runs()) and not self._stopping:
            self._waiting = me
            self._parked = switch
        return visitor

    def _take_first_step(self, step: Callable[[], Any]) -> None:
        """Called by the event loop: run the first step of a task of :meth:`begin_task` for which it was not visited."""
        self._step(getcurrent(), step)

    def _step(self, me: greenlet, step: Callable[[], Any]) -> None:
        """Run the first step of a task. If it waits in a synchronous call, the hub calls ``_look_at_step``."""
        self._stepping = me
        loop = self._hub_loop
        if self._looks != loop.generation:  # at a fork the child's run queue is emptied
            self._looks = loop.generation
            loop.ready.append(self._look)
        try:
            step()
        finally:
            if self._stepping is me:
                self._stepping = None

    def _look_at_step(self) -> None:
        """On the hub: somebody has given way. If it is a first step that waits, let the others go on."""
        self._looks = -1
        if self._stepping is not None and self._stepping is self._runner:
            self._dismiss_visitor()
            self._let_stand_in()

    def _let_stand_in(self) -> None:
        """Let a stand-in run the callbacks until this runner is free."""
        self._stand_ins += 1
        self._runner = spawn_raw(self._stand_in)

    def _dismiss_visitor(self) -> None:
        """Let the visitor go on next."""
        visitor, self._visitor = self._visitor, None
        if visitor is not None:
            self._hub_loop.ready.appendleft(visitor.switch)

    # Waiting in the middle of a callback -----------------------------------------------------------------------------

    @contextmanager
    def lent(self, future: asyncio.Future[Any]) -> Iterator[None]:
        """While the block waits for ``future``, a stand-in runs the callbacks. For :func:`hubbub_asyncio.await_`.

        If the task is cancelled, or the event loop stopped, ``future`` is cancelled, and so the wait ends.
        """
        current, task = getcurrent(), asyncio.current_task(self)
        is_origin = current is self._origin
        if isinstance(task, Task):  # one of another's making hears nothing
            task.begin_loan(Loan(future, current, self._origin_began if is_origin else OUTSIDE))
        if is_origin:
            self._origin_waits = future
        if current is self._runner:  # else a stand-in runs already
            self._dismiss_visitor()
            self._let_stand_in()
        try:
            yield
        finally:
            if is_origin:
                self._origin_waits = None
            if isinstance(task, Task):
                task.end_loan()

    def create_task(self, coro: Any, **options: Any) -> asyncio.Task[Any]:
        """A task that runs ``coro`` (:meth:`asyncio.loop.create_task`). Any greenlet of the thread may call this."""
        if self._task_factory is not None:
            return self._made_by_factory(coro, options)
        self._check_closed()
        task: Task[Any] = Task(coro, loop=self, **options)
        forget_last_frame(task)
        return task

    def _made_by_factory(self, coro: Any, options: dict[str, Any]) -> asyncio.Task[Any]:
        """One that begins tasks at once (:func:`asyncio.eager_task_factory`) does so in an event loop that runs.

        It must not in another greenlet than that of the event loop.
        """
        before = self._is_elsewhere
        self._is_elsewhere = events._get_running_loop() is not self
        try:
            made: asyncio.Task[Any] = super().create_task(coro, **options)
        finally:
            self._is_elsewhere = before
        return made

    def is_running(self) -> bool:
        """Whether the event loop runs."""
        return self._thread_id is not None and not self._is_elsewhere

    def begin_task(self, coroutine: Any, *, context: Context) -> asyncio.Task[Any]:
        """Make a task, and have its first step run now if the event loop waits, else when it gets to it.

        Called by greenlets of the thread that run no event loop. A first step that waits in a synchronous call holds up
        neither the caller nor other tasks. If the caller is interrupted meanwhile, the task is cancelled, and the
        interruption is raised when it has ended.
        """
        if self._task_factory is not None or self._debug:
            return self.create_task(coroutine, context=context)
        others = self._begins, self._first_step  # a destructor may call this while another task is made
        self._begins = context
        try:
            task: Task[Any] = Task(coroutine, loop=self, context=context)
        finally:
            step = self._first_step
            self._begins, self._first_step = others
        runner, current = self._waiting, getcurrent()
        if runner is None or current is self._hub.runner:
            self.call_soon(self._take_first_step, step, context=context)
            return task
        self._visit, self._visitor = partial(context.run, step), current
        try:
            runner.switch()
            self._aside.aim(self._aside.home)  # it must not keep this greenlet
            while self._visitor is current:
                self._hub.switch()  # it was woken by others
        except BaseException as interruption:
            if self._visitor is current:
                self._visitor = None
            self._hub_loop.unschedule(current.switch)
            cancel_and_wait(task, interruption)
            raise
        return task

    def start_at_once(self, worker: Greenlet) -> None:
        """Switch to a greenlet that has not begun. It has ended, or waits, when this returns. Called by tasks.

        If the caller is interrupted meanwhile, that is raised, and the greenlet goes on.
        """
        if not self._hub:  # a hub that has never run cannot be returned to
            worker.start()
            return
        switch = getcurrent().switch
        start = worker.switch
        self._aside.aim(start)
        self._hub_loop.ready.append(switch)
        try:
            self._aside.switch()
        except BaseException:
            self._hub_loop.unschedule(switch)
            raise
        finally:
            self._aside.aim(self._aside.home)

    def _still_runs(self) -> bool:
        """Whether this greenlet goes on to run the callbacks. The one that called ``run_forever`` always does."""
        current = getcurrent()
        if self._runner is current:
            return True
        if current is not self._origin:
            return False
        self._runner = current
        # The stand-in ends: it is not visited any more, and whoever visited it for a step that waits there goes on.
        self._waiting = None
        self._dismiss_visitor()
        if self._stops_later:
            self._stopping = True
        self._stops_later = False
        self._wake()  # if the stand-in waits, it wakes and ends
        return True

    def _stand_in(self) -> None:
        """Run the callbacks while the greenlet that called ``run_forever``, or another stand-in, waits."""
        me = getcurrent()
        hooks = sys.get_asyncgen_hooks()
        events._set_running_loop(self)
        sys.set_asyncgen_hooks(*self._hooks)
        try:
            while self._runner is me:
                self._run_once_for_origin(me)
        finally:
            sys.set_asyncgen_hooks(*hooks)
            events._set_running_loop(None)
            self._stand_ins -= 1

    def _run_once_for_origin(self, me: greenlet) -> None:
        """One round. An error that ends the event loop must be raised by ``run_forever``, in another greenlet."""
        try:
            self._run_once()
        except (SystemExit, KeyboardInterrupt) as error:
            if self._origin is None:
                raise
            self._hub_loop.run_callback(self._origin.throw, error)
        except BaseException as error:  # an interrupt, as of a time limit that a callback has left
            if self._origin is None:
                raise
            self._interrupted(error)
        if self._stopping and self._runner is me:
            self._release_origin()

    def _release_origin(self) -> None:
        """The event loop is to stop, but its greenlet waits in the middle of a callback: end that wait.

        A first step that waits in a synchronous call is not interrupted. The event loop goes on until it has ended.
        """
        self._stopping = False
        self._stops_later = True
        if self._origin_waits is not None:
            self._origin_waits.cancel("the event loop was stopped")
