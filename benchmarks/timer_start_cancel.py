"""A time limit is set and taken back, as around most calls that wait."""

from __future__ import annotations

from shim import Api, main

OPERATIONS = 50_000


def run(api: Api, operations: int) -> None:
    """One operation: start and close one Timeout."""
    timeout = api.module("timeout").Timeout
    for _ in range(operations):
        limit = timeout.start_new(10)
        limit.close()


if __name__ == "__main__":
    main(run, OPERATIONS)
