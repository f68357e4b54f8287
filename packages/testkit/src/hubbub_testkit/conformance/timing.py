"""Timers and the clock."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from hubbub_testkit.conformance.kit import PATIENCE, Kit, in_turn

__all__ = ["TimerPromises"]


class TimerPromises(Kit):
    """Timers fire on time, in order, once or again and again."""

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
        """A timer does not fire early, nor later than a slow machine explains."""
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
        earliest, latest = {}, {}  # the machine may be busy with something else between two lines
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
        """A stopped timer does not fire and does not keep the loop going."""
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
        """The callback gets what was assigned to ``args``; None stands for no arguments."""
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
        """A very long delay, even an infinite one, neither overflows nor fires."""
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
        """A timer is pending between its deadline and its call, and a stop then still prevents the call."""
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
        """Whatever is done to a timer that is due already, the loop goes on while timers run, and then ends."""
        for _ in range(3):
            due, before = loop.timer(0.0, repeat, ref=ref), loop.timer(0.0)
            changes: dict[str, Callable[[], Any]] = {
                "stop": due.stop,
                "close": due.close,
                "again": partial(due.again, int),
                "start": partial(due.start, int),
                "unref": partial(setattr, due, "ref", False),
                "ref": partial(setattr, due, "ref", True),
                "flip": in_turn(partial(setattr, due, "ref", not ref), partial(setattr, due, "ref", ref)),
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
        """A timer that is due, stopped and started again is called at its new deadline, not before."""
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
        """A repeating timer whose call has to wait for several turns is queued once, and stop removes it."""
        seen: list[int] = []
        crowded = True

        def again() -> None:  # what is queued in a turn ends it, once its budget is spent
            if crowded:
                loop.run_callback(again)

        def crowd() -> None:
            for _ in range(5000):
                loop.run_callback(again)

        loop.turn_seconds = 0.0
        timer = loop.timer(0.0, 0.0001)
        timer.start(seen.append, 1)
        crowd()
        for _ in range(3):
            loop.run(nowait=True)
            time.sleep(0.001)
        assert len(loop.ready) > 1000
        assert timer.pending
        timer.stop()
        crowded = False
        loop.run()
        assert seen == []
        timer.start(seen.append, 1)
        crowd()
        while not seen:
            loop.run(nowait=True)
        assert seen == [1]
        timer.stop()

    def test_call_later(self, loop: Any) -> None:
        """call_later queues a callback after a time; cancel_later cancels it, also when it is queued already."""
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
        cpu = time.thread_time()
        loop.timer(0.2).start(lambda: None)
        before = loop.iteration
        loop.run()
        assert time.thread_time() - cpu < 0.1
        assert loop.iteration - before < 20
