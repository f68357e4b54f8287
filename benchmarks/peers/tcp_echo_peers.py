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


class Connections:
    """Counts those of a run, and takes the time from when the last is there until all have ended."""

    def __init__(self, size: int, over: Callable[[], object]) -> None:
        self.missing = self.left = size
        self.over = over
        self.began = self.took = 0.0

    def begin(self) -> None:
        """One more is there."""
        self.missing -= 1
        if not self.missing:
            self.began = time.process_time()

    def end(self) -> None:
        """One has ended."""
        self.left -= 1
        if not self.left:
            self.took = time.process_time() - self.began
            self.over()


async def streams(start: Client, size: int) -> float:
    """By asyncio's StreamReader and StreamWriter."""
    over = asyncio.Event()
    connections = Connections(size, over.set)

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.begin()
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()
        connections.end()

    server = await asyncio.start_server(echo, "127.0.0.1", 0, backlog=size)
    await served(server, start, over)
    return connections.took


class Echo(asyncio.Protocol):
    """Sends back what comes."""

    def __init__(self, connections: Connections) -> None:
        self.connections = connections

    def connection_made(self, transport: Any) -> None:
        """The client is there."""
        self.write = transport.write
        self.connections.begin()

    def data_received(self, data: bytes) -> None:
        """It has sent something."""
        self.write(data)

    def connection_lost(self, _: Exception | None) -> None:
        """It has gone."""
        self.connections.end()


async def protocols(start: Client, size: int) -> float:
    """By an asyncio.Protocol, which has no coroutine for each connection."""
    over = asyncio.Event()
    connections = Connections(size, over.set)
    server = await asyncio.get_running_loop().create_server(lambda: Echo(connections), "127.0.0.1", 0, backlog=size)
    await served(server, start, over)
    return connections.took


async def served(server: asyncio.AbstractServer, start: Client, over: asyncio.Event) -> None:
    """Have the client ask, until all is over."""
    client = start(getattr(server, "sockets")[0].getsockname()[1])  # noqa: B009  # the abstract class has none
    await over.wait()
    server.close()
    check(client)


async def trio_streams(start: Client, size: int) -> float:
    """By trio's SocketStream."""
    trio = importlib.import_module("trio")
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1", backlog=size)
    client = start(listeners[0].socket.getsockname()[1])
    async with trio.open_nursery() as nursery:
        connections = Connections(size, nursery.cancel_scope.cancel)

        async def echo(stream: Any) -> None:
            connections.begin()
            while data := await stream.receive_some(65536):
                await stream.send_all(data)
            connections.end()

        await trio.serve_listeners(echo, listeners, handler_nursery=nursery)
    check(client)
    return connections.took


def check(client: subprocess.Popen[bytes]) -> None:
    """It ends at once, as it has closed its connections."""
    if client.wait(60):
        raise RuntimeError("the client failed")


def run_by(library: str) -> Callable[[Coroutine[Any, Any, float]], float]:
    """What runs a coroutine of asyncio on a library's loop."""
    if library == "asyncio":
        return asyncio.run
    run: Callable[[Coroutine[Any, Any, float]], float] = importlib.import_module(library).run
    return run


def ask(name: str, operations: int, size: int) -> float:
    """One operation: one message of 64 bytes received and sent back. CPU seconds, from when the last is connected."""

    def start(port: int) -> subprocess.Popen[bytes]:
        command = [sys.executable, str(FOLDER / "tcp_echo.py"), "client", str(port), str(operations), str(size)]
        return subprocess.Popen(command)

    library, _, kind = name.partition("-")
    connections = size + 1  # see request_all
    if library == "c":
        return in_c(start, connections)
    if library == "trio":
        took: float = importlib.import_module("trio").run(trio_streams, start, connections)
        return took
    return run_by(library)((streams if kind == "streams" else protocols)(start, connections))


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
