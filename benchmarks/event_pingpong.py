"""Two greenlets wake one another by events."""

from __future__ import annotations

from typing import Any

from shim import Api, main

OPERATIONS = 30_000


def answer(mine: Any, other: Any, count: int) -> None:
    """Waits for one event and sets the other."""
    for _ in range(count):
        mine.wait()
        mine.clear()
        other.set()


def run(api: Api, operations: int) -> None:
    """One operation: there and back, two waits."""
    there, back = (api.module("event").Event() for _ in range(2))
    other = api.spawn(answer, there, back, operations)
    for _ in range(operations):
        there.set()
        back.wait()
        back.clear()
    other.join()


if __name__ == "__main__":
    main(run, OPERATIONS)
