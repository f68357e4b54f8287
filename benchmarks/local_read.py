"""An attribute of a greenlet-local object is read."""

from __future__ import annotations

from shim import Api, main

OPERATIONS = 200_000


def run(api: Api, operations: int) -> None:
    """One operation: one read."""
    mine = api.module("local").local()
    mine.value = 1
    for _ in range(operations):
        mine.value  # noqa: B018  # the read is what is measured


if __name__ == "__main__":
    main(run, OPERATIONS)
