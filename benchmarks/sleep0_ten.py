"""Ten greenlets let one another run."""

from __future__ import annotations

from shim import Api, main

OPERATIONS = 100_000


def work(api: Api, count: int) -> None:
    """Yields ``count`` times."""
    for _ in range(count):
        api.sleep(0)


def run(api: Api, operations: int) -> None:
    """One operation: one ``sleep(0)``."""
    api.joinall([api.spawn(work, api, operations // 10) for _ in range(10)])


if __name__ == "__main__":
    main(run, OPERATIONS)
