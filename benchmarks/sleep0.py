"""Let others run, when there are none: through the hub and back."""

from __future__ import annotations

from shim import Api, main

OPERATIONS = 200_000


def run(api: Api, operations: int) -> None:
    """One operation: one ``sleep(0)``."""
    sleep = api.sleep
    for _ in range(operations):
        sleep(0)


if __name__ == "__main__":
    main(run, OPERATIONS)
