"""Two greenlets hand items over through a queue of one place, and wait at every step."""

from __future__ import annotations

from queue_put_get import consume, produce
from shim import Api, main

OPERATIONS = 20_000


def run(api: Api, operations: int) -> None:
    """One operation: one put and one get, with the switches between them."""
    queue = api.module("queue").Queue(1)
    api.joinall([api.spawn(consume, queue, operations), api.spawn(produce, queue, operations)])


if __name__ == "__main__":
    main(run, OPERATIONS)
