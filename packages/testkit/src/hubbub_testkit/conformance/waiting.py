"""Greenlets that wait for descriptors."""

from __future__ import annotations

import errno
import socket
from functools import partial
from typing import Any

import pytest
from greenlet import getcurrent, greenlet

from hubbub_testkit.conformance.kit import Expected, Kit

__all__ = ["WaitingPromises"]


class WaitingPromises(Kit):
    """Events wake the greenlets that wait, and none is lost."""

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
        """An event without a waiter is remembered, for the next wait; it does not make the loop spin."""
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
        """A wait with a time limit returns False when the time is up, and leaves nothing behind."""
        log: list[Any] = []
        self.waiting(loop, loop.handle(pair[0].fileno()).read, log, timeout=0.01)
        loop.run()
        assert log == [False]
        assert not loop.handle(pair[0].fileno()).read.waiting

    def test_wait_within_the_limit(self, loop: Any, pair: Any) -> None:
        """A wait with a time limit returns True when the event comes first, and stops its timer."""
        left, right = pair
        log: list[Any] = []
        self.waiting(loop, loop.handle(left.fileno()).read, log, timeout=3600.0)
        loop.run_callback(right.send, b"x")
        loop.run()  # would go on for an hour if the timer still counted
        assert log == [True]

    def test_closing_wakes_waiters(self, loop: Any, pair: Any) -> None:
        """Closing a descriptor wakes all that wait for it with EBADF, and a later wait for it raises EBADF too."""
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
        """A waiter that is interrupted between its event and its switch leaves the direction ready for the next one."""
        left, right = pair
        log: list[Any] = []
        direction = loop.handle(left.fileno()).read

        def wait() -> None:
            with pytest.raises(Expected):
                direction.wait()
            log.append("killed")

        victim = greenlet(wait, getcurrent())
        loop.run_callback(victim.switch)
        loop.run(nowait=True)
        direction.ready = False
        right.send(b"x")
        loop.run(nowait=True)  # the event is dispatched: the waiter is in the run queue
        assert not direction.waiting
        loop.ready.appendleft(partial(victim.throw, Expected()))
        loop.run()
        assert log == ["killed"]
        assert direction.ready
