"""Questions under way, without any network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import hubbub
import pytest
from hubbub_dns._flights import Flight, Flights


class Asked:
    """Questions that somebody else will answer."""

    def __init__(self) -> None:
        self.land: dict[str, Callable[[Any], None]] = {}
        self.stopped: list[str] = []

    def begin(self, flight: Flight[Any]) -> None:
        self.land[flight.key] = flight.land

    def stop(self, flight: Flight[Any]) -> None:
        self.stopped.append(flight.key)

    def flights(self, limit: int, keep: Callable[[Any, Any], None] | None = None) -> Flights[Any]:
        """At most so many of them at a time."""
        return Flights[Any](limit, self.begin, self.stop, keep or forget)


def forget(key: Any, outcome: Any) -> None:
    """Keep no outcome."""


def wait_for(flights: Flights[Any], name: str) -> Any:
    """Join the question and wait for its outcome."""
    flight = flights.join(name)
    try:
        return flight.outcome()
    finally:
        flight.leave()


def begin(flights: Flights[Any], *names: str) -> list[hubbub.Greenlet]:
    """Greenlets that wait."""
    greenlets = [hubbub.spawn(wait_for, flights, name) for name in names]
    hubbub.sleep(0)
    return greenlets


def test_shared(hub: hubbub.Hub) -> None:
    """Equal questions are asked once, and all who wait get the outcome; afterwards it is asked anew."""
    asked = Asked()
    flights = asked.flights(10)
    greenlets = begin(flights, "a", "a", "b")
    assert len(flights) == 2
    asked.land["a"]("answer")
    assert [greenlet.get(timeout=5) for greenlet in greenlets[:2]] == ["answer", "answer"]
    assert len(flights) == 1
    asked.land["b"](ValueError("x"))
    assert isinstance(greenlets[2].get(timeout=5), ValueError)
    assert asked.stopped == []
    assert len(flights) == 0


def test_last_one_out(hub: hubbub.Hub) -> None:
    """The question is called off when the last one who waits has gone, not before; a late answer is dropped."""
    asked = Asked()
    flights = asked.flights(10)
    first, second = begin(flights, "a", "a")
    first.kill()
    assert asked.stopped == []
    second.kill()
    assert asked.stopped == ["a"]
    assert len(flights) == 0
    asked.land["a"]("late")


def test_limit(hub: hubbub.Hub) -> None:
    """Questions above the limit wait for their turn; one that is given up meanwhile is never asked."""
    asked = Asked()
    flights = asked.flights(2)
    greenlets = begin(flights, "a", "b", "c", "d")
    assert list(asked.land) == ["a", "b"]
    greenlets[2].kill()
    asked.land["a"]("answer")
    assert list(asked.land) == ["a", "b", "d"]
    greenlets[1].kill()
    asked.land["d"]("answer")
    assert greenlets[3].get(timeout=5) == "answer"
    assert asked.stopped == ["b"]


def test_answered_at_once(hub: hubbub.Hub) -> None:
    """A question may be answered while it is launched, many in a row."""
    asked = Asked()

    def begin_one(flight: Flight[Any]) -> None:
        if flight.key == "first":
            asked.begin(flight)
        else:
            flight.land("at once")

    flights = Flights[Any](1, begin_one, lambda flight: pytest.fail("called off"), forget)
    assert [wait_for(flights, str(number)) for number in range(5)] == ["at once"] * 5
    (first,) = begin(flights, "first")
    waiting = begin(flights, *map(str, range(2000)))  # more than calls can be nested
    asked.land["first"]("answer")
    assert {greenlet.get(timeout=5) for greenlet in waiting} == {"at once"}
    assert first.get(timeout=5) == "answer"


def test_launch_fails(hub: hubbub.Hub) -> None:
    """A question that cannot be begun has its error as outcome; the next one is asked."""
    asked = Asked()
    refused = [OSError("no descriptors")]

    def begin_one(flight: Flight[Any]) -> None:
        if refused:
            raise refused.pop()
        asked.begin(flight)

    flights = Flights[Any](1, begin_one, asked.stop, forget)
    assert isinstance(wait_for(flights, "x"), OSError)
    (greenlet,) = begin(flights, "x")
    asked.land["x"]("answer")
    assert greenlet.get(timeout=5) == "answer"
    assert asked.stopped == []


def test_kept(hub: hubbub.Hub) -> None:
    """Each outcome is kept before those who wait go on; that of a question which was called off is not."""
    kept: list[tuple[Any, Any]] = []
    asked = Asked()
    flights = asked.flights(10, lambda key, outcome: kept.append((key, outcome)))
    (killed, waiting) = begin(flights, "a", "b")
    killed.kill()
    asked.land["a"]("late")
    asked.land["b"]("answer")
    assert kept == [("b", "answer")]
    assert waiting.get(timeout=5) == "answer"


def test_abort(hub: hubbub.Hub) -> None:
    """Aborting calls everything off and gives all who wait the error, also those whose turn had not come."""
    asked = Asked()
    flights = asked.flights(1)
    greenlets = begin(flights, "a", "b")
    flights.abort(OSError("closed"))
    assert all(isinstance(greenlet.get(timeout=5), OSError) for greenlet in greenlets)
    assert asked.stopped == ["a"]
    assert list(asked.land) == ["a"]


def test_bad_limit() -> None:
    """A limit below 1 is refused."""
    with pytest.raises(ValueError, match="at least 1"):
        Asked().flights(0)
