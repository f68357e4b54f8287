"""One greenlet puts items into a queue and takes them out."""

from __future__ import annotations

from shim import Api, main

OPERATIONS = 200_000


def run(api: Api, operations: int) -> None:
    """One operation: one put and one get that need not wait."""
    queue = api.module("queue").Queue()
    for number in range(operations):
        queue.put_nowait(number)
        queue.get_nowait()


if __name__ == "__main__":
    main(run, OPERATIONS)
