"""Ten thousand greenlets sleep and are woken."""

from __future__ import annotations

from shim import Api, main

OPERATIONS = 10_000


def run(api: Api, operations: int) -> None:
    """One operation: spawn a greenlet that sleeps for 10 to 20 ms, wake it, end it."""
    api.joinall([api.spawn(api.sleep, 0.01 + index * 1e-6) for index in range(operations)])


if __name__ == "__main__":
    main(run, OPERATIONS)
