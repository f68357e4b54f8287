"""Two greenlets send datagrams of one byte back and forth."""

from __future__ import annotations

from typing import Any

from shim import Api, main

OPERATIONS = 10_000


def answer(sock: Any) -> None:
    """Sends back what comes, until it is an empty datagram."""
    while True:
        data, address = sock.recvfrom(64)
        if not data:
            return
        sock.sendto(data, address)


def run(api: Api, operations: int) -> None:
    """One operation: one datagram there and one back."""
    socket = api.module("socket")
    ours, theirs = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
    ours.bind(("127.0.0.1", 0))
    theirs.bind(("127.0.0.1", 0))
    address = theirs.getsockname()
    other = api.spawn(answer, theirs)
    for _ in range(operations):
        ours.sendto(b"x", address)
        if ours.recvfrom(64)[0] != b"x":
            raise RuntimeError("the answer is not what was sent")
    ours.sendto(b"", address)
    other.join()
    ours.close()
    theirs.close()


if __name__ == "__main__":
    main(run, OPERATIONS)
