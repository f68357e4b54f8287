"""The echo server of ``tcp_echo.py`` as one writes it for asyncio, for uvloop, for trio, and in C with epoll.

``run.py`` shows them beside that row. Run alone, ``python tcp_echo_peers.py asyncio-streams`` prints its CPU time.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(FOLDER))

from tcp_echo import OPERATIONS, SIZES, allow_descriptors  # noqa: E402  # beside the other programs

Client = Callable[[int], "subprocess.Popen[bytes]"]
"""Starts what asks a port."""


async def streams(start: Client, size: int) -> None:
    """By asyncio's StreamReader and StreamWriter."""
    left, over = size, asyncio.Event()

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal left
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()
        left -= 1
        if not left:
            over.set()

    server = await asyncio.start_server(echo, "127.0.0.1", 0, backlog=size)
    await served(server, start, over)


class Echo(asyncio.Protocol):
    """Sends back what comes."""

    def __init__(self, ended: Callable[[], None]) -> None:
        self.ended = ended

    def connection_made(self, transport: Any) -> None:
        """The client is there."""
        self.write = transport.write

    def data_received(self, data: bytes) -> None:
        """It has sent something."""
        self.write(data)

    def connection_lost(self, _: Exception | None) -> None:
        """It has gone."""
        self.ended()


async def protocols(start: Client, size: int) -> None:
    """By an asyncio.Protocol, which has no coroutine for each connection."""
    left, over = size, asyncio.Event()

    def end() -> None:
        nonlocal left
        left -= 1
        if not left:
            over.set()

    server = await asyncio.get_running_loop().create_server(lambda: Echo(end), "127.0.0.1", 0, backlog=size)
    await served(server, start, over)


async def served(server: asyncio.AbstractServer, start: Client, over: asyncio.Event) -> None:
    """Have the client ask, until all is over."""
    client = start(getattr(server, "sockets")[0].getsockname()[1])  # noqa: B009  # the abstract class has none
    await over.wait()
    server.close()
    check(client)


async def trio_streams(start: Client, size: int) -> None:
    """By trio's SocketStream."""
    trio = importlib.import_module("trio")
    left = size

    async def echo(stream: Any) -> None:
        nonlocal left
        while data := await stream.receive_some(65536):
            await stream.send_all(data)
        left -= 1
        if not left:
            nursery.cancel_scope.cancel()

    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1", backlog=size)
    client = start(listeners[0].socket.getsockname()[1])
    async with trio.open_nursery() as nursery:
        await trio.serve_listeners(echo, listeners, handler_nursery=nursery)
    check(client)


def check(client: subprocess.Popen[bytes]) -> None:
    """It ends at once, as it has closed its connections."""
    if client.wait(60):
        raise RuntimeError("the client failed")


def run_by(library: str) -> Callable[[Coroutine[Any, Any, None]], None]:
    """What runs a coroutine of asyncio on a library's loop."""
    if library == "asyncio":
        return asyncio.run
    run: Callable[[Coroutine[Any, Any, None]], None] = importlib.import_module(library).run
    return run


def ask(name: str, operations: int, size: int) -> float:
    """One operation: one message of 64 bytes received and sent back. The CPU seconds of all."""

    def start(port: int) -> subprocess.Popen[bytes]:
        command = [sys.executable, str(FOLDER / "tcp_echo.py"), "client", str(port), str(operations), str(size)]
        return subprocess.Popen(command)

    library, _, kind = name.partition("-")
    if library == "c":
        return in_c(start, size)
    before = time.process_time()
    if library == "trio":
        importlib.import_module("trio").run(trio_streams, start, size)
    else:
        run_by(library)((streams if kind == "streams" else protocols)(start, size))
    return time.process_time() - before


def in_c(start: Client, size: int) -> float:
    """What ``tcp_echo.c`` says that it took, compiled for this run."""
    with tempfile.TemporaryDirectory() as folder:
        program = str(Path(folder, "tcp_echo"))
        subprocess.run(["cc", "-O2", "-o", program, str(Path(__file__).with_name("tcp_echo.c"))], check=True)
        with subprocess.Popen([program, str(size)], stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None  # it was asked for
            client = start(int(server.stdout.readline()))
            cost = float(server.stdout.readline())
        check(client)
        return cost


def main() -> None:
    """Warm up, echo, and print the CPU seconds of an operation as JSON, as ``shim.main`` does."""
    parser = argparse.ArgumentParser(description=__doc__)
    names = ["asyncio-streams", "asyncio-protocols", "uvloop-streams", "uvloop-protocols", "trio-streams", "c-epoll"]
    parser.add_argument("name", choices=names)
    parser.add_argument("--operations", type=int, default=OPERATIONS)
    parser.add_argument("--size", type=int, default=SIZES[0])
    parser.add_argument("--repeat", type=int, default=1)
    given = parser.parse_args()
    allow_descriptors()
    count = max(given.operations, given.size)
    ask(given.name, max(1, count // 10), given.size)
    print(json.dumps({"seconds": min(ask(given.name, count, given.size) for _ in range(given.repeat)) / count}))


if __name__ == "__main__":
    main()
