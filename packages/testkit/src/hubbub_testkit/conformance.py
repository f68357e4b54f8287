"""The loop contract (:mod:`hubbub.abc`) as tests: a test for each of its sentences.

A package that provides a loop subclasses :class:`LoopConformance` in its tests and overrides one fixture::

    class TestMyLoop(LoopConformance):
        @pytest.fixture
        def loop_class(self):
            return MyLoop

Where loops may differ there is a flag, a class attribute, described below. A test of the kit can be replaced or taken
away only by marking the replacement ``xfail`` with a reason.
"""

from __future__ import annotations

import errno
import gc
import math
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest
from greenlet import getcurrent, greenlet
from hubbub.abc import LEVEL, READ, WRITE, Loop
from hubbub.exceptions import LoopDestroyed
from hubbub.lowlevel import BaseLoop, accelerate

from hubbub_testkit.greenlets import open_descriptors

__all__ = ["PATIENCE", "LoopConformance", "Recorder"]

PATIENCE = 10.0
"""How long a test waits, in seconds, for what must come, before it fails."""

_needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
_needs_pidfd = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="the system has no pidfd_open")
_posix = pytest.mark.skipif(os.name != "posix", reason="a promise for POSIX systems")


class Recorder:
    """Stands where the hub stands: is told of failures. A test that expects some takes them; the rest fail it."""

    def __init__(self) -> None:
        self.errors: list[tuple[object, BaseException | None]] = []

    def handle_error(self, context: object, kind: Any, error: BaseException | None, tb: Any) -> None:
        """What the loop calls. Anything that is no Exception (an interrupted test, for one) goes on up."""
        if error is not None and not isinstance(error, Exception):
            raise error
        self.errors.append((context, error))

    def take(self) -> list[tuple[object, BaseException | None]]:
        """The failures so far; forgets them."""
        errors, self.errors = self.errors, []
        return errors


def _in_turn(*calls: Callable[[], object]) -> Callable[[], None]:
    """A callback that makes several calls."""

    def call_all() -> None:
        for call in calls:
            call()

    return call_all


class _Expected(Exception):
    """Raised by callbacks of the tests on purpose."""


def _is_excused(replacement: object) -> bool:
    marks = getattr(replacement, "pytestmark", ())
    return any(mark.name == "xfail" and mark.kwargs.get("reason") for mark in marks)


class LoopConformance:
    """Run by every backend. Override :meth:`loop_class`, and a flag where the loop rightly differs."""

    real_time: ClassVar[bool] = True
    """The loop's clock is :func:`time.monotonic`; false for a simulated one."""
    refuses_regular_files: ClassVar[bool] = True
    """Waiting for a regular file raises EPERM; false for interfaces that call it always ready (select, poll)."""
    timer_early: ClassVar[float] = 0.0005
    """By how many seconds a timer may come too early (clocks of coarse granularity)."""
    patience: ClassVar[float] = PATIENCE
    """How long a forked child may take, in seconds."""
    many_descriptors: ClassVar[int] = 3000
    """How many descriptors become ready at once in the test for lost events; fewer if the system allows fewer."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Refuse to lose a test in silence."""
        super().__init_subclass__(**kwargs)
        for name, value in vars(cls).items():
            if name.startswith("test") and hasattr(super(cls, cls), name) and not _is_excused(value):
                raise TypeError(
                    f"{cls.__name__}.{name} replaces a test of the kit; "
                    "if the loop cannot keep the promise, mark it pytest.mark.xfail(reason=...)"
                )

    # What a backend overrides, and what the tests use ---------------------------------------------------------------

    @pytest.fixture
    def loop_class(self) -> type[Any]:
        """The loop under test. Override this."""
        raise NotImplementedError(f"{type(self).__name__} must override the fixture loop_class")

    @pytest.fixture
    def recorder(self) -> Recorder:
        """The loop's error handler."""
        return Recorder()

    @pytest.fixture
    def loop(self, loop_class: type[Any], recorder: Recorder) -> Iterator[Any]:
        """A fresh loop of the current thread, run by the test itself, with the accelerators that a hub would use."""
        accelerate()
        loop = loop_class()
        loop.error_handler = recorder
        try:
            yield loop
        finally:
            loop.destroy()
        assert recorder.take() == [], "something failed in a callback"

    @pytest.fixture
    def pair(self, loop: Any) -> Iterator[tuple[socket.socket, socket.socket]]:
        """Two connected non-blocking sockets, nothing sent yet."""
        left, right = socket.socketpair()
        left.setblocking(False)
        right.setblocking(False)
        try:
            yield left, right
        finally:
            for end in (left, right):
                if not loop.destroyed and end.fileno() >= 0:
                    loop.descriptor_closing(end.fileno())
                end.close()

    def only_in_real_time(self) -> None:
        """Skip a test that measures time on a loop whose clock is not the world's."""
        if not self.real_time:
            pytest.skip("the loop's time is not real")

    # The class ------------------------------------------------------------------------------------------------------

    def test_is_a_loop(self, loop_class: type[Any]) -> None:
        """A backend derives from BaseLoop, implements all of the contract and has a name."""
        assert issubclass(loop_class, BaseLoop)
        assert issubclass(loop_class, Loop)
        assert not getattr(loop_class, "__abstractmethods__", None)
        assert isinstance(loop_class.name, str)
        assert loop_class.name

    def test_repr_in_every_state(self, loop_class: type[Any]) -> None:
        """A loop can show itself while idle, while running and after its destruction."""
        loop = loop_class()
        texts = [repr(loop)]
        loop.run_callback(lambda: texts.append(repr(loop)))
        loop.run()
        loop.destroy()
        texts.append(repr(loop))
        assert ["destroyed" in text for text in texts] == [False, False, True]
        assert all(loop_class.__name__ in text for text in texts)

    # Phase 1: the run queue -----------------------------------------------------------------------------------------

    def test_callbacks_run_in_order(self, loop: Any) -> None:
        """Callbacks run first come, first served, with their arguments."""
        seen: list[Any] = []
        for number in range(500):
            loop.run_callback(seen.append, number)
        loop.run()
        assert seen == list(range(500))

    def test_callback_does_not_run_at_once(self, loop: Any) -> None:
        """run_callback only queues: the call happens when the loop turns."""
        seen: list[int] = []
        call = loop.run_callback(seen.append, 1)
        assert not seen
        assert call.pending
        loop.run()
        assert seen == [1]
        assert not call.pending

    def test_callback_queued_by_a_callback_runs_later_in_order(self, loop: Any) -> None:
        """A callback queued by a callback runs after those that are queued already."""
        seen: list[str] = []

        def first() -> None:
            seen.append("first")
            loop.run_callback(seen.append, "third")

        loop.run_callback(first)
        loop.run_callback(seen.append, "second")
        loop.run()
        assert seen == ["first", "second", "third"]

    @pytest.mark.parametrize("end", ["stop", "close"])
    def test_stopped_callback_never_runs(self, loop: Any, end: str) -> None:
        """A callback that was stopped before its turn is never called; stopping again, or afterwards, is harmless."""
        seen: list[int] = []
        call = loop.run_callback(seen.append, 1)
        other = loop.run_callback(seen.append, 2)
        getattr(call, end)()
        getattr(call, end)()
        assert not call.pending
        loop.run()
        getattr(other, end)()
        assert seen == [2]

    def test_callback_must_be_callable(self, loop: Any) -> None:
        """What is not callable is refused where it is given."""
        for give in (loop.run_callback, loop.run_callback_threadsafe, loop.timer(1).start, loop.io(0, READ).start):
            with pytest.raises(TypeError, match="callable"):
                give(None)

    def test_callback_that_raises(self, loop: Any, recorder: Recorder) -> None:
        """A callback's failure goes to the error handler with the callback as context; the others run."""
        seen: list[int] = []

        def fail() -> None:
            raise _Expected

        loop.run_callback(fail)
        loop.run_callback(seen.append, 1)
        loop.run()
        [(context, error)] = recorder.take()
        assert context == fail
        assert isinstance(error, _Expected)
        assert seen == [1]

    def test_bare_callable_that_raises(self, loop: Any, recorder: Recorder) -> None:
        """A failure of something put straight into the run queue does not stop what is behind it."""
        seen: list[int] = []

        def fail() -> None:
            raise _Expected

        loop.ready.extend([fail, partial(seen.append, 1), fail, partial(seen.append, 2)])
        loop.run()
        assert [type(error) for _, error in recorder.take()] == [_Expected, _Expected]
        assert seen == [1, 2]

    def test_failure_without_a_handler_is_printed(self, loop: Any, capsys: pytest.CaptureFixture[str]) -> None:
        """With no error handler a failure is printed with its traceback, never lost."""

        def fail() -> None:
            raise _Expected("printed")

        loop.error_handler = None
        loop.run_callback(fail)
        loop.run()
        assert "_Expected: printed" in capsys.readouterr().err

    def test_chatty_callbacks_leave_room_for_descriptors(self, loop: Any, pair: Any) -> None:
        """Callbacks that always queue another one do not keep events of descriptors from being seen."""
        left, right = pair
        right.send(b"x")
        turns = 0

        def again() -> None:
            nonlocal turns
            turns += 1
            if not seen:
                assert turns < 1_000_000
                loop.ready.append(again)

        seen: list[int] = []
        watcher = loop.io(left.fileno(), READ)

        def readable() -> None:
            seen.append(turns)
            watcher.stop()

        watcher.start(readable)
        loop.ready.append(again)
        loop.run()
        assert len(seen) == 1

    def test_chatty_callbacks_leave_room_for_timers(self, loop: Any) -> None:
        """Callbacks that always queue another one do not keep timers from being called."""
        self.only_in_real_time()
        seen: list[int] = []
        begun = time.monotonic()

        def again() -> None:
            if not seen:
                assert time.monotonic() - begun < PATIENCE
                loop.ready.append(again)

        loop.timer(0.01).start(seen.append, 1)
        loop.ready.append(again)
        loop.run()
        assert seen == [1]

    def test_slow_callbacks_are_cut_by_time(self, loop: Any, pair: Any) -> None:
        """The run queue's budget is also one of time: slow callbacks that are queued do not all come before a poll."""
        left, right = pair
        right.send(b"x")
        order: list[str] = []

        def slow() -> None:
            time.sleep(0.001)
            order.append("slow")

        watcher = loop.io(left.fileno(), READ)

        def readable() -> None:
            watcher.stop()
            order.append("readable")

        watcher.start(readable)
        for _ in range(300):
            loop.run_callback(slow)
        loop.run()
        assert order.count("slow") == 300
        # It is queued behind what is there when the loop polls; what matters is that the loop did poll in between.
        assert loop.iteration > 2

    # Phases 2 to 6 --------------------------------------------------------------------------------------------------

    def test_order_of_the_phases(self, loop: Any) -> None:
        """A turn is: run queue, prepare watchers, poll, check watchers, idle watchers."""
        seen: list[str] = []
        prepare, check, idle = loop.prepare(), loop.check(), loop.idle()
        prepare.start(seen.append, "prepare")
        check.start(seen.append, "check")
        idle.start(seen.append, "idle")
        loop.run_callback(seen.append, "callback")
        loop.run(once=True)
        assert seen == ["callback", "prepare", "check", "idle"]

    def test_phase_watchers_are_called_every_turn(self, loop: Any) -> None:
        """Prepare, check and idle watchers are called turn after turn until they are stopped."""
        seen: list[str] = []
        watchers = [loop.prepare(), loop.check(), loop.idle()]
        for watcher in watchers:
            watcher.start(seen.append, type(watcher).__name__)
        for _ in range(3):
            loop.run(once=True)
        for watcher in watchers:
            watcher.stop()
        loop.run(nowait=True)
        assert [seen.count(type(watcher).__name__) for watcher in watchers] == [3, 3, 3]

    def test_idle_only_when_there_is_nothing_to_run(self, loop: Any, pair: Any) -> None:
        """Idle watchers are not called in a turn that has put something into the run queue."""
        left, right = pair
        seen: list[str] = []
        idle, reader = loop.idle(), loop.io(left.fileno(), READ)
        idle.start(seen.append, "idle")
        reader.start(seen.append, "reader")
        right.send(b"x")
        loop.run(once=True)
        assert seen == []
        reader.stop()
        loop.run(once=True)
        assert seen == ["idle"]
        idle.stop()

    def test_idle_keeps_the_loop_from_waiting(self, loop: Any) -> None:
        """While an idle watcher is active, the loop only looks and never waits."""
        timer = loop.timer(3600.0)
        timer.start(lambda: None)
        idle = loop.idle()
        calls = 0

        def count() -> None:
            nonlocal calls
            calls += 1
            if calls == 3:
                idle.stop()
                timer.stop()

        idle.start(count)
        begun = time.monotonic()
        loop.run()
        assert calls == 3
        assert time.monotonic() - begun < PATIENCE

    def test_idle_of_the_highest_priority_only(self, loop: Any) -> None:
        """Of several idle watchers only those of the highest priority are called."""
        seen: list[str] = []
        watchers = [loop.idle(priority=-1), loop.idle(priority=1), loop.idle(priority=0)]
        for watcher, name in zip(watchers, ("low", "high", "middle"), strict=True):
            watcher.start(seen.append, name)
        loop.run(once=True)
        watchers[1].stop()
        loop.run(once=True)
        for watcher in watchers:
            watcher.stop()
        assert seen == ["high", "middle"]

    def test_dispatch_calls_nothing(self, loop: Any, pair: Any) -> None:
        """An event only puts the callback into the run queue, where a stop still takes it back."""
        left, right = pair
        seen: list[int] = []
        watcher = loop.io(left.fileno(), READ)
        watcher.start(seen.append, 1)
        right.send(b"x")
        loop.run(once=True)
        assert not seen
        assert watcher.pending
        watcher.stop()
        loop.run()
        assert not seen

    # The end of a run -----------------------------------------------------------------------------------------------

    def test_run_ends_when_nothing_is_left(self, loop: Any) -> None:
        """run() returns at once from a loop that has nothing to run or to wait for."""
        loop.run()

    def test_run_again(self, loop: Any) -> None:
        """A loop that has ended runs again when there is something to do."""
        seen: list[int] = []
        for number in range(3):
            loop.run_callback(seen.append, number)
            loop.run()
        assert seen == [0, 1, 2]

    def test_nowait_does_not_wait(self, loop: Any) -> None:
        """run(nowait=True) makes one turn without waiting."""
        seen: list[int] = []
        timer = loop.timer(3600.0)
        timer.start(seen.append, 1)
        loop.run_callback(seen.append, 2)
        loop.run(nowait=True)
        assert seen == [2]
        timer.stop()

    def test_once_makes_one_turn(self, loop: Any) -> None:
        """run(once=True) makes one turn, which may wait."""
        before = loop.iteration
        timer = loop.timer(0.01)
        timer.start(lambda: None)
        loop.run(once=True)
        assert loop.iteration == before + 1
        timer.stop()

    def test_break_ends_run(self, loop: Any) -> None:
        """break_() ends run() after the current turn, although there is more to wait for."""
        timer = loop.timer(3600.0)
        timer.start(lambda: None)
        seen: list[int] = []
        loop.run_callback(loop.break_)
        loop.run_callback(seen.append, 1)
        loop.run()
        assert timer.active
        timer.stop()
        loop.run()
        assert seen == [1]

    def test_break_from_a_timer(self, loop: Any) -> None:
        """break_() in a timer's callback ends run()."""
        other = loop.timer(3600.0)
        other.start(lambda: None)
        loop.timer(0.001).start(loop.break_)
        loop.run()
        assert other.active
        other.stop()

    def test_run_within_a_callback(self, loop: Any) -> None:
        """A callback may turn the loop itself: what is due runs, and nothing is lost or called twice."""
        seen: list[str] = []

        def nested() -> None:
            seen.append("before")
            loop.run(nowait=True)
            seen.append("after")

        loop.run_callback(nested)
        loop.run_callback(seen.append, "inside")
        loop.timer(0.001).start(seen.append, "timer")
        loop.run()
        assert seen[:2] == ["before", "inside"]
        assert sorted(seen) == ["after", "before", "inside", "timer"]

    def test_unreferenced_watchers_do_not_keep_the_loop(self, loop: Any, pair: Any) -> None:
        """A watcher with ref=False, of whatever kind, is no reason to go on."""
        made = [
            loop.io(pair[0].fileno(), READ, ref=False),
            loop.timer(3600.0, ref=False),
            loop.timer(3600.0, repeat=1.0, ref=False),
            loop.async_(ref=False),
            loop.prepare(ref=False),
            loop.check(ref=False),
            loop.fork(ref=False),
        ]
        for watcher in made:
            assert watcher.ref is False
            watcher.start(lambda: None)
        loop.run()
        assert all(watcher.active for watcher in made)
        for watcher in made:
            watcher.close()

    def test_ref_can_be_changed_while_active(self, loop: Any, pair: Any) -> None:
        """ref counts from the moment it is set, also on an active watcher, and stop undoes it once."""
        for watcher in (loop.io(pair[0].fileno(), READ), loop.timer(3600.0), loop.async_()):
            watcher.start(lambda: None)
            watcher.ref = False
            loop.run()
            watcher.ref = True
            guard = loop.timer(0.001, ref=False)
            guard.start(loop.break_)
            loop.run()
            assert not guard.active, f"{watcher!r} did not keep the loop going"
            watcher.stop()
            loop.run()

    def test_stopped_watchers_do_not_keep_the_loop(self, loop: Any, pair: Any) -> None:
        """What was started and stopped, or closed, leaves no reason to go on."""
        for end in ("stop", "close"):
            for watcher in (loop.io(pair[0].fileno(), READ), loop.timer(3600.0), loop.async_(), loop.check()):
                watcher.start(lambda: None)
                getattr(watcher, end)()
        loop.run()

    # Watchers in general --------------------------------------------------------------------------------------------

    def all_watchers(self, loop: Any, pair: Any) -> list[Any]:
        """One of each kind that any loop of any thread has."""
        return [
            loop.io(pair[0].fileno(), READ),
            loop.timer(3600.0),
            loop.async_(),
            loop.prepare(),
            loop.check(),
            loop.idle(),
            loop.fork(),
            loop.stat(__file__),
        ]

    def test_active_between_start_and_stop(self, loop: Any, pair: Any) -> None:
        """active is true between start and stop, for every kind; stopping twice is harmless."""
        for watcher in self.all_watchers(loop, pair):
            states = [watcher.active]
            watcher.start(lambda: None)
            states.append(watcher.active)
            watcher.stop()
            states.append(watcher.active)
            watcher.stop()
            watcher.start(lambda: None)
            states.append(watcher.active)
            watcher.close()
            states.append(watcher.active)
            assert states == [False, True, False, True, False], repr(watcher)
        loop.run()

    def test_closed_for_good(self, loop: Any, pair: Any) -> None:
        """A closed watcher cannot be started again; closing twice is harmless."""
        for watcher in self.all_watchers(loop, pair):
            watcher.close()
            watcher.close()
            with pytest.raises(ValueError, match="closed"):
                watcher.start(lambda: None)

    def test_context_manager_closes(self, loop: Any, pair: Any) -> None:
        """At the end of a with block a watcher is closed."""
        for watcher in self.all_watchers(loop, pair):
            with watcher:
                watcher.start(lambda: None)
            assert not watcher.active
        loop.run()

    def test_start_again_replaces_the_callback(self, loop: Any, pair: Any) -> None:
        """A second start of an active watcher changes what is called; there is still one call an event."""
        left, right = pair
        seen: list[str] = []
        watcher = loop.io(left.fileno(), READ)
        watcher.start(seen.append, "old")
        watcher.start(_in_turn(partial(seen.append, "new"), watcher.stop))
        right.send(b"x")
        loop.run()
        assert seen == ["new"]

    def test_reprs_of_watchers(self, loop: Any, pair: Any) -> None:
        """Every watcher can show its kind and state."""
        for watcher in self.all_watchers(loop, pair):
            assert "stopped" in repr(watcher)
            watcher.start(lambda: None)
            assert "active" in repr(watcher)
            watcher.close()
            assert "closed" in repr(watcher)
            assert type(watcher).__name__ in repr(watcher)

    def test_close_in_own_callback(self, loop: Any, pair: Any) -> None:
        """A watcher may close itself in its callback, of whatever kind, and is not called again."""
        left, right = pair
        right.send(b"x")
        seen: list[Any] = []
        watchers = [loop.io(left.fileno(), READ), loop.timer(0.0, 0.001), loop.check(), loop.prepare(), loop.idle()]

        def close(watcher: Any) -> None:
            seen.append(watcher)
            watcher.close()

        for watcher in watchers:
            watcher.start(close, watcher)
        loop.run()
        assert sorted(map(id, seen)) == sorted(map(id, watchers))

    def test_close_in_own_callback_which_then_raises(self, loop: Any, pair: Any, recorder: Recorder) -> None:
        """A callback that closes its watcher and then fails is reported once and not called again."""
        left, right = pair
        right.send(b"x")
        watchers = [loop.io(left.fileno(), READ), loop.timer(0.0, 0.001), loop.check()]

        def close(watcher: Any) -> None:
            watcher.close()
            raise _Expected

        for watcher in watchers:
            watcher.start(close, watcher)
        loop.run()
        errors = recorder.take()
        assert [type(error) for _, error in errors] == [_Expected] * 3
        assert {id(context) for context, _ in errors} == {id(watcher) for watcher in watchers}

    def test_watcher_that_raises_stays_active(self, loop: Any, recorder: Recorder) -> None:
        """A failing callback is reported with its watcher as context, and the watcher goes on."""
        calls = 0
        timer = loop.timer(0.0, 0.001)

        def fail() -> None:
            nonlocal calls
            calls += 1
            if calls == 3:
                timer.stop()
            raise _Expected

        timer.start(fail)
        loop.run()
        assert [context for context, _ in recorder.take()] == [timer] * 3

    def test_stop_of_another_watcher_in_the_same_turn(self, loop: Any, pair: Any) -> None:
        """Of two watchers whose events came in one turn, the first may stop the second, which is then not called."""
        left, right = pair
        left.send(b"x")
        right.send(b"x")
        first, second = loop.io(left.fileno(), READ), loop.io(right.fileno(), READ)
        seen: list[str] = []

        def called(name: str, other: Any) -> None:
            seen.append(name)
            first.close()
            second.close()
            assert not other.pending

        first.start(called, "first", second)
        second.start(called, "second", first)
        loop.run()
        assert len(seen) == 1

    def test_stop_of_another_timer_in_the_same_turn(self, loop: Any) -> None:
        """Of two timers due in one turn, the first may stop the second, which is then not called."""
        seen: list[str] = []
        first, second = loop.timer(0.001), loop.timer(0.002)
        first.start(_in_turn(partial(seen.append, "first"), second.stop))
        second.start(seen.append, "second")
        time.sleep(0.01)
        loop.run()
        assert seen == ["first"]

    # Descriptors ----------------------------------------------------------------------------------------------------

    def test_io_is_level_triggered(self, loop: Any, pair: Any) -> None:
        """An io watcher is called for as long as the descriptor is ready, whatever the kernel interface does."""
        left, right = pair
        right.send(b"x")
        calls = 0
        watcher = loop.io(left.fileno(), READ)

        def count() -> None:
            nonlocal calls
            calls += 1
            if calls == 5:
                watcher.stop()

        watcher.start(count)
        loop.run()
        assert calls == 5

    def test_io_is_not_called_without_an_event(self, loop: Any, pair: Any) -> None:
        """A reader is not called before there is something to read."""
        seen: list[int] = []
        watcher = loop.io(pair[0].fileno(), READ)
        watcher.start(seen.append, 1)
        for _ in range(3):
            loop.run(nowait=True)
        assert not seen
        watcher.close()

    def test_io_wakes_a_waiting_loop(self, loop: Any, pair: Any) -> None:
        """Data that arrives while the loop waits ends the wait."""
        left, right = pair
        watcher = loop.io(left.fileno(), READ)
        watcher.start(watcher.stop)
        thread = threading.Timer(0.02, right.send, [b"x"])
        thread.start()
        loop.run()
        thread.join()
        assert left.recv(1) == b"x"

    def test_io_write(self, loop: Any, pair: Any) -> None:
        """A writer is called when there is room, not while the buffer is full."""
        left, right = pair
        try:
            while True:
                left.send(bytes(65536))
        except BlockingIOError:
            pass
        seen: list[int] = []
        watcher = loop.io(left.fileno(), WRITE)
        watcher.start(_in_turn(partial(seen.append, 1), watcher.stop))
        for _ in range(3):
            loop.run(nowait=True)
        assert not seen
        try:
            while right.recv(1 << 20):
                pass
        except BlockingIOError:
            pass
        loop.run()
        assert seen == [1]

    def test_io_pass_events(self, loop: Any, pair: Any) -> None:
        """With pass_events the callback gets the events that happened first, and only those it asked for."""
        left, right = pair
        right.send(b"x")
        seen: list[Any] = []
        both = loop.io(left.fileno(), READ | WRITE)
        only = loop.io(left.fileno(), WRITE)

        def called(events: int, watcher: Any) -> None:
            seen.append((events, watcher))
            watcher.stop()

        both.start(called, both, pass_events=True)
        loop.run()
        only.start(called, only, pass_events=True)
        loop.run()
        assert [watcher for _, watcher in seen] == [both, only]
        assert seen[0][0] in (READ, WRITE, READ | WRITE)
        assert seen[1][0] == WRITE

    def test_two_watchers_on_one_descriptor(self, loop: Any, pair: Any) -> None:
        """Several watchers of one descriptor are all called, each for its own events."""
        left, right = pair
        seen: list[str] = []
        watchers = {
            "read": loop.io(left.fileno(), READ),
            "read too": loop.io(left.fileno(), READ),
            "write": loop.io(left.fileno(), WRITE),
        }
        for name, watcher in watchers.items():
            watcher.start(_in_turn(partial(seen.append, name), watcher.stop))
        guard = loop.timer(0.01)
        guard.start(right.send, b"x")
        loop.run()
        assert seen[0] == "write"
        assert sorted(seen) == ["read", "read too", "write"]

    def test_stopping_one_of_two_leaves_the_other(self, loop: Any, pair: Any) -> None:
        """When one of two watchers of a descriptor stops, the other goes on."""
        left, right = pair
        seen: list[str] = []
        first, second = loop.io(left.fileno(), READ), loop.io(left.fileno(), READ)
        first.start(seen.append, "first")
        second.start(_in_turn(partial(seen.append, "second"), second.stop))
        first.stop()
        right.send(b"x")
        loop.run()
        assert seen == ["second"]

    def test_hang_up_wakes_readers_and_writers(self, loop: Any, pair: Any) -> None:
        """When the peer closes, both readers and writers are told to try."""
        left, right = pair
        try:
            while True:
                left.send(bytes(65536))
        except BlockingIOError:
            pass
        seen: list[str] = []
        reader, writer = loop.io(left.fileno(), READ), loop.io(left.fileno(), WRITE)
        reader.start(_in_turn(partial(seen.append, "read"), reader.stop))
        writer.start(_in_turn(partial(seen.append, "write"), writer.stop))
        right.close()
        loop.run()
        assert sorted(seen) == ["read", "write"]

    @pytest.mark.parametrize("fd", [-1, -5])
    def test_io_negative_descriptor(self, loop: Any, fd: int) -> None:
        """A negative descriptor is a ValueError."""
        with pytest.raises(ValueError, match="descriptor"):
            loop.io(fd, READ)

    @pytest.mark.parametrize("events", [0, 8, READ | 16, -1])
    def test_io_unknown_events(self, loop: Any, pair: Any, events: int) -> None:
        """Events other than READ and WRITE are a ValueError."""
        with pytest.raises(ValueError, match="events"):
            loop.io(pair[0].fileno(), events)

    def test_io_closed_descriptor(self, loop: Any) -> None:
        """Watching a closed descriptor raises EBADF, leaves the watcher stopped and the loop as it was."""
        fd = os.open(os.devnull, os.O_RDONLY)
        os.close(fd)
        watcher = loop.io(fd, READ)
        with pytest.raises(OSError) as caught:
            watcher.start(lambda: None)
        assert caught.value.errno == errno.EBADF
        assert not watcher.active
        loop.run()

    def test_io_regular_file(self, loop: Any) -> None:
        """Watching a regular file raises EPERM, as epoll does, and leaves the watcher stopped."""
        if not self.refuses_regular_files:
            pytest.skip("this kernel interface calls regular files always ready")
        with tempfile.TemporaryFile() as file:
            watcher = loop.io(file.fileno(), READ)
            with pytest.raises(PermissionError):
                watcher.start(lambda: None)
            assert not watcher.active
            loop.run()

    def test_io_fd_and_events_while_active(self, loop: Any, pair: Any) -> None:
        """fd and events can be set while the watcher is stopped, not while it is active."""
        left, right = pair
        watcher = loop.io(left.fileno(), READ)
        watcher.fd = right.fileno()
        watcher.events = READ | WRITE
        assert (watcher.fd, watcher.events, watcher.events_str) == (right.fileno(), READ | WRITE, "READ|WRITE")
        watcher.start(lambda: None)
        for name in ("fd", "events"):
            with pytest.raises(AttributeError, match=name):
                setattr(watcher, name, READ)
        watcher.close()

    def test_descriptor_closing_ends_watchers(self, loop: Any, pair: Any) -> None:
        """A descriptor that is closed properly is told to its watchers: one last call, and no more."""
        left, _ = pair
        seen: list[int] = []
        watcher = loop.io(left.fileno(), READ)
        watcher.start(_in_turn(partial(seen.append, 1), watcher.stop))
        loop.descriptor_closing(left.fileno())
        left.close()
        loop.run()
        assert seen == [1]

    def test_descriptor_closing_is_harmless_for_strangers(self, loop: Any) -> None:
        """descriptor_closing of a descriptor the loop never saw does nothing, also twice."""
        loop.descriptor_closing(12345)
        loop.descriptor_closing(12345)

    def test_closed_behind_the_back(self, loop: Any, pair: Any) -> None:
        """A watched descriptor closed without a word does no harm, and its number works again for another one."""
        left, _ = pair
        number = left.fileno()
        watcher = loop.io(number, READ)
        watcher.start(lambda: None)
        loop.run(nowait=True)
        left.close()
        loop.run(nowait=True)
        watcher.close()
        loop.descriptor_closing(number)
        loop.run()
        new, peer = socket.socketpair()
        try:
            if new.fileno() != number:
                os.dup2(new.fileno(), number)
            seen: list[int] = []
            again = loop.io(number, READ)
            again.start(_in_turn(partial(seen.append, 1), again.close))
            peer.send(b"x")
            loop.run()
            assert seen == [1]
            loop.descriptor_closing(number)
        finally:
            if new.fileno() != number:
                os.close(number)
            new.close()
            peer.close()

    def test_stop_after_a_close_behind_the_back(self, loop: Any, pair: Any) -> None:
        """Stopping one of two watchers of a closed descriptor does not raise; the other is called, to see the error."""
        left, _ = pair
        seen: list[str] = []
        first, second = loop.io(left.fileno(), READ), loop.io(left.fileno(), READ)
        writer = loop.io(left.fileno(), WRITE)
        second.start(_in_turn(partial(seen.append, "second"), second.stop))
        writer.start(seen.append, "writer")
        first.start(seen.append, "first")
        left.close()
        writer.stop()
        first.stop()
        if not seen:
            second.stop()
        loop.run()
        assert seen in ([], ["second"])

    def test_number_used_again_while_registered(self, loop: Any) -> None:
        """A number that was closed without a word and is in use again is watched as the new descriptor."""
        first, first_peer = socket.socketpair()
        second, second_peer = socket.socketpair()
        number = first.fileno()
        try:
            watcher = loop.io(number, READ)
            watcher.start(lambda: None)
            loop.run(nowait=True)
            watcher.stop()
            os.dup2(second.fileno(), number)  # closes the first
            seen: list[int] = []
            again = loop.io(number, READ)
            again.start(_in_turn(partial(seen.append, 1), again.close))
            second_peer.send(b"x")
            loop.run()
            assert seen == [1]
        finally:
            loop.descriptor_closing(number)
            for end in (first, first_peer, second, second_peer):
                end.close()

    def test_new_descriptor_gets_no_old_events(self, loop: Any) -> None:
        """After a proper close, a new descriptor of the same number sees none of the old one's events."""
        old, old_peer = socket.socketpair()
        number = old.fileno()
        watcher = loop.io(number, READ)
        watcher.start(lambda: None)
        old_peer.send(b"x")
        watcher.close()
        loop.descriptor_closing(number)
        old.close()
        new, new_peer = socket.socketpair()
        try:
            if new.fileno() != number:
                number = new.fileno()
            seen: list[int] = []
            again = loop.io(number, READ)
            again.start(seen.append, 1)
            for _ in range(3):
                loop.run(nowait=True)
            assert not seen
            again.close()
            loop.descriptor_closing(number)
        finally:
            for end in (old_peer, new, new_peer):
                end.close()

    @_posix
    def test_many_events_at_once(self, loop: Any, pair: Any) -> None:
        """Of thousands of descriptors that are ready at once none is lost."""
        import resource

        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        count = min(self.many_descriptors, limit - len(open_descriptors()) - 50)
        left, right = pair
        right.send(b"x")
        numbers = [os.dup(left.fileno()) for _ in range(count)]
        try:
            seen: set[int] = set()
            watchers = {fd: loop.io(fd, READ) for fd in numbers}
            for fd, watcher in watchers.items():
                watcher.start(_in_turn(partial(seen.add, fd), watcher.stop))
            loop.run()
            assert seen == set(numbers)
        finally:
            for fd in numbers:
                loop.descriptor_closing(fd)
                os.close(fd)

    # Greenlets that wait for descriptors ----------------------------------------------------------------------------

    def waiting(self, loop: Any, direction: Any, log: list[Any], timeout: float | None = None) -> greenlet:
        """Start a greenlet that waits for ``direction`` and logs what came of it."""

        def wait() -> None:
            try:
                log.append(direction.wait(timeout))
            except OSError as error:
                log.append(error.errno)

        one = greenlet(wait, getcurrent())
        loop.run_callback(one.switch)
        return one

    def test_wait_for_reading(self, loop: Any, pair: Any) -> None:
        """A greenlet waits for a direction and goes on when there is an event."""
        left, right = pair
        log: list[Any] = []
        self.waiting(loop, loop.handle(left.fileno()).read, log)
        loop.run_callback(right.send, b"x")
        loop.run()
        assert log == [True]
        assert left.recv(1) == b"x"

    def test_second_waiter(self, loop: Any, pair: Any) -> None:
        """Several greenlets may wait for the same direction; an event wakes them all."""
        left, right = pair
        log: list[Any] = []
        for _ in range(3):
            self.waiting(loop, loop.handle(left.fileno()).read, log)
        loop.run_callback(right.send, b"x")
        loop.run()
        assert log == [True] * 3

    def test_event_without_a_waiter_is_remembered(self, loop: Any, pair: Any) -> None:
        """An event that finds nobody waiting is remembered as readiness; it does not make the loop spin."""
        left, right = pair
        log: list[Any] = []
        direction = loop.handle(left.fileno()).read
        self.waiting(loop, direction, log)
        loop.run_callback(right.send, b"x")
        loop.run()
        left.recv(1)
        direction.ready = False
        right.send(b"y")
        timer = loop.timer(0.02)
        timer.start(lambda: None)
        before = loop.iteration
        loop.run()
        assert direction.ready
        assert loop.iteration - before < 50  # a loop that spins makes thousands

    def test_wait_until_time_is_up(self, loop: Any, pair: Any) -> None:
        """A wait with a limit returns False when the time is up, and leaves nothing behind."""
        log: list[Any] = []
        self.waiting(loop, loop.handle(pair[0].fileno()).read, log, timeout=0.01)
        loop.run()
        assert log == [False]
        assert not loop.handle(pair[0].fileno()).read.waiting

    def test_wait_within_the_limit(self, loop: Any, pair: Any) -> None:
        """A wait with a limit returns True when the event comes first, and stops its timer."""
        left, right = pair
        log: list[Any] = []
        self.waiting(loop, loop.handle(left.fileno()).read, log, timeout=3600.0)
        loop.run_callback(right.send, b"x")
        loop.run()  # would go on for an hour if the timer still counted
        assert log == [True]

    def test_closing_wakes_waiters(self, loop: Any, pair: Any) -> None:
        """Closing a descriptor wakes every reader and writer of it with EBADF, and so does waiting for it later."""
        left, _ = pair
        handle = loop.handle(left.fileno())
        log: list[Any] = []
        self.waiting(loop, handle.read, log)
        self.waiting(loop, handle.read, log)
        loop.run_callback(loop.descriptor_closing, left.fileno())
        loop.run()
        self.waiting(loop, handle.read, log)
        loop.run()
        assert log == [errno.EBADF] * 3

    def test_closing_when_the_number_is_taken_at_once(self, loop: Any) -> None:
        """A waiter woken by a close gets EBADF although the number already belongs to a new, readable descriptor."""
        old, old_peer = socket.socketpair()
        number = old.fileno()
        log: list[Any] = []
        self.waiting(loop, loop.handle(number).read, log)
        opened: list[Any] = []

        def replace() -> None:
            loop.descriptor_closing(number)
            old.close()
            opened.extend(socket.socketpair())
            for end in opened:
                end.send(b"new")

        loop.run_callback(replace)
        loop.run()
        assert log == [errno.EBADF]
        assert opened[0].recv(10) == b"new"
        for end in (old_peer, *opened):
            end.close()

    def test_killed_waiter_loses_no_event(self, loop: Any, pair: Any) -> None:
        """A waiter that is thrown into between its event and its turn leaves the direction ready for the next one."""
        left, right = pair
        log: list[Any] = []
        direction = loop.handle(left.fileno()).read

        def wait() -> None:
            with pytest.raises(_Expected):
                direction.wait()
            log.append("killed")

        victim = greenlet(wait, getcurrent())
        loop.run_callback(victim.switch)
        loop.run(nowait=True)
        direction.ready = False
        right.send(b"x")
        loop.run(nowait=True)  # the event is dispatched: the waiter is in the run queue
        assert not direction.waiting
        loop.ready.appendleft(partial(victim.throw, _Expected()))
        loop.run()
        assert log == ["killed"]
        assert direction.ready

    # The backend half -----------------------------------------------------------------------------------------------

    def events_of(self, loop: Any, fd: int) -> int:
        """What one look at the backend reports about ``fd``."""
        found = 0
        for number, bits in loop.poll(0.0):
            if number == fd:
                found |= bits
        return found

    def test_poll_reports_what_was_armed(self, loop: Any, pair: Any) -> None:
        """poll returns pairs of descriptor and event bits, for what was armed alone."""
        left, right = pair
        loop.arm(left.fileno(), READ)
        assert self.events_of(loop, left.fileno()) == 0
        right.send(b"x")
        bits = self.events_of(loop, left.fileno())
        assert bits & loop.READ_BITS
        assert self.events_of(loop, right.fileno()) == 0
        loop.forget(left.fileno())

    def test_poll_reports_writability(self, loop: Any, pair: Any) -> None:
        """A writable descriptor that is armed for writing is reported as such."""
        left, _ = pair
        loop.arm(left.fileno(), WRITE)
        bits = self.events_of(loop, left.fileno())
        assert bits & loop.WRITE_BITS
        loop.forget(left.fileno())

    def test_arm_for_nothing(self, loop: Any, pair: Any) -> None:
        """arm(fd, 0) ends the reports; arming again starts them again."""
        left, right = pair
        right.send(b"x")
        loop.arm(left.fileno(), READ)
        loop.arm(left.fileno(), 0)
        assert self.events_of(loop, left.fileno()) == 0
        loop.arm(left.fileno(), READ)
        assert self.events_of(loop, left.fileno()) & loop.READ_BITS
        loop.forget(left.fileno())

    def test_arm_both(self, loop: Any, pair: Any) -> None:
        """Reading and writing may be armed together, and one of them dropped."""
        left, right = pair
        right.send(b"x")
        loop.arm(left.fileno(), READ | WRITE)
        bits = self.events_of(loop, left.fileno())
        assert bits & loop.READ_BITS
        assert bits & loop.WRITE_BITS
        loop.arm(left.fileno(), READ)
        left.recv(1)
        assert not self.events_of(loop, left.fileno()) & loop.WRITE_BITS & ~loop.READ_BITS
        loop.forget(left.fileno())

    def test_edge_or_level(self, loop: Any, pair: Any) -> None:
        """An edge-triggered backend reports a change once, and again and again with LEVEL; others always do."""
        left, right = pair
        right.send(b"x")
        fd = left.fileno()
        loop.arm(fd, READ | LEVEL if loop.edge_triggered else READ)
        assert [bool(self.events_of(loop, fd)) for _ in range(3)] == [True] * 3
        loop.forget(fd)
        if loop.edge_triggered:
            loop.arm(fd, READ)
            assert [bool(self.events_of(loop, fd)) for _ in range(3)] == [True, False, False]
            right.send(b"y")
            assert self.events_of(loop, fd)
            loop.forget(fd)

    def test_arm_closed_descriptor(self, loop: Any) -> None:
        """arm raises EBADF for a closed descriptor."""
        fd = os.open(os.devnull, os.O_RDONLY)
        os.close(fd)
        with pytest.raises(OSError) as caught:
            loop.arm(fd, READ)
        assert caught.value.errno == errno.EBADF

    def test_forget_unknown(self, loop: Any, pair: Any) -> None:
        """forget never raises for a descriptor that is unknown, closed or forgotten."""
        left, _ = pair
        loop.forget(54321)
        loop.forget(left.fileno())
        loop.arm(left.fileno(), READ)
        loop.forget(left.fileno())
        loop.forget(left.fileno())
        fd = os.dup(left.fileno())
        loop.arm(fd, READ)
        os.close(fd)
        loop.forget(fd)

    def test_forgotten_descriptor_is_not_reported(self, loop: Any, pair: Any) -> None:
        """A forgotten descriptor is not reported, even if it stays open and is ready."""
        left, right = pair
        right.send(b"x")
        loop.arm(left.fileno(), READ)
        loop.forget(left.fileno())
        assert self.events_of(loop, left.fileno()) == 0

    # Timers ---------------------------------------------------------------------------------------------------------

    def test_timer_fires_once(self, loop: Any) -> None:
        """A timer without repeat calls once and is then inactive."""
        seen: list[int] = []
        timer = loop.timer(0.001)
        timer.start(seen.append, 1)
        assert timer.active
        loop.run()
        assert seen == [1]
        assert not timer.active

    @pytest.mark.parametrize("after", [0.0, 0.0003, 0.001, 0.0105, 0.05])
    def test_timer_is_on_time(self, loop: Any, after: float) -> None:
        """A timer does not fire early, nor late by more than the machine's slowness explains."""
        self.only_in_real_time()
        late = []
        for _ in range(5):
            begun = time.monotonic()
            loop.timer(after).start(lambda begun=begun: late.append(time.monotonic() - begun - after))
            loop.run()
        assert min(late) >= -self.timer_early
        assert min(late) < 0.05

    def test_timer_counts_from_its_start(self, loop: Any) -> None:
        """A timer counts from the moment of its start, not from the last poll."""
        self.only_in_real_time()
        loop.run(nowait=True)
        time.sleep(0.05)
        begun = time.monotonic()
        seen: list[float] = []
        loop.timer(0.03).start(lambda: seen.append(time.monotonic() - begun))
        loop.run()
        assert seen[0] >= 0.03 - self.timer_early

    def test_timers_in_order(self, loop: Any) -> None:
        """Timers fire in order of their deadlines, in whatever order they were started."""
        delays = [0.001 * number for number in range(20)]
        random.Random(1).shuffle(delays)
        earliest, latest = {}, {}  # between two lines the machine may be busy with something else for a while
        seen: list[float] = []
        for delay in delays:
            earliest[delay] = loop.update_now() + delay
            loop.timer(delay).start(seen.append, delay)
            latest[delay] = loop.update_now() + delay
        loop.run()
        assert sorted(seen) == sorted(delays)
        for index, delay in enumerate(seen):
            assert all(earliest[delay] <= latest[other] for other in seen[index:])

    def test_many_timers_at_once(self, loop: Any) -> None:
        """Of ten thousand timers due at once none is lost and none fires twice."""
        seen: list[int] = []
        timers = [loop.timer(0.0) for _ in range(10_000)]
        for number, timer in enumerate(timers):
            timer.start(seen.append, number)
        loop.run()
        assert sorted(seen) == list(range(10_000))

    def test_timer_repeats(self, loop: Any) -> None:
        """A timer with repeat fires again and again, first after ``after``, then every ``repeat`` seconds."""
        times: list[float] = []
        timer = loop.timer(0.001, repeat=0.01)
        begun = loop.update_now()

        def tick() -> None:
            times.append(loop.now() - begun)
            if len(times) == 4:
                timer.stop()

        timer.start(tick)
        loop.run()
        assert len(times) == 4
        assert times[1] >= 0.01 - self.timer_early
        assert times[3] >= 0.03 - self.timer_early
        assert times == sorted(times)

    def test_slow_repeating_timer_does_not_pile_up(self, loop: Any) -> None:
        """Ticks that were missed while a callback was slow do not all come at once afterwards."""
        self.only_in_real_time()
        calls: list[float] = []
        timer = loop.timer(0.001, repeat=0.001)

        def slow() -> None:
            calls.append(time.monotonic())
            if len(calls) == 1:
                time.sleep(0.1)

        timer.start(slow)
        stopper = loop.timer(0.12)
        stopper.start(timer.stop)
        loop.run()
        assert len(calls) < 60

    def test_timer_stopped_before_it_fires(self, loop: Any) -> None:
        """A stopped timer does not fire and does not keep the loop."""
        seen: list[int] = []
        timer = loop.timer(0.001)
        timer.start(seen.append, 1)
        timer.stop()
        loop.run()
        assert not seen
        assert not timer.active

    def test_timer_started_again(self, loop: Any) -> None:
        """start on a running timer starts it over: one call, counted from the second start."""
        seen: list[str] = []
        timer = loop.timer(0.01)
        timer.start(seen.append, "old")
        timer.start(seen.append, "new")
        loop.run()
        assert seen == ["new"]
        timer.start(seen.append, "again")
        loop.run()
        assert seen == ["new", "again"]

    @pytest.mark.parametrize("kind", ["timer", "async_"])
    def test_arguments_changed_while_it_runs(self, loop: Any, kind: str) -> None:
        """What is assigned to ``args`` is what the callback gets; None stands for nothing."""
        seen: list[Any] = []
        watcher = loop.timer(0.001) if kind == "timer" else loop.async_()

        def note(*args: Any) -> None:
            seen.append(args)
            watcher.stop()

        for args in ((1, 2), None):
            watcher.start(note, "old")
            watcher.args = args
            if kind == "async_":
                watcher.send()
            loop.run()
        assert seen == [(1, 2), ()]

    def test_timer_restarts_itself(self, loop: Any) -> None:
        """A timer may be started again in its own callback."""
        calls = 0
        timer = loop.timer(0.0)

        def tick() -> None:
            nonlocal calls
            calls += 1
            if calls < 5:
                timer.start(tick)

        timer.start(tick)
        loop.run()
        assert calls == 5

    def test_timer_again(self, loop: Any) -> None:
        """again() starts over with repeat as the first delay; without repeat it just stops."""
        seen: list[float] = []
        begun = loop.update_now()
        timer = loop.timer(3600.0, repeat=0.01)
        timer.start(seen.append, -1.0)

        def tick() -> None:
            seen.append(loop.now() - begun)
            timer.stop()

        timer.again(tick)
        loop.run()
        assert len(seen) == 1
        assert 0.01 - self.timer_early <= seen[0] < PATIENCE
        once = loop.timer(0.001)
        once.start(seen.append, -1.0)
        once.again(seen.append, -1.0)
        assert not once.active
        loop.run()
        assert len(seen) == 1

    def test_timer_bad_times(self, loop: Any) -> None:
        """NaN is a ValueError, and so is a negative repeat; a negative delay is due at once."""
        with pytest.raises(ValueError, match="NaN"):
            loop.timer(math.nan)
        with pytest.raises(ValueError, match="NaN"):
            loop.timer(0.0, math.nan)
        with pytest.raises(ValueError, match="repeat"):
            loop.timer(0.0, -1.0)
        seen: list[int] = []
        loop.timer(-5.0).start(seen.append, 1)
        loop.run()
        assert seen == [1]

    @pytest.mark.parametrize("after", [1e9, 1e18, 1e300, math.inf])
    def test_timer_huge_times(self, loop: Any, after: float) -> None:
        """A delay of ages, even an endless one, neither overflows nor fires."""
        self.only_in_real_time()
        seen: list[int] = []
        timer = loop.timer(after)
        timer.start(seen.append, 1)
        loop.run(nowait=True)
        soon = loop.timer(0.002)
        soon.start(loop.break_)
        loop.run()
        assert not seen
        assert timer.active
        timer.stop()
        loop.run()

    def test_timer_pending(self, loop: Any) -> None:
        """A timer is pending between its time and its call, and a stop then still prevents the call."""
        seen: list[int] = []
        first, second = loop.timer(0.001), loop.timer(0.002)
        first.start(lambda: seen.append(int(second.pending)))
        second.start(seen.append, 7)
        assert not first.pending
        time.sleep(0.01)
        loop.run()
        assert seen[-1] == 7
        if self.real_time:
            assert seen == [1, 7]

    @pytest.mark.parametrize("repeat", [0.0, 3600.0])
    @pytest.mark.parametrize("ref", [True, False])
    @pytest.mark.parametrize("change", ["stop", "close", "again", "start", "unref", "ref", "flip"])
    def test_a_due_timer_counts_once(self, loop: Any, change: str, ref: bool, repeat: float) -> None:
        """Whatever is done to a timer that is due already, the loop goes on for those that run, and ends without."""
        for _ in range(3):
            due, before = loop.timer(0.0, repeat, ref=ref), loop.timer(0.0)
            changes: dict[str, Callable[[], Any]] = {
                "stop": due.stop,
                "close": due.close,
                "again": partial(due.again, int),
                "start": partial(due.start, int),
                "unref": partial(setattr, due, "ref", False),
                "ref": partial(setattr, due, "ref", True),
                "flip": _in_turn(partial(setattr, due, "ref", not ref), partial(setattr, due, "ref", ref)),
            }
            before.start(changes[change])
            due.start(int)
            time.sleep(0.001)
            loop.run(nowait=True)
            loop.run(nowait=True)
            due.stop()
        late = loop.timer(0.005)
        late.start(int)
        loop.run()
        assert not late.active, "the loop ended while a timer ran"
        stray = loop.timer(3600.0, ref=False)
        stray.start(int)
        loop.run()
        assert stray.active
        stray.stop()

    @pytest.mark.parametrize("repeat", [0.0, 0.0001])
    def test_restarted_while_due(self, loop: Any, repeat: float) -> None:
        """A timer that is due, stopped and started anew is called when its new time has come, not before."""
        seen: list[str] = []
        timer, before = loop.timer(0.0, repeat), loop.timer(0.0)

        def restart() -> None:
            timer.stop()
            timer.after = 3600.0
            timer.start(seen.append, "too early")

        before.start(restart)
        timer.start(seen.append, "in spite of stop")
        time.sleep(0.001)
        loop.run(nowait=True)
        loop.run(nowait=True)
        assert seen == []
        timer.stop()

    def test_repeating_timer_is_queued_once(self, loop: Any) -> None:
        """A repeating timer whose call has to wait for several turns is queued once, and stop takes it out."""
        seen: list[int] = []
        timer = loop.timer(0.0, 0.0001)
        timer.start(seen.append, 1)
        for _ in range(5000):
            loop.run_callback(int)
        for _ in range(3):
            loop.run(nowait=True)
            time.sleep(0.001)
        assert len(loop.ready) > 1000
        assert timer.pending
        timer.stop()
        loop.run(nowait=True)
        loop.run()
        assert seen == []
        timer.start(seen.append, 1)
        for _ in range(5000):
            loop.run_callback(int)
        while not seen:
            loop.run(nowait=True)
        assert seen == [1]
        timer.stop()

    def test_call_later(self, loop: Any) -> None:
        """call_later queues a callback after a time; cancel_later takes it back, also when it is queued already."""
        seen: list[int] = []
        kept, dropped, late = (partial(seen.append, number) for number in (1, 2, 3))
        loop.call_later(0.001, kept)
        key = loop.call_later(0.001, dropped)
        loop.cancel_later(key, dropped)
        late_key = loop.call_later(0.0, late)
        while not loop.ready:
            loop.run(once=True)
        assert late in loop.ready, "the timer's callback was called, not queued"
        loop.cancel_later(late_key, late)
        loop.run()
        assert seen == [1]

    def test_now_is_monotonic_time(self, loop: Any) -> None:
        """now() is time.monotonic() of the last poll, update_now() reads the clock."""
        self.only_in_real_time()
        before = time.monotonic()
        now = loop.update_now()
        assert before - 0.002 <= now <= time.monotonic() + 0.002
        assert loop.now() == pytest.approx(now)
        time.sleep(0.005)
        assert loop.update_now() - now >= 0.004

    def test_poll_waits_for_a_timer(self, loop: Any) -> None:
        """While nothing happens, the loop sleeps: the CPU is idle until the timer is due."""
        self.only_in_real_time()
        cpu = time.process_time()
        loop.timer(0.2).start(lambda: None)
        before = loop.iteration
        loop.run()
        assert time.process_time() - cpu < 0.1
        assert loop.iteration - before < 20

    # Threads --------------------------------------------------------------------------------------------------------

    def test_callback_from_another_thread(self, loop: Any) -> None:
        """run_callback_threadsafe from another thread wakes a waiting loop; the call happens on the loop's thread."""
        seen: list[int] = []
        keep = loop.async_()
        keep.start(lambda: None)

        def arrived() -> None:
            seen.append(threading.get_ident())
            keep.stop()

        thread = threading.Timer(0.02, loop.run_callback_threadsafe, [arrived])
        thread.start()
        begun = time.monotonic()
        loop.run()
        thread.join()
        assert seen == [threading.get_ident()]
        assert time.monotonic() - begun < PATIENCE

    def test_wake_up_is_quick(self, loop: Any) -> None:
        """A wake-up from another thread takes effect within 50 milliseconds, however long the loop would wait."""
        delays: list[float] = []
        far = loop.timer(3600.0) if self.real_time else loop.async_()
        far.start(lambda: None)

        def wake() -> None:
            for _ in range(5):
                time.sleep(0.01)
                sent = time.monotonic()
                done = threading.Event()

                def arrived(sent: float = sent, done: threading.Event = done) -> None:
                    delays.append(time.monotonic() - sent)
                    done.set()

                loop.run_callback_threadsafe(arrived)
                done.wait(PATIENCE)
            loop.run_callback_threadsafe(far.stop)

        thread = threading.Thread(target=wake)
        thread.start()
        loop.run()
        thread.join()
        assert len(delays) == 5
        assert sorted(delays)[1] < 0.05  # of five: a busy machine delays threads too

    def test_wake_ends_a_waiting_poll(self, loop: Any) -> None:
        """wake() from another thread makes a waiting poll return."""
        woken = threading.Event()

        def wake() -> None:
            while not woken.is_set():
                time.sleep(0.01)
                loop.wake()

        thread = threading.Thread(target=wake)
        thread.start()
        try:
            keep = loop.async_()
            keep.start(lambda: None)
            loop.run(once=True)
        finally:
            woken.set()
            thread.join()

    def test_many_threads(self, loop: Any) -> None:
        """Callbacks from several threads at once all run, once each, those of one thread in order."""
        seen: list[tuple[int, int]] = []
        keep = loop.async_()
        keep.start(lambda: None)

        def feed(name: int) -> None:
            for number in range(500):
                loop.run_callback_threadsafe(seen.append, (name, number))

        threads = [threading.Thread(target=feed, args=(name,)) for name in range(4)]

        def finish() -> None:
            for thread in threads:
                thread.join()
            loop.run_callback_threadsafe(keep.stop)

        finisher = threading.Thread(target=finish)
        for thread in (*threads, finisher):
            thread.start()
        loop.run()
        finisher.join()
        assert len(seen) == 2000
        for name in range(4):
            assert [number for owner, number in seen if owner == name] == list(range(500))

    def test_async_watcher(self, loop: Any) -> None:
        """send() of an async watcher, from any thread, calls back on the loop; several sends may count as one."""
        seen: list[int] = []
        watcher = loop.async_()

        def arrived() -> None:
            seen.append(threading.get_ident())
            watcher.stop()

        watcher.start(arrived)
        thread = threading.Timer(0.01, lambda: [watcher.send() for _ in range(100)])
        thread.start()
        loop.run()
        thread.join()
        assert seen == [threading.get_ident()]

    def test_async_send_while_stopped(self, loop: Any) -> None:
        """send() of a stopped async watcher does nothing."""
        watcher = loop.async_()
        watcher.send()
        seen: list[int] = []
        watcher.start(seen.append, 1)
        loop.run(nowait=True)
        watcher.stop()
        assert not seen

    def test_waiting_releases_the_interpreter(self, loop: Any) -> None:
        """While the loop waits, other threads run Python code."""
        self.only_in_real_time()
        count = 0
        stop = threading.Event()

        def work() -> None:
            nonlocal count
            while not stop.is_set():
                count += 1
                time.sleep(0)

        thread = threading.Thread(target=work)
        thread.start()
        time.sleep(0.01)
        before = count
        loop.timer(0.1).start(lambda: None)
        loop.run()
        done = count - before
        stop.set()
        thread.join()
        assert done > 100

    def test_loop_in_another_thread(self, loop_class: type[Any]) -> None:
        """A loop can be made, used and destroyed in a thread that is not the main one."""
        seen: list[Any] = []

        def use() -> None:
            loop = loop_class()
            try:
                left, right = socket.socketpair()
                with left, right:
                    right.send(b"x")
                    watcher = loop.io(left.fileno(), READ)
                    watcher.start(_in_turn(partial(seen.append, "read"), watcher.close))
                    loop.timer(0.001).start(seen.append, "timer")
                    loop.run()
                    loop.descriptor_closing(left.fileno())
            finally:
                loop.destroy()

        thread = threading.Thread(target=use)
        thread.start()
        thread.join(PATIENCE)
        assert sorted(seen) == ["read", "timer"]

    # Signals --------------------------------------------------------------------------------------------------------

    @_posix
    def test_signal_watcher(self, loop: Any) -> None:
        """A signal calls its watchers on the loop; the previous handler comes back when the last one stops."""
        previous = signal.getsignal(signal.SIGUSR1)
        seen: list[str] = []
        first, second = loop.signal(signal.SIGUSR1), loop.signal(signal.SIGUSR1)
        first.start(_in_turn(partial(seen.append, "first"), first.stop))
        second.start(_in_turn(partial(seen.append, "second"), second.stop))
        loop.run_callback(os.kill, os.getpid(), signal.SIGUSR1)
        loop.run()
        assert sorted(seen) == ["first", "second"]
        assert signal.getsignal(signal.SIGUSR1) == previous

    @_posix
    def test_signal_ends_a_wait(self, loop: Any) -> None:
        """A signal that arrives while the loop waits is handled at once, not at the next timer."""
        seen: list[float] = []
        watcher = loop.signal(signal.SIGUSR1)

        def arrived() -> None:
            seen.append(time.monotonic())
            watcher.stop()

        watcher.start(arrived)
        sent: list[float] = []

        def send() -> None:
            time.sleep(0.02)
            sent.append(time.monotonic())
            os.kill(os.getpid(), signal.SIGUSR1)

        thread = threading.Thread(target=send)
        thread.start()
        loop.run()
        thread.join()
        assert seen[0] - sent[0] < 1.0

    @_posix
    def test_handler_of_python_runs_while_waiting(self, loop: Any) -> None:
        """A handler set by signal.signal runs at once while the loop waits, and its failure is reported."""
        seen: list[float] = []
        keep = loop.async_()
        keep.start(lambda: None)

        def handler(*_: Any) -> None:
            seen.append(time.monotonic())
            loop.run_callback(keep.stop)

        previous = signal.signal(signal.SIGUSR2, handler)
        try:
            sent: list[float] = []

            def send() -> None:
                time.sleep(0.02)
                sent.append(time.monotonic())
                os.kill(os.getpid(), signal.SIGUSR2)

            thread = threading.Thread(target=send)
            thread.start()
            loop.run()
            thread.join()
        finally:
            signal.signal(signal.SIGUSR2, previous)
        assert seen[0] - sent[0] < 1.0

    @_posix
    def test_handler_that_raises_while_waiting(self, loop: Any, recorder: Recorder) -> None:
        """What a signal handler raises while the loop waits goes to the error handler, without a context."""

        def handler(*_: Any) -> None:
            raise _Expected

        keep = loop.async_()
        keep.start(lambda: None)
        previous = signal.signal(signal.SIGUSR2, handler)
        try:

            def send() -> None:
                time.sleep(0.02)
                os.kill(os.getpid(), signal.SIGUSR2)
                time.sleep(0.02)
                loop.run_callback_threadsafe(keep.stop)

            thread = threading.Thread(target=send)
            thread.start()
            loop.run()
            thread.join()
        finally:
            signal.signal(signal.SIGUSR2, previous)
        [(context, error)] = recorder.take()
        assert context is None
        assert isinstance(error, _Expected)

    @pytest.mark.parametrize("number", [0, -1, signal.NSIG, 10_000])
    def test_signal_unknown_number(self, loop: Any, number: int) -> None:
        """A number that is no signal is a ValueError."""
        with pytest.raises(ValueError, match="signal"):
            loop.signal(number)

    # Children, files, forks -----------------------------------------------------------------------------------------

    @_needs_fork
    @_needs_pidfd
    @pytest.mark.parametrize("status", [0, 7])
    def test_child_watcher(self, loop: Any, status: int) -> None:
        """A child watcher is called when the process has ended, and knows its status."""
        child = subprocess.Popen([sys.executable, "-S", "-c", f"raise SystemExit({status})"])
        watcher = loop.child(child.pid)
        watcher.start(watcher.stop)
        loop.run()
        child.returncode = os.waitstatus_to_exitcode(watcher.rstatus)
        assert (watcher.rpid, child.returncode) == (child.pid, status)

    @_needs_fork
    @_needs_pidfd
    def test_child_that_has_ended_already(self, loop: Any) -> None:
        """A child that ended before its watcher started is reported all the same."""
        child = subprocess.Popen([sys.executable, "-S", "-c", ""], stdout=subprocess.PIPE)
        assert child.stdout is not None
        child.stdout.read()
        child.stdout.close()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        watcher = loop.child(child.pid)
        watcher.start(watcher.stop)
        loop.run()
        child.returncode = os.waitstatus_to_exitcode(watcher.rstatus)
        assert child.returncode == 0

    @_needs_pidfd
    def test_child_of_nobody(self, loop: Any) -> None:
        """A process that is gone, reaped by somebody else, counts as ended with status 255."""
        child = subprocess.Popen([sys.executable, "-S", "-c", ""])
        child.wait()
        watcher = loop.child(child.pid)
        watcher.start(watcher.stop)
        loop.run()
        assert os.waitstatus_to_exitcode(watcher.rstatus) == 255

    @pytest.mark.parametrize("pid", [0, -1])
    def test_child_bad_number(self, loop: Any, pid: int) -> None:
        """A process id below 1 is a ValueError."""
        with pytest.raises(ValueError, match="process"):
            loop.child(pid)

    def test_stat_watcher(self, loop: Any, tmp_path: Path) -> None:
        """A stat watcher is called when a file appears, changes and goes; attr and prev tell what changed."""
        path = tmp_path / "file"
        seen: list[tuple[int | None, int | None]] = []
        steps: list[Callable[[], Any]] = [
            partial(path.write_bytes, b"one"),
            partial(path.write_bytes, b"three"),
            path.unlink,
        ]
        watcher = loop.stat(str(path), interval=0.01)

        def changed() -> None:
            seen.append(
                (
                    watcher.prev.st_size if watcher.prev is not None and watcher.prev.st_nlink else None,
                    watcher.attr.st_size if watcher.attr is not None and watcher.attr.st_nlink else None,
                )
            )
            if steps:
                steps.pop(0)()
            else:
                watcher.stop()

        watcher.start(changed)
        steps.pop(0)()
        loop.run()
        assert seen == [(None, 3), (3, 5), (5, None)]

    def in_child(self, work: Callable[[], object]) -> None:
        """Fork, do ``work`` in the child, and fail with its traceback if it raised or took too long."""
        reader, writer = os.pipe()
        pid = os.fork()
        if not pid:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.setitimer(signal.ITIMER_REAL, self.patience)
            code = 1
            try:
                work()
                code = 0
            except BaseException:
                os.write(writer, traceback.format_exc().encode())
            finally:
                os._exit(code)
        os.close(writer)
        try:
            with open(reader, "rb") as output:
                text = output.read().decode()
        except BaseException:
            os.kill(pid, signal.SIGKILL)
            raise
        finally:
            status = os.waitpid(pid, 0)[1]
        assert os.waitstatus_to_exitcode(status) == 0, text or "the child hung"

    @_needs_fork
    def test_reinit_in_the_child(self, loop: Any, pair: Any) -> None:
        """After fork and reinit the child's loop works and has nothing of the parent's; the parent's goes on."""
        left, right = pair
        seen: list[str] = []
        watcher = loop.io(left.fileno(), READ)
        watcher.start(_in_turn(partial(seen.append, "parent"), watcher.stop))
        timer = loop.timer(3600.0)
        timer.start(seen.append, "parent's timer")
        loop.run_callback(seen.append, "parent's callback")

        def child() -> None:
            loop.reinit()
            loop.run()  # nothing of the parent is waited for
            assert seen == []
            mine, peer = socket.socketpair()
            watcher = loop.io(mine.fileno(), READ)
            watcher.start(_in_turn(partial(seen.append, "child"), watcher.close))
            peer.send(b"x")
            loop.timer(0.001).start(seen.append, "child's timer")
            loop.run()
            assert sorted(seen) == ["child", "child's timer"]

        self.in_child(child)
        timer.stop()
        right.send(b"x")
        loop.run()
        assert sorted(seen) == ["parent", "parent's callback"]

    @_needs_fork
    def test_fork_watcher(self, loop: Any) -> None:
        """A fork watcher is called in the child by reinit, and not in the parent."""
        seen: list[int] = []
        watcher = loop.fork(ref=False)
        watcher.start(seen.append, 1)

        def child() -> None:
            loop.reinit()
            loop.run()
            assert seen == [1]

        self.in_child(child)
        loop.run()
        assert seen == []

    @_needs_fork
    def test_wake_up_in_the_child(self, loop: Any) -> None:
        """In the child, threads wake the loop as they do in the parent."""

        def child() -> None:
            loop.reinit()
            keep = loop.async_()
            keep.start(lambda: None)
            thread = threading.Timer(0.01, loop.run_callback_threadsafe, [keep.stop])
            thread.start()
            loop.run()
            thread.join()

        self.in_child(child)

    @_needs_fork
    def test_destroy_in_the_child(self, loop: Any, pair: Any) -> None:
        """Destroying the loop in the child leaves the parent's alone."""
        left, right = pair
        seen: list[int] = []
        watcher = loop.io(left.fileno(), READ)
        watcher.start(_in_turn(partial(seen.append, 1), watcher.stop))
        loop.run(nowait=True)

        def child() -> None:
            loop.reinit()
            loop.destroy()

        self.in_child(child)
        right.send(b"x")
        loop.run()
        assert seen == [1]

    # The end --------------------------------------------------------------------------------------------------------

    def test_destroy_twice(self, loop: Any) -> None:
        """destroy is idempotent."""
        loop.destroy()
        loop.destroy()
        assert loop.destroyed

    def test_everything_after_destroy_raises(self, loop: Any, pair: Any) -> None:
        """A destroyed loop raises LoopDestroyed at everything that would need it."""
        timer = loop.timer(1.0)
        watcher = loop.io(pair[0].fileno(), READ)
        loop.destroy()
        uses: list[Callable[[], Any]] = [
            loop.run,
            partial(loop.run_callback, print),
            partial(loop.run_callback_threadsafe, print),
            partial(loop.io, pair[0].fileno(), READ),
            partial(loop.timer, 1.0),
            partial(loop.handle, pair[0].fileno()),
            partial(timer.start, print),
            partial(watcher.start, print),
        ]
        for use in uses:
            with pytest.raises(LoopDestroyed):
                use()

    def test_harmless_after_destroy(self, loop: Any, pair: Any) -> None:
        """Stopping, closing, waking and asking are harmless on a destroyed loop."""
        watchers = self.all_watchers(loop, pair)
        for watcher in watchers:
            watcher.start(lambda: None)
        callback = partial(int)
        key = loop.call_later(10.0, callback)
        loop.destroy()
        for watcher in watchers:
            watcher.stop()
            watcher.close()
            assert not watcher.active
        loop.cancel_later(key, callback)
        loop.unschedule(callback)
        loop.descriptor_closing(pair[0].fileno())
        loop.wake()
        loop.break_()

    def test_destroy_in_a_callback(self, loop: Any, pair: Any) -> None:
        """A callback may destroy the loop: run returns, and nothing else is called."""
        left, right = pair
        right.send(b"x")
        seen: list[int] = []
        loop.io(left.fileno(), READ).start(seen.append, 1)
        loop.timer(0.0).start(seen.append, 2)
        loop.run_callback(loop.destroy)
        loop.run_callback(seen.append, 3)
        loop.run()
        assert seen == []

    def test_destroy_with_waiting_greenlets(self, loop: Any, pair: Any) -> None:
        """Greenlets that wait when the loop is destroyed end quietly when they are collected."""
        log: list[Any] = []
        self.waiting(loop, loop.handle(pair[0].fileno()).read, log)
        self.waiting(loop, loop.handle(pair[0].fileno()).write, log, timeout=3600.0)
        self.waiting(loop, loop.handle(pair[1].fileno()).read, log, timeout=3600.0)
        loop.run(nowait=True)
        loop.destroy()
        gc.collect()
        assert all(entry in (True, False, errno.EBADF) for entry in log)

    @_posix
    def test_destroy_closes_all_descriptors(self, loop_class: type[Any]) -> None:
        """A hundred loops made, used and destroyed leave no descriptor open."""
        loop_class().destroy()
        before = len(open_descriptors())
        for _ in range(100):
            loop = loop_class()
            timer = loop.timer(10.0)
            timer.start(print)
            loop.run(nowait=True)
            loop.destroy()
        assert len(open_descriptors()) == before

    def test_dropped_loop_is_collected(self, loop_class: type[Any]) -> None:
        """A destroyed loop that nobody refers to is freed."""
        import weakref

        loop = loop_class()
        loop.timer(10.0).start(print)
        loop.run_callback(print)
        gone = weakref.ref(loop)
        loop.destroy()
        del loop
        gc.collect()
        assert gone() is None

    @pytest.mark.parametrize("seed", range(5))
    def test_random_calls(self, loop: Any, recorder: Recorder, seed: int) -> None:
        """Thousands of calls of the watcher interface in random order raise Python exceptions at most, never crash."""
        rng = random.Random(seed)
        _RandomCalls(loop, rng).run(2000)
        recorder.take()


class _RandomCalls:
    """Makes, starts, stops, closes and fires watchers, and opens and closes descriptors, in random order."""

    def __init__(self, loop: Any, rng: random.Random) -> None:
        self.loop = loop
        self.rng = rng
        self.pairs: list[tuple[socket.socket, socket.socket]] = []
        self.watchers: list[Any] = []
        self.steps = (self.open, self.make, self.start, self.stop, self.close, self.send, self.turn, self.shut)

    def run(self, count: int) -> None:
        try:
            for _ in range(count):
                self.rng.choice(self.steps)()
        finally:
            for watcher in self.watchers:
                watcher.close()
            while self.pairs:
                self.shut()
        self.loop.run()

    def open(self) -> None:
        if len(self.pairs) < 10:
            left, right = socket.socketpair()
            left.setblocking(False)
            right.setblocking(False)
            self.pairs.append((left, right))

    def make(self) -> None:
        if len(self.watchers) > 40:
            return
        kind = self.rng.randrange(6)
        if kind < 3 and self.pairs:
            end = self.rng.choice(self.rng.choice(self.pairs))
            self.watchers.append(self.loop.io(end.fileno(), self.rng.choice([READ, WRITE, READ | WRITE])))
        elif kind == 3:
            repeat = self.rng.choice([0.0, 0.001])
            self.watchers.append(self.loop.timer(self.rng.choice([-1.0, 0.0, 0.001, 5.0]), repeat))
        else:
            make = self.rng.choice([self.loop.async_, self.loop.prepare, self.loop.check, self.loop.idle])
            self.watchers.append(make(ref=self.rng.random() < 0.5))

    def start(self) -> None:
        if not self.watchers:
            return
        watcher = self.rng.choice(self.watchers)
        try:
            watcher.start(self.rng.choice([self.stop, self.close, self.send, self.make, self.fail, int]))
        except (OSError, ValueError):
            pass  # its descriptor is closed, or the watcher is

    def fail(self) -> None:
        raise _Expected

    def stop(self) -> None:
        if self.watchers:
            self.rng.choice(self.watchers).stop()

    def close(self) -> None:
        if self.watchers:
            index = self.rng.randrange(len(self.watchers))
            self.watchers.pop(index).close()

    def send(self) -> None:
        if self.pairs:
            end = self.rng.choice(self.rng.choice(self.pairs))
            try:
                end.send(b"x")
            except OSError:
                pass  # full

    def turn(self) -> None:
        self.loop.run(nowait=True)

    def shut(self) -> None:
        if self.pairs:
            index = self.rng.randrange(len(self.pairs))
            for end in self.pairs.pop(index):
                if self.rng.random() < 0.8:
                    self.loop.descriptor_closing(end.fileno())
                end.close()
