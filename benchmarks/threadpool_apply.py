"""A function is called in a native thread, and waited for."""

from __future__ import annotations

from shim import Api, main

OPERATIONS = 5_000


def run(api: Api, operations: int) -> None:
    """One operation: one ``apply``."""
    pool = api.module("hub").get_hub().threadpool
    for _ in range(operations):
        pool.apply(abs, (1,))


if __name__ == "__main__":
    main(run, OPERATIONS)
