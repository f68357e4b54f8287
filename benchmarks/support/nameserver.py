"""A name server in a process of its own, where every name has one address, and what asks it."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shim import Api

ADDRESS = "192.0.2.1"
AT_A_TIME = 1_000
RECORD = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\xc0\0\2\1"


def serve() -> None:
    """Prints its port, then answers for ever."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        sock.bind(("127.0.0.1", 0))
        print(sock.getsockname()[1], flush=True)
        while True:
            query, peer = sock.recvfrom(512)
            end = query.index(b"\0", 12) + 5
            sock.sendto(query[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + query[12:end] + RECORD, peer)


@contextmanager
def running() -> Iterator[int]:
    """The port of a server that runs meanwhile."""
    with subprocess.Popen([sys.executable, __file__], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


def look_up(api: Api, resolver: Any, operations: int) -> None:
    """The address of so many different names, a thousand at a time."""
    for begin in range(0, operations, AT_A_TIME):
        names = [f"n{number}.test" for number in range(begin, min(begin + AT_A_TIME, operations))]
        greenlets = [api.spawn(resolver.gethostbyname, name) for name in names]
        api.joinall(greenlets)
        if any(greenlet.value != ADDRESS for greenlet in greenlets):
            raise RuntimeError("a name has not the address that the server said")


if __name__ == "__main__":
    serve()
