"""Ten greenlets pass one lock round."""

from __future__ import annotations

from typing import Any

from shim import Api, main

OPERATIONS = 20_000


def work(api: Api, lock: Any, count: int) -> None:
    """Takes the lock, lets the others run, gives it back."""
    for _ in range(count):
        lock.acquire()
        api.sleep(0)
        lock.release()


def run(api: Api, operations: int) -> None:
    """One operation: one hand-over of the lock."""
    lock = api.module("lock").Semaphore(1)
    api.joinall([api.spawn(work, api, lock, operations // 10) for _ in range(10)])


if __name__ == "__main__":
    main(run, OPERATIONS)
