"""Spawn a greenlet that does nothing and wait for it."""

from __future__ import annotations

from shim import Api, main

OPERATIONS = 20_000


def nothing() -> None:
    """The greenlet."""


def run(api: Api, operations: int) -> None:
    """One operation: one greenlet, from spawn to its end."""
    spawn = api.spawn
    for _ in range(operations):
        spawn(nothing).join()


if __name__ == "__main__":
    main(run, OPERATIONS)
