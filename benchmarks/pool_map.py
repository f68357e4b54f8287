"""A pool of a hundred greenlets maps a function over many items."""

from __future__ import annotations

from shim import Api, main

OPERATIONS = 10_000


def run(api: Api, operations: int) -> None:
    """One operation: one item through ``Pool.map``."""
    api.module("pool").Pool(100).map(abs, range(operations))


if __name__ == "__main__":
    main(run, OPERATIONS)
