"""Two greenlets hand items over through an unbounded queue."""

from __future__ import annotations

from typing import Any

from shim import Api, main

OPERATIONS = 50_000


def produce(queue: Any, count: int) -> None:
    """Puts ``count`` items."""
    for number in range(count):
        queue.put(number)


def consume(queue: Any, count: int) -> None:
    """Gets ``count`` items."""
    for _ in range(count):
        queue.get()


def run(api: Api, operations: int) -> None:
    """One operation: one put and one get."""
    queue = api.module("queue").Queue()
    api.joinall([api.spawn(consume, queue, operations), api.spawn(produce, queue, operations)])


if __name__ == "__main__":
    main(run, OPERATIONS)
