"""The end of a loop."""

from __future__ import annotations

import errno
import gc
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hubbub.abc import READ
from hubbub.exceptions import LoopDestroyed

from hubbub_testkit.conformance.kit import Kit, posix
from hubbub_testkit.greenlets import open_descriptors

__all__ = ["DestructionPromises"]


class DestructionPromises(Kit):
    """A destroyed loop refuses operations that need it, and leaves nothing behind."""

    def test_destroy_twice(self, loop: Any) -> None:
        """destroy is idempotent."""
        loop.destroy()
        loop.destroy()
        assert loop.destroyed

    def test_everything_after_destroy_raises(self, loop: Any, pair: Any) -> None:
        """Every operation that needs the loop raises LoopDestroyed when it is destroyed."""
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
        """Stopping and closing watchers, waking and reading attributes are harmless on a destroyed loop."""
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

    @posix
    def test_destroy_closes_all_descriptors(self, new_loop: Callable[[], Any]) -> None:
        """A hundred loops made, used and destroyed leave no descriptor open."""
        new_loop().destroy()
        before = len(open_descriptors())
        for _ in range(100):
            loop = new_loop()
            timer = loop.timer(10.0)
            timer.start(print)
            loop.run(nowait=True)
            loop.destroy()
        assert len(open_descriptors()) == before

    def test_dropped_loop_is_collected(self, new_loop: Callable[[], Any]) -> None:
        """A destroyed loop without references is freed."""
        import weakref

        loop = new_loop()
        loop.timer(10.0).start(print)
        loop.run_callback(print)
        gone = weakref.ref(loop)
        loop.destroy()
        del loop
        gc.collect()
        assert gone() is None
