"""The proof that blocking code of others cooperates: many jobs at once, in one native thread, while others run.

Written on :mod:`threading` and :mod:`time` alone, which a script has patched before it imports this.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Overlap", "at_once", "overlap"]

_TICK = 0.01
# A pause as long as this part of a job is one that a job made, by blocking instead of waiting.
_BLOCKED = 0.8
# A busy machine may stop everything for that long now and then.
_FORGIVEN = 2


@dataclass(frozen=True)
class Overlap:
    """How many jobs went. Its text says it in a line."""

    results: list[Any]
    each: float
    """Seconds that one job takes at the server."""
    took: float
    """Seconds that all of them took."""
    pause: float
    """The longest time in seconds that other greenlets had to wait."""

    def __str__(self) -> str:
        return (
            f"{len(self.results)} at once, each {self.each:g} s at the server, took {self.took:.2f} s in one thread, "
            f"longest pause {self.pause * 1000:.0f} ms"
        )


def overlap(job: Callable[[int], Any], jobs: int = 20, each: float = 0.2) -> Overlap:
    """Run ``job(0)``, ``job(1)`` ... at once, each in a thread (which is a greenlet), and look that they overlap.

    :param each: the seconds that a job takes at least, because its server waits for that long.
    :raises AssertionError: the jobs went one after the other, or in several native threads, or stopped others.
    """
    outcomes: dict[int, Any] = {}
    failures: list[BaseException] = []
    natives: set[int] = set()

    def run(number: int) -> None:
        natives.add(threading.get_native_id())
        begun = time.monotonic()
        try:
            outcomes[number] = job(number)
            took = time.monotonic() - begun
            assert took > each * 0.9, f"job {number} did not take the {each} s it is said to take, but {took:.3f}"
        except BaseException as failure:
            failures.append(failure)

    pauses: list[float] = []
    done = threading.Event()
    ticker = threading.Thread(target=_tick, args=(done, pauses))
    ticker.start()
    time.sleep(2 * _TICK)
    threads = [threading.Thread(target=run, args=(number,)) for number in range(jobs)]
    begun = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.monotonic() - begun
    done.set()
    ticker.join()

    if failures:
        raise failures[0]
    found = Overlap([outcomes[number] for number in range(jobs)], each, took, max(pauses))
    assert natives == {threading.get_native_id()}, f"threads are native ones: {natives}"
    assert took < jobs * each / 3, f"one after the other: {found}"
    blocked = [pause for pause in pauses if pause > each * _BLOCKED]
    assert len(blocked) <= _FORGIVEN, f"others were stopped {len(blocked)} times: {found}"
    return found


def at_once(jobs: Sequence[Callable[[], Any]]) -> list[Any]:
    """Run each job in a thread (which is a greenlet), and return their results.

    For jobs that end when all are under way, at a server that lets them meet: that proves more than a clock does, on a
    machine that is busy too.

    :raises AssertionError: they ran in several native threads.
    """
    outcomes: dict[int, Any] = {}
    failures: list[BaseException] = []
    natives: set[int] = set()

    def run(number: int) -> None:
        natives.add(threading.get_native_id())
        try:
            outcomes[number] = jobs[number]()
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(jobs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    assert natives == {threading.get_native_id()}, f"threads are native ones: {natives}"
    return [outcomes[number] for number in range(len(jobs))]


def _tick(done: threading.Event, pauses: list[float]) -> None:
    last = time.monotonic()
    while not done.is_set():
        time.sleep(_TICK)
        now = time.monotonic()
        pauses.append(now - last - _TICK)
        last = now
