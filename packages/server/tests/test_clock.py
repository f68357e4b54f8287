"""The clock that a server measures its clients by."""

from __future__ import annotations

import pytest
from hubbub_server import Limits
from hubbub_server.http.clock import NEVER, Clock, Pace


@pytest.mark.parametrize(("seconds", "tick"), [(None, 0.25), (20.0, 0.25), (0.8, 0.1), (0.001, 0.005), (1000.0, 0.25)])
def test_tick_length(seconds: float | None, tick: float) -> None:
    """A tick is an eighth of the shortest time limit, within bounds."""
    clock = Clock(Limits(header_seconds=seconds, body_seconds=None, idle_seconds=None, write_seconds=None))
    assert clock.seconds == pytest.approx(tick)


def test_longest_tick() -> None:
    """A tick is at most half a second, however patient the limits are."""
    assert Clock(Limits(linger_seconds=100.0)).seconds == 0.5


@pytest.mark.parametrize("seconds", [0.01, 0.3, 1.0, 20.0])
def test_ticks_are_no_less(seconds: float) -> None:
    """A time limit is never shorter than it says, whenever in a tick it begins, and at most two ticks longer."""
    clock = Clock(Limits())
    assert seconds <= (clock.ticks(seconds) - 1.0) * clock.seconds
    assert clock.ticks(seconds) * clock.seconds <= seconds + 2 * clock.seconds


def test_no_limit() -> None:
    """No limit is a deadline that never comes."""
    clock = Clock(Limits(idle_seconds=None))
    for _ in range(1000):
        clock.tick()
    assert clock.idle_deadline == NEVER


def test_tick() -> None:
    """A tick moves the time and, with it, the deadline of those who become idle."""
    clock = Clock(Limits(idle_seconds=10.0))
    before = clock.idle_deadline
    assert clock.tick() == clock.now == 1.0
    assert clock.idle_deadline == before + 1.0


def test_hurry() -> None:
    """A server that stops gives its clients the time that is left, and no more, to begin a request."""
    clock = Clock(Limits())
    clock.tick()
    deadline = clock.hurry(0.5)
    assert deadline == clock.idle_deadline == clock.now + clock.ticks(0.5)
    assert clock.first_ticks == clock.ticks(0.5)


@pytest.mark.parametrize(
    ("patience", "waited", "moved", "left"),
    [(10.0, 4.0, 0, 6.0), (10.0, 4.0, 20, 8.0), (10.0, 4.0, 1000, 10.0), (2.0, 5.0, 0, -3.0), (2.0, 0.0, 10, 3.0)],
)
def test_pace(patience: float, waited: float, moved: int, left: float) -> None:
    """What moves gives patience back, up to what there was; what does not, uses it up."""
    assert Pace(10.0, 0.1).after(patience, waited, moved) == pytest.approx(left)
