"""Random calls."""

from __future__ import annotations

import random
import socket
from typing import Any

import pytest
from hubbub.abc import READ, WRITE

from hubbub_testkit.conformance.kit import Expected, Kit, Recorder

__all__ = ["RandomPromises"]


class RandomPromises(Kit):
    """The loop goes on, whatever is called in whatever order."""

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
            pass  # the watcher or its descriptor is closed

    def fail(self) -> None:
        raise Expected

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
                pass  # the buffer is full

    def turn(self) -> None:
        self.loop.run(nowait=True)

    def shut(self) -> None:
        if self.pairs:
            index = self.rng.randrange(len(self.pairs))
            for end in self.pairs.pop(index):
                if self.rng.random() < 0.8:
                    self.loop.descriptor_closing(end.fileno())
                end.close()
