"""Questions under way, without any network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import hubbub
import pytest
from hubbub_dns._flights import Flights


class Asked:
    """Questions that somebody else will answer."""

    def __init__(self) -> None:
        self.land: dict[str, Callable[[Any], None]] = {}
        self.stopped: list[str] = []

    def launch(self, name: str) -> Callable[[Callable[[Any], None]], Callable[[], None]]:
        def launch(land: Callable[[Any], None]) -> Callable[[], None]:
            self.land[name] = land
            return lambda: self.stopped.append(name)

        return launch


def forget(key: Any, outcome: Any) -> None:
    """Keep no outcome."""


def wait_for(flights: Flights[Any], asked: Asked, name: str) -> Any:
    """Join the question and wait for its outcome."""
    flight = flights.join(name, asked.launch(name))
    try:
        return flight.outcome()
    finally:
        flight.leave()


def begin(flights: Flights[Any], asked: Asked, *names: str) -> list[hubbub.Greenlet]:
    """Greenlets that wait."""
    greenlets = [hubbub.spawn(wait_for, flights, asked, name) for name in names]
    hubbub.sleep(0)
    return greenlets


def test_shared(hub: hubbub.Hub) -> None:
    """Equal questions are asked once, and all who wait get the outcome; afterwards it is asked anew."""
    flights, asked = Flights[Any](10, forget), Asked()
    greenlets = begin(flights, asked, "a", "a", "b")
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
    flights, asked = Flights[Any](10, forget), Asked()
    first, second = begin(flights, asked, "a", "a")
    first.kill()
    assert asked.stopped == []
    second.kill()
    assert asked.stopped == ["a"]
    assert len(flights) == 0
    asked.land["a"]("late")


def test_limit(hub: hubbub.Hub) -> None:
    """Questions above the limit wait for their turn; one that is given up meanwhile is never asked."""
    flights, asked = Flights[Any](2, forget), Asked()
    greenlets = begin(flights, asked, "a", "b", "c", "d")
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
    flights = Flights[Any](1, forget)

    def launch(land: Callable[[Any], None]) -> Callable[[], None]:
        land("at once")
        return lambda: pytest.fail("called off")

    def ask(number: int) -> Any:
        return flights.join(number, launch).outcome()

    assert [ask(number) for number in range(5)] == ["at once"] * 5
    asked = Asked()
    (first,) = begin(flights, asked, "first")
    waiting = [hubbub.spawn(ask, number) for number in range(2000)]  # more than calls can be nested
    hubbub.sleep(0)
    asked.land["first"]("answer")
    assert {greenlet.get(timeout=5) for greenlet in waiting} == {"at once"}
    assert first.get(timeout=5) == "answer"


def test_launch_fails(hub: hubbub.Hub) -> None:
    """A question that cannot be begun has its error as outcome; the next one is asked."""
    flights, asked = Flights[Any](1, forget), Asked()

    def launch(land: Callable[[Any], None]) -> Callable[[], None]:
        raise OSError("no descriptors")

    assert isinstance(flights.join("x", launch).outcome(), OSError)
    (greenlet,) = begin(flights, asked, "x")
    asked.land["x"]("answer")
    assert greenlet.get(timeout=5) == "answer"


def test_kept(hub: hubbub.Hub) -> None:
    """Each outcome is kept before those who wait go on; that of a question which was called off is not."""
    kept: list[tuple[Any, Any]] = []
    flights, asked = Flights[Any](10, lambda key, outcome: kept.append((key, outcome))), Asked()
    (killed, waiting) = begin(flights, asked, "a", "b")
    killed.kill()
    asked.land["a"]("late")
    asked.land["b"]("answer")
    assert kept == [("b", "answer")]
    assert waiting.get(timeout=5) == "answer"


def test_abort(hub: hubbub.Hub) -> None:
    """Aborting calls everything off and gives all who wait the error, also those whose turn had not come."""
    flights, asked = Flights[Any](1, forget), Asked()
    greenlets = begin(flights, asked, "a", "b")
    flights.abort(OSError("closed"))
    assert all(isinstance(greenlet.get(timeout=5), OSError) for greenlet in greenlets)
    assert asked.stopped == ["a"]
    assert list(asked.land) == ["a"]


def test_bad_limit() -> None:
    """A limit below 1 is refused."""
    with pytest.raises(ValueError, match="at least 1"):
        Flights[Any](0, forget)
