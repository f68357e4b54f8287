"""Many TCP connections at once: each is opened, says one word, gets it back and closes."""

from __future__ import annotations

from typing import Any

from shim import Api, main

OPERATIONS = 3_000
AT_ONCE = 100


def answer(sock: Any) -> None:
    """Sends back what comes, until the other side closes."""
    while data := sock.recv(64):
        sock.sendall(data)
    sock.close()


def serve(api: Api, listener: Any) -> None:
    """A greenlet for each connection."""
    while True:
        api.spawn(answer, listener.accept()[0])


def call(api: Api, address: Any) -> None:
    """One connection."""
    sock = api.module("socket").create_connection(address)
    sock.sendall(b"hello")
    if sock.recv(64) != b"hello":
        raise RuntimeError("the answer is not what was sent")
    sock.close()


def run(api: Api, operations: int) -> None:
    """One operation: one connection."""
    listener = api.module("socket").socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(AT_ONCE)
    serving = api.spawn(serve, api, listener)
    for _ in range(operations // AT_ONCE):
        api.joinall([api.spawn(call, api, listener.getsockname()) for _ in range(AT_ONCE)], raise_error=True)
    serving.kill()
    listener.close()


if __name__ == "__main__":
    main(run, OPERATIONS)
