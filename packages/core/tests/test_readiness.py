"""Readiness of a descriptor: what the backend is told, and when."""

from __future__ import annotations

import socket

import hubbub
import pytest
from hubbub.abc import READ
from hubbub.loop.readiness import Readiness


class Recording:
    """As much of a level-triggered loop and its backend as a readiness needs; notes what it is asked for."""

    edge_triggered = False

    def __init__(self):
        self.ready = []
        self.armed = []
        self._backend = self

    def arm(self, fd, events):
        self.armed.append(events)


@pytest.fixture
def reading():
    left, right = socket.socketpair()
    with left, right:
        direction = Readiness(Recording(), left.fileno()).read
        direction.armed = True
        direction.handle.update()
        yield direction


def test_report_before_the_woken_one_ran(reading):
    """A second report, before the one who was woken has had its turn, changes nothing in the kernel."""
    reading.ready = False
    reading.waiter = int
    reading.fire()
    reading.fire()
    assert reading.loop.ready == [int]
    assert reading.ready
    assert reading.loop.armed == [READ]


def test_reports_that_nobody_heeds(reading):
    """Reports that go on while nobody waits are stopped after a few: the loop must not spin."""
    for _ in range(20):
        reading.fire()
    assert reading.loop.armed == [READ, 0]
    assert not reading.armed


class NoMemory(Exception):
    """Raised where memory might run out."""


@pytest.mark.parametrize("method", ["call_later", "arm_direction"])
@pytest.mark.parametrize("behind", [False, True], ids=["first", "behind another"])
def test_a_wait_that_cannot_begin_leaves_no_trace(hub, method, behind):
    """A wait that fails before it has begun leaves the queue: nobody is woken by it later, and no event is lost."""
    if method == "arm_direction" and behind:
        pytest.skip("it is armed already")
    left, right = socket.socketpair()
    with left, right:
        left.setblocking(False)
        handle = hub.loop.handle(left.fileno())
        handle.adopt()
        handle.always_level = True
        first = hubbub.spawn(handle.read.wait) if behind else None
        hubbub.sleep(0.001)
        before = getattr(hub.loop, method)

        def fail(*_, **__):
            raise NoMemory

        setattr(hub.loop, method, fail)
        try:
            with pytest.raises(NoMemory):
                handle.read.wait(5)
        finally:
            setattr(hub.loop, method, before)
        assert bool(handle.read.waiter) is behind
        assert not handle.read.others
        with pytest.raises(ValueError, match="NaN"):
            handle.read.wait(float("nan"))
        assert bool(handle.read.waiter) is behind
        right.send(b"x")
        reader = first or hubbub.spawn(handle.read.wait, 5)
        assert reader.get(timeout=5)
        assert handle.read.waiter is None
        hub.loop.descriptor_closing(left.fileno())
