"""The CPU time that an HTTP server spends on a request whose application waits for 10 ms: 512 connections."""

from __future__ import annotations

from typing import Any

from shim import Api, main
from support.http import ask, hello

OPERATIONS = 20_000


def run(api: Api, operations: int) -> float:
    """One operation: one request answered."""

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        api.sleep(0.01)
        return hello(environ, start_response)

    return ask(api, operations, application, count=512)


if __name__ == "__main__":
    main(run, OPERATIONS)
