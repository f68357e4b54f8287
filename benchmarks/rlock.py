"""A re-entrant lock that nobody else wants is taken and given back."""

from __future__ import annotations

from shim import Api, main

OPERATIONS = 100_000


def run(api: Api, operations: int) -> None:
    """One operation: one block of ``with``."""
    lock = api.module("lock").RLock()
    for _ in range(operations):
        with lock:
            pass


if __name__ == "__main__":
    main(run, OPERATIONS)
