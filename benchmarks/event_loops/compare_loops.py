"""Compares event loops of asyncio, each in a process of its own, in turn: CPU time per operation, the least of rounds.

``compare_loops.py --hubbub PYTHON --uvloop PYTHON``: interpreters of environments with hubbub-asyncio and with uvloop.

=============  ===========================================================================================
echo_streams   64 bytes sent back by ``asyncio.start_server``, 64 connections
echo_protocol  the same by a protocol
tasks          a task that ends at once, awaited
await_ready    a greenlet waits by ``await_`` for a coroutine that never waits
in_greenlet    a coroutine waits by ``in_greenlet`` for a function that never waits
wait_alone     ``hubbub.sleep(0)`` in a thread without an event loop
wait_beside    the same beside an event loop that runs
=============  ===========================================================================================
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

MESSAGE = b"x" * 63 + b"!"
CONNECTIONS = 64
OPERATIONS = {"echo_streams": 40_000, "echo_protocol": 40_000}
BOTH = ("echo_streams", "echo_protocol", "tasks")
OURS = ("await_ready", "in_greenlet", "wait_alone", "wait_beside")


def converse(port: int, count: int) -> None:
    """The client: one message under way on each connection, until ``count`` have come back."""
    socks = {}
    poller = select.epoll()
    for _ in range(CONNECTIONS):
        sock = socket.create_connection(("127.0.0.1", port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        socks[sock.fileno()] = sock
        poller.register(sock, select.EPOLLIN)
        sock.sendall(MESSAGE)
    done = 0
    while done < count:
        for descriptor, _ in poller.poll(30):
            if len(socks[descriptor].recv(4096)) == len(MESSAGE):
                done += 1
            socks[descriptor].sendall(MESSAGE)
    for sock in socks.values():
        sock.close()


async def serve_streams(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Sends back what comes."""
    try:
        while data := await reader.read(65536):
            writer.write(data)
    except ConnectionError:
        pass  # the client has enough
    writer.close()


class Echo(asyncio.Protocol):
    """Sends back what comes."""

    def connection_made(self, transport: Any) -> None:
        """Keep the transport."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Send it back."""
        self.transport.write(data)


async def echo(program: str, count: int) -> float:
    """Serve a client, which is another process; the CPU time of this one."""
    loop = asyncio.get_running_loop()
    if program == "echo_streams":
        server: Any = await asyncio.start_server(serve_streams, "127.0.0.1", 0)
    else:
        server = await loop.create_server(Echo, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    client = await asyncio.create_subprocess_exec(sys.executable, __file__, "client", str(port), str(count))
    begun = time.process_time()
    await client.wait()
    return time.process_time() - begun


async def tasks(count: int) -> float:
    """Tasks that end at once."""
    begun = time.process_time()
    for _ in range(count):
        await asyncio.create_task(asyncio.sleep(0, None))
    return time.process_time() - begun


async def nothing() -> None:
    """Never waits."""


def ours(program: str, count: int) -> float:
    """What only hubbub has."""
    hubbub, aio = importlib.import_module("hubbub"), importlib.import_module("hubbub_asyncio")

    def timed(work: Callable[[], None]) -> float:
        begun = time.process_time()
        hubbub.spawn(work).join()
        return time.process_time() - begun

    async def coroutine() -> float:
        begun = time.process_time()
        for _ in range(count):
            await aio.in_greenlet(bool)
        return time.process_time() - begun

    def awaits() -> None:
        for _ in range(count):
            aio.await_(nothing())

    def waits() -> None:
        for _ in range(count):
            hubbub.sleep(0)

    if program == "in_greenlet":
        taken: float = aio.run(coroutine())
        return taken
    if program != "wait_alone":
        hubbub.spawn(aio.await_, asyncio.sleep(0)).join()
    return timed(awaits if program == "await_ready" else waits)


def measure(library: str, program: str) -> float:
    """CPU microseconds per operation, in this process."""
    count = OPERATIONS.get(program, 20_000)
    if program in OURS:
        return ours(program, count) / count * 1e6
    factory = {
        "hubbub": lambda: importlib.import_module("hubbub_asyncio").new_event_loop(),
        "uvloop": lambda: importlib.import_module("uvloop").new_event_loop(),
        "asyncio": asyncio.new_event_loop,
    }[library]
    with asyncio.Runner(loop_factory=factory) as runner:
        taken = runner.run(tasks(count) if program == "tasks" else echo(program, count))
    return taken / count * 1e6


def child(python: str, library: str, program: str) -> float:
    """The same, in a process of its own."""
    done = subprocess.run(
        [python, __file__, "measure", library, program], stdout=subprocess.PIPE, text=True, check=True
    )
    return float(done.stdout)


def main() -> None:
    """Run what the arguments ask for."""
    if sys.argv[1] == "client":
        converse(int(sys.argv[2]), int(sys.argv[3]))
        return
    if sys.argv[1] == "measure":
        print(measure(*sys.argv[2:4]), flush=True)
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for library in ("hubbub", "uvloop"):
        parser.add_argument(f"--{library}", required=True, help=f"the Python of an environment with {library}")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("programs", nargs="*", default=[*BOTH, *OURS])
    options = parser.parse_args()
    for program in options.programs:
        pythons = {"hubbub": options.hubbub}
        if program in BOTH:
            pythons |= {"uvloop": options.uvloop, "asyncio": options.uvloop}
        seen: dict[str, list[float]] = {library: [] for library in pythons}
        for _ in range(options.rounds):
            for library, python in pythons.items():
                seen[library].append(child(python, library, program))
        least = {library: min(values) for library, values in seen.items()}
        words = [f"{library} {value:.2f}" for library, value in least.items()]
        if "uvloop" in least:
            words.append(f"{least['hubbub'] / least['uvloop']:.2f} of uvloop")
        print(f"{program:14} {'  '.join(words)}", flush=True)


if __name__ == "__main__":
    main()
