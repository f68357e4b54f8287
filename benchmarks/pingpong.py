"""Two greenlets send one byte back and forth over a socket pair."""

from __future__ import annotations

from typing import Any

from shim import Api, main

OPERATIONS = 10_000


def answer(sock: Any) -> None:
    """Sends back what comes, until the other side closes."""
    while data := sock.recv(64):
        sock.sendall(data)


def run(api: Api, operations: int) -> None:
    """One operation: one byte there and back, two waits for readiness."""
    ours, theirs = api.module("socket").socketpair()
    other = api.spawn(answer, theirs)
    for _ in range(operations):
        ours.sendall(b"x")
        if ours.recv(64) != b"x":
            raise RuntimeError("the answer is not what was sent")
    ours.close()
    other.join()
    theirs.close()


if __name__ == "__main__":
    main(run, OPERATIONS)
