"""Two greenlets send an item back and forth through two channels, which store nothing."""

from __future__ import annotations

from typing import Any

from shim import Api, main

OPERATIONS = 30_000


def answer(inbox: Any, outbox: Any, count: int) -> None:
    """Sends back what comes."""
    for _ in range(count):
        outbox.put(inbox.get())


def run(api: Api, operations: int) -> None:
    """One operation: one item there and back, two waits."""
    there, back = (api.module("queue").Channel() for _ in range(2))
    other = api.spawn(answer, there, back, operations)
    for number in range(operations):
        there.put(number)
        back.get()
    other.join()


if __name__ == "__main__":
    main(run, OPERATIONS)
