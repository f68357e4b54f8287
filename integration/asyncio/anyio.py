# /// script
# dependencies = ["anyio>=4.4"]
# ///
"""anyio with its asyncio backend: task groups, cancel scopes, threads, sockets and processes, among greenlets."""

from __future__ import annotations

import hubbub_monkey

hubbub_monkey.patch_all()

import asyncio
import sys
import time

import anyio
import anyio.from_thread
import anyio.to_thread
import hubbub_asyncio
from trial.overlap import overlap


async def groups() -> None:
    """A failing task ends its group, a scope its task, a time limit both."""
    ended: list[str] = []

    async def lasting(name: str) -> None:
        try:
            await anyio.sleep(60)
        finally:
            ended.append(name)

    try:
        async with anyio.create_task_group() as group:
            group.start_soon(lasting, "by failure")
            await anyio.sleep(0.01)
            raise ValueError
    except* ValueError:
        pass
    with anyio.move_on_after(0.02) as scope:
        await lasting("by time")
    assert scope.cancelled_caught
    async with anyio.create_task_group() as group:
        group.start_soon(lasting, "by scope")
        await anyio.sleep(0.01)
        group.cancel_scope.cancel()
    assert ended == ["by failure", "by time", "by scope"], ended
    with anyio.CancelScope(shield=True), anyio.move_on_after(0.01):
        await anyio.sleep(1)


async def threads() -> None:
    """A worker thread, which is a greenlet, and back from it."""

    def blocking() -> int:
        time.sleep(1)
        return anyio.from_thread.run(answer)

    async def answer() -> int:
        return 42

    assert await anyio.to_thread.run_sync(blocking) == 42


async def sockets() -> None:
    """A server and a client."""

    async def serve(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await stream.send((await stream.receive()).upper())

    listeners = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with anyio.create_task_group() as group:
        group.start_soon(listeners.serve, serve)
        port = listeners.extra(anyio.abc.SocketAttribute.local_port)
        async with await anyio.connect_tcp("127.0.0.1", port) as client:
            await client.send(b"hello")
            assert await client.receive() == b"HELLO"
        group.cancel_scope.cancel()


async def main() -> str:
    """All of it."""
    await groups()
    await sockets()
    await threads()
    done = await anyio.run_process([sys.executable, "-c", "print(6 * 7)"])
    return done.stdout.decode().strip()


def by_factory(_: int) -> str:
    """``anyio.run`` on the hub's event loop."""
    return anyio.run(main, backend_options={"loop_factory": hubbub_asyncio.new_event_loop})


results = []
for way in (lambda _: anyio.run(main), by_factory, lambda _: hubbub_asyncio.await_(main())):
    done = overlap(way, jobs=16, each=1)
    assert done.results == ["42"] * 16, done.results
    results.append(done)
with anyio.from_thread.start_blocking_portal() as portal:
    assert portal.call(asyncio.sleep, 0.01, "good") == "good"
print(f"by anyio.run, on the hub's event loop, and by await_: {results[1]}")
