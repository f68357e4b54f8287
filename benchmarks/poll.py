"""A greenlet waits for one of a hundred descriptors."""

from __future__ import annotations

from typing import Any

from shim import Api, main

OPERATIONS = 2_000
DESCRIPTORS = 100


def answer(control: Any, ends: list[Any]) -> None:
    """Makes one descriptor after the other readable, one for each byte that comes."""
    number = 0
    while control.recv(1):
        ends[number % len(ends)].send(b"x")
        number += 1


def run(api: Api, operations: int) -> None:
    """One operation: ask another greenlet for a byte, wait in ``poll``, read it."""
    socket, select = api.module("socket"), api.module("select")
    ours, theirs = socket.socketpair()
    pairs = [socket.socketpair() for _ in range(DESCRIPTORS)]
    polled = {one.fileno(): one for one, _ in pairs}
    poller = select.poll()
    for sock in polled.values():
        poller.register(sock, select.POLLIN)
    other = api.spawn(answer, theirs, [end for _, end in pairs])
    for _ in range(operations):
        ours.send(b"x")
        for fd, _ in poller.poll():
            polled[fd].recv(1)
    ours.close()
    other.join()
    for one, end in pairs:
        one.close()
        end.close()


if __name__ == "__main__":
    main(run, OPERATIONS)
