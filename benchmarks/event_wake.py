"""Greenlets wait for an event and are all woken by it."""

from __future__ import annotations

from shim import Api, main

OPERATIONS = 10_000


def run(api: Api, operations: int) -> None:
    """One operation: spawn a greenlet that waits for an event, wake it, end it; ten to an event."""
    event_class = api.module("event").Event
    for _ in range(max(1, operations // 10)):
        event = event_class()
        waiting = [api.spawn(event.wait) for _ in range(10)]
        api.sleep(0)
        event.set()
        api.joinall(waiting)


if __name__ == "__main__":
    main(run, OPERATIONS)
