"""No reference is lost or kept too long, also when memory is short."""

from __future__ import annotations

import asyncio
import gc
import socket
import subprocess
import sys
import tracemalloc
from typing import Any

import pytest
from hubbub_asyncio import run


class Echo(asyncio.Protocol):
    """Sends back what comes."""

    def connection_made(self, transport: Any) -> None:
        """Keep the transport."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Send it back."""
        self.transport.write(data)


@pytest.mark.usefixtures("hub", "methods")
def test_nothing_is_left() -> None:
    """Thousands of messages and callbacks leave no object and no memory behind."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        transport, _ = await loop.create_connection(Echo, sock=ours)

        async def ask(count: int) -> None:
            for _ in range(count):
                theirs.send(b"x" * 100)
                received = 0
                while received < 100:
                    received += len(await loop.sock_recv(theirs, 100))
                loop.call_soon(divmod, 1, 1)
                loop.call_soon(id, 1).cancel()

        with theirs:
            await ask(100)
            gc.collect()
            objects = len(gc.get_objects())
            tracemalloc.start()
            try:
                await ask(10)
                gc.collect()
                before = tracemalloc.get_traced_memory()[0]
                await ask(1500)
                gc.collect()
                grown = tracemalloc.get_traced_memory()[0] - before
            finally:
                tracemalloc.stop()
            transport.close()
            await asyncio.sleep(0)
        assert len(gc.get_objects()) - objects < 100
        assert grown < 20_000  # one lost object a message would be at least 24,000

    run(main())


SHORT = """
import _testcapi, asyncio, socket, sys
import hubbub
from hubbub_asyncio import acceleration, new_event_loop

loop = new_event_loop()
assert acceleration.accelerate()
loop.set_exception_handler(lambda loop, context: None)
failed = [0]
called = [0]

def short(number, function, *args):
    "What a function returns, of whose allocations one fails; None if it is out of memory."
    _testcapi.set_nomemory(number, number + 1)
    try:
        return function(*args)
    except MemoryError:
        failed[0] += 1
    finally:
        _testcapi.remove_mem_hooks()

def callback(one, two):
    called[0] = 1

for number in range(60):
    handle = short(number, loop.call_soon, callback, 1, 2)
    assert len(loop._ready) == (handle is not None), number
    called[0] = 0
    loop._call_ready()
    assert called[0] == (handle is not None), number
    loop.call_soon(callback, 1, 2)
    short(number, loop._call_ready)
    loop._call_ready()
    assert not loop._ready
    short(number, loop.create_future)
assert failed[0] > 1, failed

class Keeper(asyncio.Protocol):
    def __init__(self):
        self.pieces = []
        self.lost = False
    def data_received(self, data):
        self.pieces.append(data)
    def connection_lost(self, error):
        self.lost = True

for number in range(100):
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    with theirs:
        keeper = Keeper()
        transport, _ = loop.run_until_complete(loop.create_connection(lambda: keeper, sock=ours))
        theirs.send(b"x" * 4096)
        short(number, transport._read_ready)
        loop.run_until_complete(asyncio.sleep(0))
        assert b"".join(keeper.pieces) in (b"", b"x" * 4096)
        short(number, transport.write, b"y")
        loop.run_until_complete(asyncio.sleep(0))
        try:
            assert theirs.recv(10) in (b"y", b"")
        except BlockingIOError:
            pass
        transport.abort()
        loop.run_until_complete(asyncio.sleep(0))
        loop.run_until_complete(asyncio.sleep(0))
loop.close()
print("sound")
"""


@pytest.mark.unsanitized
def test_short_of_memory() -> None:
    """Each allocation may fail: there is an error, or a connection that ends, and what comes next works."""
    pytest.importorskip("_testcapi")
    done = subprocess.run([sys.executable, "-c", SHORT], capture_output=True, text=True, timeout=100)
    assert done.stdout == "sound\n", done.stderr
