"""Signals."""

from __future__ import annotations

import os
import signal
import threading
import time
from functools import partial
from typing import Any

import pytest

from hubbub_testkit.conformance.kit import Expected, Kit, Recorder, in_turn, posix

__all__ = ["SignalPromises"]


class SignalPromises(Kit):
    """Signals end a poll, and their watchers are called."""

    @posix
    def test_signal_watcher(self, loop: Any) -> None:
        """A signal calls its watchers on the loop; the previous handler comes back when the last one stops."""
        previous = signal.getsignal(signal.SIGUSR1)
        seen: list[str] = []
        first, second = loop.signal(signal.SIGUSR1), loop.signal(signal.SIGUSR1)
        first.start(in_turn(partial(seen.append, "first"), first.stop))
        second.start(in_turn(partial(seen.append, "second"), second.stop))
        loop.run_callback(os.kill, os.getpid(), signal.SIGUSR1)
        loop.run()
        assert sorted(seen) == ["first", "second"]
        assert signal.getsignal(signal.SIGUSR1) == previous

    @posix
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

    @posix
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

    @posix
    def test_handler_that_raises_while_waiting(self, loop: Any, recorder: Recorder) -> None:
        """An error of a signal handler while the loop waits goes to the error handler, without a context."""

        def handler(*_: Any) -> None:
            raise Expected

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
        assert isinstance(error, Expected)

    @pytest.mark.parametrize("number", [0, -1, signal.NSIG, 10_000])
    def test_signal_unknown_number(self, loop: Any, number: int) -> None:
        """A number that is not a signal's is a ValueError."""
        with pytest.raises(ValueError, match="signal"):
            loop.signal(number)
