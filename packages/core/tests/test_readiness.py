"""Readiness of a descriptor: what the backend is told, and when."""

from __future__ import annotations

import socket

import pytest
from hubbub.abc import READ
from hubbub.loop.readiness import Readiness


class Recording:
    """As much of a level-triggered loop as a descriptor's readiness needs; notes what it is asked for."""

    edge_triggered = False

    def __init__(self):
        self.ready = []
        self.armed = []

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
