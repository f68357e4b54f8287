"""The memory of greenlets that wait for an event."""

from __future__ import annotations

from shim import Api, memory

OPERATIONS = 20_000


def run(api: Api, operations: int) -> object:
    """One operation: one greenlet that waits."""
    event = api.module("event").Event()
    waiting = [api.spawn(event.wait) for _ in range(operations)]
    api.sleep(0)
    api.sleep(0)
    return event, waiting


if __name__ == "__main__":
    memory(run, OPERATIONS)
