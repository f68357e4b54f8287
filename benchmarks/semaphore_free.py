"""A lock that nobody else wants is taken and given back."""

from __future__ import annotations

from shim import Api, main

OPERATIONS = 100_000


def run(api: Api, operations: int) -> None:
    """One operation: one acquire and one release."""
    lock = api.module("lock").Semaphore(1)
    for _ in range(operations):
        lock.acquire()
        lock.release()


if __name__ == "__main__":
    main(run, OPERATIONS)
