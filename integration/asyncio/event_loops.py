# /// script
# dependencies = ["uvloop>=0.19", "asgiref>=3.8"]
# ///
"""asyncio as programs use it, in many greenlets: threads, child processes, signals, debug mode, asgiref, uvloop."""

from __future__ import annotations

import hubbub_monkey

hubbub_monkey.patch_all()

import asyncio
import os
import signal
import sys
import threading
import time

import uvloop
from asgiref.sync import async_to_sync, sync_to_async
from hubbub_asyncio import new_event_loop
from trial.overlap import overlap


def blocking(value: int) -> int:
    """Something that takes time in a thread."""
    time.sleep(0.5)
    return value


async def work(number: int) -> int:
    """A thread, an executor, a child process, time limits, and an asynchronous generator left open."""

    async def numbers():
        yield 1
        yield 2

    async for _ in numbers():
        break
    assert await asyncio.to_thread(blocking, number) == number
    assert await asyncio.get_running_loop().run_in_executor(None, blocking, number) == number
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "print(input())"), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate(b"%d\n" % number)
    assert process.returncode == 0
    try:
        async with asyncio.timeout(0.01):
            await asyncio.Event().wait()
    except TimeoutError:
        return int(output)
    raise AssertionError("there was no time limit")


def by_asgiref(number: int) -> int:
    """A coroutine that calls a synchronous function that calls a coroutine."""

    async def inner() -> int:
        await asyncio.sleep(0.1)
        return number

    def middle() -> int:
        time.sleep(0.1)
        return async_to_sync(inner)()

    async def outer() -> int:
        return await sync_to_async(middle, thread_sensitive=False)()

    return async_to_sync(outer)()


def signals(factory, count: int) -> None:
    """Each of several event loops that run at once hears of a signal."""
    heard: list[int] = []
    ready = threading.Barrier(count + 1)

    async def listen(number: int) -> None:
        caught = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, caught.set)
        await asyncio.to_thread(ready.wait)
        async with asyncio.timeout(10):
            await caught.wait()
        heard.append(number)

    def run(number: int) -> None:
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(listen(number))

    listeners = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for listener in listeners:
        listener.start()
    ready.wait()
    os.kill(os.getpid(), signal.SIGUSR1)
    for listener in listeners:
        listener.join()
    assert sorted(heard) == list(range(count)), heard


def by_runner(factory, debug: bool = False):
    """Run in a runner of its own."""

    def run(number: int) -> int:
        with asyncio.Runner(loop_factory=factory, debug=debug) as runner:
            return runner.run(work(number))

    return run


loops = {"asyncio's own": None, "the hub's": new_event_loop}
for factory in loops.values():
    for debug in (False, True):
        done = overlap(by_runner(factory, debug), jobs=8, each=1)
        assert done.results == list(range(8)), done.results
    signals(factory, 3)
done = overlap(by_asgiref)
assert done.results == list(range(20)), done.results


async def on_uvloop(number: int) -> int:
    """uvloop waits in a poll of its own, and stops the native thread meanwhile."""
    await asyncio.sleep(0.02)
    return number


def by_uvloop(number: int) -> int:
    """An event loop of uvloop's."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(on_uvloop(number))


results: list[int] = []
greenlets = [threading.Thread(target=lambda number=number: results.append(by_uvloop(number))) for number in range(5)]
for greenlet in greenlets:
    greenlet.start()
for greenlet in greenlets:
    greenlet.join()
assert sorted(results) == list(range(5)), results
print(f"{', '.join(loops)}, in debug mode too, with a signal to 3 at once; uvloop one after the other; asgiref: {done}")
