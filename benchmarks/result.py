"""A result is made, set and asked for."""

from __future__ import annotations

from shim import Api, main

OPERATIONS = 100_000


def run(api: Api, operations: int) -> None:
    """One operation: one AsyncResult, without a wait."""
    result_class = api.module("event").AsyncResult
    for _ in range(operations):
        result = result_class()
        result.set(1)
        result.get()


if __name__ == "__main__":
    main(run, OPERATIONS)
