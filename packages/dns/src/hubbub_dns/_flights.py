"""Questions under way: equal ones are asked once, and a question that no greenlet waits for any more is called off."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

from hubbub.lowlevel import Waiter

__all__ = ["Flight", "Flights"]

T = TypeVar("T")


class Flight(Generic[T]):
    """One question and the greenlets that wait for its answer."""

    __slots__ = ("_flights", "_others", "_outcome", "_users", "_waiter", "asked", "context", "key", "task")

    def __init__(self, flights: Flights[T], key: Hashable, context: Any) -> None:
        self._flights = flights
        self._outcome: T | BaseException | None = None
        self._users = 0
        self._waiter: Waiter | None = None
        """The waiter of the first greenlet."""
        self._others: list[Waiter] | None = None
        self.key: Any = key
        self.context = context
        """What else is needed to ask the question."""
        self.asked = False
        """Whether the question is being asked now."""
        self.task: Any = None
        """For the use of ``begin`` and ``stop``; None again when the question has ended."""

    def leave(self) -> None:
        """Wait no more. When the last greenlet leaves, the question is called off."""
        self._users -= 1
        if not self._users and self._outcome is None:
            self._flights.call_off(self)

    def land(self, outcome: T | BaseException) -> None:
        """Set the outcome. Does nothing if the question was called off.

        Must be called on the hub's thread. Does not wait.
        """
        if self.asked:
            self._flights.landed(self, outcome)

    def settle(self, outcome: T | BaseException) -> None:
        """Wake the greenlets that wait."""
        self._outcome = outcome
        if self._waiter is not None:
            self._waiter.wake()
        for waiter in self._others or ():
            waiter.wake()

    def outcome(self) -> T | BaseException:
        """Wait for the answer, or the error in its place. The error is returned, not raised: the waiters share it."""
        while (outcome := self._outcome) is None:
            if self._waiter is not None:
                self._wait_too()
                continue
            self._waiter = Waiter()
            try:
                self._waiter.wait()
            finally:
                self._waiter = None
        return outcome

    def _wait_too(self) -> None:
        others = self._others = self._others or []
        waiter = Waiter()
        others.append(waiter)
        try:
            waiter.wait()
        finally:
            others.remove(waiter)


class Flights(Generic[T]):
    """All questions under way, at most ``limit`` at a time; the others wait for their turn. Belongs to one hub.

    :param begin: begins to ask a question, without waiting; later the flight's ``land`` is called with the outcome.
    :param stop: called when a question that was begun is called off.
    :param keep: called with the key and the outcome of each question, before the greenlets that wait are woken.
    """

    def __init__(
        self,
        limit: int,
        begin: Callable[[Flight[T]], None],
        stop: Callable[[Flight[T]], None],
        keep: Callable[[Any, T | BaseException], None],
    ) -> None:
        if limit < 1:
            raise ValueError(f"at least 1 question must be allowed at a time, not {limit!r}")
        self.limit = limit
        self._begin = begin
        self._stop = stop
        self._keep = keep
        self._flights: dict[Hashable, Flight[T]] = {}
        self._queue: deque[Flight[T]] = deque()
        self._asked = 0
        self._launching = False

    def __len__(self) -> int:
        return len(self._flights)

    def join(self, key: Hashable, context: Any = None) -> Flight[T]:
        """The question with this key: the one under way, or a new one.

        The caller counts as one that waits for the question, and must leave it.
        """
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = Flight(self, key, context)
            if self._asked < self.limit:
                self._launch(flight)
            else:
                self._queue.append(flight)
        flight._users += 1
        return flight

    def _launch_more(self) -> None:
        if self._launching:  # a question has landed in its launch; the loop below goes on
            return
        self._launching = True
        try:
            while self._queue and self._asked < self.limit:
                self._launch(self._queue.popleft())
        finally:
            self._launching = False

    def _launch(self, flight: Flight[T]) -> None:
        flight.asked = True
        self._asked += 1
        try:
            self._begin(flight)
        except Exception as error:
            flight.land(error)  # the greenlets that wait raise it

    def landed(self, flight: Flight[T], outcome: T | BaseException) -> None:
        """End a question that was asked: keep its outcome, and wake the greenlets that wait."""
        flight.asked = False
        self._asked -= 1
        if self._flights.get(flight.key) is flight:
            del self._flights[flight.key]
        flight.task = None
        self._keep(flight.key, outcome)
        flight.settle(outcome)
        if self._queue:
            self._launch_more()

    def _drop(self, flight: Flight[T]) -> None:
        if flight.asked:
            flight.asked = False
            self._asked -= 1
        if self._flights.get(flight.key) is flight:
            del self._flights[flight.key]

    def call_off(self, flight: Flight[T]) -> None:
        """Call off a question that no greenlet waits for any more."""
        if flight.asked:
            self._drop(flight)
            self._stop(flight)
            flight.task = None
            self._launch_more()
        elif self._flights.get(flight.key) is flight:
            self._drop(flight)
            self._queue.remove(flight)

    def abort(self, error: BaseException) -> None:
        """Call off all questions; greenlets that wait get ``error``."""
        self._queue.clear()
        for flight in list(self._flights.values()):
            asked = flight.asked
            self._drop(flight)
            if asked:
                self._stop(flight)
                flight.task = None
            flight.settle(error)
