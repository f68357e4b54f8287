"""Phase 1 of a turn: the run queue."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hubbub.abc import READ

from hubbub_testkit.conformance.kit import PATIENCE, Expected, Kit, Recorder

__all__ = ["CallbackPromises"]


class CallbackPromises(Kit):
    """Callbacks run in order and fairly, and their failures are reported."""

    def test_repr_in_every_state(self, new_loop: Callable[[], Any]) -> None:
        """A loop can show itself while idle, while running and after its destruction."""
        loop = new_loop()
        texts = [repr(loop)]
        loop.run_callback(lambda: texts.append(repr(loop)))
        loop.run()
        loop.destroy()
        texts.append(repr(loop))
        assert ["destroyed" in text for text in texts] == [False, False, True]
        assert all(type(loop).__name__ in text for text in texts)

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
        """run_callback refuses what is not callable at once."""
        for give in (loop.run_callback, loop.run_callback_threadsafe, loop.timer(1).start, loop.io(0, READ).start):
            with pytest.raises(TypeError, match="callable"):
                give(None)

    def test_callback_that_raises(self, loop: Any, recorder: Recorder) -> None:
        """A callback's failure goes to the error handler with the callback as context; the others run."""
        seen: list[int] = []

        def fail() -> None:
            raise Expected

        loop.run_callback(fail)
        loop.run_callback(seen.append, 1)
        loop.run()
        [(context, error)] = recorder.take()
        assert context == fail
        assert isinstance(error, Expected)
        assert seen == [1]

    def test_bare_callable_that_raises(self, loop: Any, recorder: Recorder) -> None:
        """A callable that was put straight into the run queue and fails does not stop the calls behind it."""
        seen: list[int] = []

        def fail() -> None:
            raise Expected

        loop.ready.extend([fail, partial(seen.append, 1), fail, partial(seen.append, 2)])
        loop.run()
        assert [type(error) for _, error in recorder.take()] == [Expected, Expected]
        assert seen == [1, 2]

    def test_failure_without_a_handler_is_printed(self, loop: Any, capsys: pytest.CaptureFixture[str]) -> None:
        """With no error handler a failure is printed with its traceback, never lost."""

        def fail() -> None:
            raise Expected("printed")

        loop.error_handler = None
        loop.run_callback(fail)
        loop.run()
        assert "Expected: printed" in capsys.readouterr().err

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
        # The event's callback is queued behind those that are there at the poll; what matters is that the loop polls.
        assert loop.iteration > 2
