"""The same as browsers ask, with another target, Referer and cookie each time; 64 connections, and 1,000."""

from __future__ import annotations

from shim import Api, main
from support.http import ask

OPERATIONS = 20_000
SIZES = (64, 1_000)


def run(api: Api, operations: int) -> float:
    """One operation: one request answered."""
    return ask(api, operations, count=api.size)


if __name__ == "__main__":
    main(run, OPERATIONS, SIZES)
