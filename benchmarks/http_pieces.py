"""The CPU time that an HTTP server spends on a response in ten small pieces, of unknown length: 64 connections."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from shim import Api, main
from support.http import BODY, ask

OPERATIONS = 10_000


def application(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
    """Answers in pieces."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    for _ in range(9):
        yield b"a piece of text"
    yield BODY


def run(api: Api, operations: int) -> float:
    """One operation: one request answered."""
    return ask(api, operations, application, "pieces")


if __name__ == "__main__":
    main(run, OPERATIONS)
