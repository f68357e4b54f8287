"""Watchers in general."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import pytest
from hubbub.abc import READ

from hubbub_testkit.conformance.kit import Expected, Kit, Recorder, in_turn

__all__ = ["WatcherPromises"]


class WatcherPromises(Kit):
    """Watchers start, stop, close, fail and keep the loop going."""

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
        """A second start of an active watcher replaces the callback; there is still one call for each event."""
        left, right = pair
        seen: list[str] = []
        watcher = loop.io(left.fileno(), READ)
        watcher.start(seen.append, "old")
        watcher.start(in_turn(partial(seen.append, "new"), watcher.stop))
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
        """A watcher of any kind may close itself in its callback, and is not called again."""
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
            raise Expected

        for watcher in watchers:
            watcher.start(close, watcher)
        loop.run()
        errors = recorder.take()
        assert [type(error) for _, error in errors] == [Expected] * 3
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
            raise Expected

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
        first.start(in_turn(partial(seen.append, "first"), second.stop))
        second.start(seen.append, "second")
        time.sleep(0.01)
        loop.run()
        assert seen == ["first"]
