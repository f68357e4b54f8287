"""Greenlets are made and run that cannot be joined."""

from __future__ import annotations

from shim import Api, main

OPERATIONS = 50_000


def nothing() -> None:
    """The greenlet."""


def run(api: Api, operations: int) -> None:
    """One operation: one raw greenlet."""
    spawn = api.module("hub").spawn_raw
    for _ in range(max(1, operations // 100)):
        for _ in range(100):
            spawn(nothing)
        api.sleep(0)


if __name__ == "__main__":
    main(run, OPERATIONS)
