"""Many greenlets sleep and are woken."""

from __future__ import annotations

from shim import Api, main

OPERATIONS = 10_000
SIZES = (10_000, 100, 1_000, 50_000)
"""Greenlets at a time."""


def run(api: Api, operations: int) -> None:
    """One operation: spawn a greenlet that sleeps for 10 ms and a little, wake it, end it."""
    for _ in range(max(1, operations // api.size)):
        api.joinall([api.spawn(api.sleep, 0.01 + index * 1e-6) for index in range(api.size)])


if __name__ == "__main__":
    main(run, OPERATIONS, SIZES)
