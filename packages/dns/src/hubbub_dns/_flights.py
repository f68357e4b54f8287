"""Questions under way: equal ones are asked once, and one that nobody waits for any more is called off."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from functools import partial
from typing import Generic, TypeVar

from hubbub.event import AsyncResult

__all__ = ["Flight", "Flights", "Land", "Launch"]

T = TypeVar("T")
Land = Callable[[T | BaseException], None]
"""Takes the outcome of a question. Called at most once, on the hub's thread; it does not wait."""
Launch = Callable[[Land[T]], Callable[[], None]]
"""Begins to ask, without waiting; returns what calls it off."""


class Flight(Generic[T]):
    """One question and those who wait for its answer. A context: leaving it means to wait no more."""

    __slots__ = ("_flights", "_outcome", "_users", "key", "launch", "stop")

    def __init__(self, flights: Flights[T], key: Hashable, launch: Launch[T]) -> None:
        self._flights = flights
        self._outcome: AsyncResult[T | BaseException] = AsyncResult()
        self._users = 0
        self.key = key
        self.launch = launch
        self.stop: Callable[[], None] | None = None
        """Set while the question is being asked."""

    def board(self) -> Flight[T]:
        """Wait too."""
        self._users += 1
        return self

    def leave(self) -> None:
        """Wait no more. The last one to leave calls the question off."""
        self._users -= 1
        if not self._users and not self.landed:
            self._flights.call_off(self)

    def __enter__(self) -> Flight[T]:
        return self.board()

    def __exit__(self, *_: object) -> None:
        self.leave()

    @property
    def landed(self) -> bool:
        """Whether there is an outcome."""
        return self._outcome.ready()

    def land(self, outcome: T | BaseException) -> None:
        """Set the outcome."""
        self._outcome.set(outcome)

    def outcome(self) -> T | BaseException:
        """Wait for the answer, or for the error instead of one (returned, since it is everybody's: not raised)."""
        return self._outcome.get()


class Flights(Generic[T]):
    """All questions under way, at most ``limit`` at a time; the others wait for their turn. Belongs to one hub."""

    def __init__(self, limit: int) -> None:
        if limit < 1:
            raise ValueError(f"at least 1 question must be allowed at a time, not {limit!r}")
        self.limit = limit
        self._flights: dict[Hashable, Flight[T]] = {}
        self._asked: set[Flight[T]] = set()
        self._queue: deque[Flight[T]] = deque()

    def __len__(self) -> int:
        return len(self._flights)

    def join(self, key: Hashable, launch: Launch[T]) -> Flight[T]:
        """The question with this key: the one under way, or a new one that ``launch`` will ask."""
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = Flight(self, key, launch)
            self._queue.append(flight)
            self._launch_more()
        return flight

    def _launch_more(self) -> None:
        while self._queue and len(self._asked) < self.limit:
            flight = self._queue.popleft()
            self._asked.add(flight)
            try:
                stop = flight.launch(partial(self._land, flight))
            except Exception as error:
                self._land(flight, error)  # raised by those who wait
            else:
                if not flight.landed:
                    flight.stop = stop

    def _land(self, flight: Flight[T], outcome: T | BaseException) -> None:
        if flight not in self._asked:  # called off
            return
        self._drop(flight)
        flight.land(outcome)
        self._launch_more()

    def _drop(self, flight: Flight[T]) -> None:
        self._asked.discard(flight)
        flight.stop = None
        if self._flights.get(flight.key) is flight:
            del self._flights[flight.key]

    def call_off(self, flight: Flight[T]) -> None:
        """Nobody waits for it any more."""
        if flight in self._asked:
            stop = flight.stop
            self._drop(flight)
            if stop is not None:
                stop()
            self._launch_more()
        elif self._flights.get(flight.key) is flight:
            self._drop(flight)
            self._queue.remove(flight)

    def abort(self, error: BaseException) -> None:
        """Call everything off; those who wait get ``error``."""
        self._queue.clear()
        for flight in list(self._flights.values()):
            stop = flight.stop
            self._drop(flight)
            if stop is not None:
                stop()
            flight.land(error)
