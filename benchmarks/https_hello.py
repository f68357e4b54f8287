"""The CPU time that an HTTP server spends on a request over TLS: keep-alive, 64 connections."""

from __future__ import annotations

from shim import Api, main
from support.http import ask

OPERATIONS = 20_000


def run(api: Api, operations: int) -> float:
    """One operation: one request answered."""
    return ask(api, operations, request="plain", tls=True)


if __name__ == "__main__":
    main(run, OPERATIONS)
