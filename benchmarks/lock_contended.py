"""Ten greenlets pass round one lock as threads have it."""

from __future__ import annotations

from semaphore_contended import work
from shim import Api, main

OPERATIONS = 20_000


def run(api: Api, operations: int) -> None:
    """One operation: one hand-over of the lock."""
    lock = api.module("thread").allocate_lock()
    api.joinall([api.spawn(work, api, lock, operations // 10) for _ in range(10)])


if __name__ == "__main__":
    main(run, OPERATIONS)
