"""Phases 2 to 6 of a turn, and the end of a run."""

from __future__ import annotations

import time
from typing import Any

from hubbub.abc import READ

from hubbub_testkit.conformance.kit import PATIENCE, Kit

__all__ = ["PhasePromises"]


class PhasePromises(Kit):
    """Prepare, poll, dispatch, check and idle come in their order, and run ends when nothing is left."""

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
        """While an idle watcher is active, the loop polls without waiting."""
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
        """An event only puts the callback into the run queue, from which a stop still removes it."""
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

    def test_run_ends_when_nothing_is_left(self, loop: Any) -> None:
        """run() of a loop that has nothing to run or to wait for returns at once."""
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
        """A callback may run the loop itself: what is due runs, and nothing is lost or called twice."""
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
        """A watcher with ref=False, of any kind, does not keep the loop going."""
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
        """A watcher that was stopped or closed does not keep the loop going."""
        for end in ("stop", "close"):
            for watcher in (loop.io(pair[0].fileno(), READ), loop.timer(3600.0), loop.async_(), loop.check()):
                watcher.start(lambda: None)
                getattr(watcher, end)()
        loop.run()
