"""Event loops that do not go on: closed under a greenlet that waits for them, or left in the parent by a fork."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import threading
import warnings

import pytest
from hubbub import Event, Timeout, sleep, spawn
from hubbub.lowlevel import run_callback
from hubbub_asyncio import await_, in_greenlet, iterate, run, thread_loop
from hubbub_asyncio.bridge import Worker

LIMIT = 20
"""Seconds after which a wait has hung."""


class Begun:
    """A coroutine that waits for ever, and tells in which thread's event loop it has begun."""

    def __init__(self):
        self.event = threading.Event()

    async def wait(self):
        self.event.set()
        await asyncio.get_running_loop().create_future()


def waits_for_ever_on(loop):
    """A greenlet that waits for a task of another thread's event loop, which has begun."""
    begun = Begun()
    waiting = spawn(await_, begun.wait(), loop=loop)
    sleep(0)
    assert begun.event.wait(LIMIT)
    return waiting


def in_a_thread(loop):
    """Run an event loop in a native thread; returns a function that stops it there, without ending its tasks."""
    native = threading.Thread(target=loop.run_forever)
    native.start()

    def stop():
        loop.call_soon_threadsafe(loop.stop)
        native.join(LIMIT)

    return stop


# Closed --------------------------------------------------------------------------------------------------------------


def test_closed_before_it_begins(hub):
    """A greenlet that waits for an event loop which is closed before it has made the task is told; no coroutine is lost
    with a warning."""
    loop = asyncio.new_event_loop()
    waiting = Worker.spawn(await_, Begun().wait(), loop=loop)
    sleep(0)
    loop.close()
    with pytest.raises(RuntimeError, match="was closed"):
        waiting.get(timeout=LIMIT)


def test_a_task_that_cannot_be_made(hub):
    """A greenlet gets the error for which the other event loop cannot make the task."""

    def refuse(loop, coroutine, **options):
        coroutine.close()
        raise ZeroDivisionError

    loop = asyncio.new_event_loop()
    loop.set_task_factory(refuse)
    stop = in_a_thread(loop)
    try:
        with pytest.raises(ZeroDivisionError), Timeout(LIMIT):
            await_(Begun().wait(), loop=loop)
    finally:
        stop()
        loop.close()


def test_killed_when_it_is_closed(hub):
    """A greenlet that waits for a task of an event loop which was closed can be killed: nothing is left to wait for."""
    loop = asyncio.new_event_loop()
    stop = in_a_thread(loop)
    waiting = waits_for_ever_on(loop)
    for task in asyncio.all_tasks(loop):
        task._log_destroy_pending = False
    del task
    stop()
    loop.close()
    waiting.kill(timeout=LIMIT)
    assert waiting.dead
    assert waiting.successful()


def test_closed_while_a_killed_greenlet_waits_for_the_end(hub):
    """A killed greenlet waits until its task on another event loop has ended; if that is closed before, no longer."""
    loop = asyncio.new_event_loop()
    stop = in_a_thread(loop)
    waiting = waits_for_ever_on(loop)
    stop()
    for task in asyncio.all_tasks(loop):
        task._log_destroy_pending = False
    del task
    waiting.kill(block=False)
    sleep(0)
    sleep(0)
    assert not waiting.dead
    loop.close()
    waiting.join(LIMIT)
    assert waiting.dead
    assert waiting.successful()


# In a callback of the hub --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nested", [False, True])
def test_run_in_a_callback_of_the_hub(hub, nested):
    """A callback of the hub may run an event loop, also while another callback waits."""
    results = []
    done = Event()

    async def main(result):
        await asyncio.sleep(0.001)
        return result

    def callback():
        if nested:
            run_callback(lambda: results.append(run(main("inner"))))
            sleep(0.005)
        results.append(run(main("outer")))
        done.set()

    run_callback(callback)
    assert done.wait(LIMIT)
    assert results == (["inner", "outer"] if nested else ["outer"])


@pytest.mark.parametrize("kind", [ZeroDivisionError, SystemExit])
def test_an_error_of_run_in_a_callback_of_the_hub(hub, kind):
    """What ends an event loop that a callback of the hub runs comes out of run there, and is not reported besides."""
    caught = []
    done = Event()

    async def main():
        await asyncio.sleep(0)
        raise kind

    def callback():
        try:
            run(main())
        except kind as error:
            caught.append(error)
        done.set()

    run_callback(callback)
    assert done.wait(LIMIT)
    assert [type(error) for error in caught] == [kind]


# Left by a fork ------------------------------------------------------------------------------------------------------


def in_a_child(function):
    """Call a function in a child process, which ends with it; its result, a line of text."""
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # native threads of other tests
        child = os.fork()
    if child == 0:
        try:
            with Timeout(LIMIT):
                answer = str(function())
        except BaseException as error:
            answer = repr(error)
        os.write(writer, answer.encode())
        os._exit(0)
    os.close(writer)
    with open(reader) as stream:
        answer = stream.read()
    os.waitpid(child, 0)
    return answer


def test_tasks_of_the_parent(hub):
    """In the child of a fork await_ works on a new event loop; tasks that were left in the parent stay there."""
    steps = []

    async def stepping():
        while True:
            steps.append(None)
            await asyncio.sleep(0.001)

    parents = spawn(await_, stepping())
    sleep(0.005)

    def child():
        before, old = len(steps), list(asyncio.all_tasks(thread_loop()))
        return await_(asyncio.sleep(0.02, "awaited")), len(steps) - before, old

    assert in_a_child(child) == "('awaited', 0, [])"
    parents.kill()


def test_a_fork_in_a_greenlet_of_a_task(hub):
    """In the child of a fork by a greenlet that a task has started await_ does not go to the parent's event loop."""

    async def main():
        others = asyncio.create_task(asyncio.sleep(60))
        result = await in_greenlet(in_a_child, lambda: await_(asyncio.sleep(0.001, "awaited")))
        others.cancel()
        return result

    assert run(main()) == "awaited"


def test_an_event_loop_of_the_parent(hub):
    """An event loop that runs in the parent is refused in the child: it would never go on."""
    await_(asyncio.sleep(0))
    loop = thread_loop()
    assert "runs in the parent" in in_a_child(lambda: await_(asyncio.sleep(0), loop=loop))


def test_run_after_a_fork(hub):
    """In the child of a fork in the middle of a coroutine new event loops run, in the same greenlet and in others."""

    async def main():
        return in_a_child(lambda: (run(asyncio.sleep(0.001, 1)), spawn(run, asyncio.sleep(0.001, 2)).get()))

    assert run(main()) == "(1, 2)"


# Dropped -------------------------------------------------------------------------------------------------------------


def test_an_iterator_dropped_in_a_cycle(hub, capfd):
    """An iterator that its user has dropped in a cycle is closed by the collector, once, and quietly."""
    ended = []

    async def numbers():
        try:
            for number in range(10):
                yield number
                await asyncio.sleep(0)
        finally:
            await asyncio.sleep(0)
            ended.append(True)

    def use():
        cycle = [iterate(numbers())]
        cycle.append(cycle)
        return next(cycle[0])

    assert spawn(use).get() == 0
    gc.collect()
    assert ended == [True]
    with Timeout(LIMIT):
        while asyncio.all_tasks(thread_loop()):
            sleep(0)
    assert capfd.readouterr().err == ""


def test_an_iterator_left_at_exit():
    """A program that ends with an iterator open says nothing."""
    code = (
        "import asyncio\n"
        "from hubbub_asyncio import iterate\n"
        "async def numbers():\n"
        "    for number in range(9):\n"
        "        await asyncio.sleep(0)\n"
        "        yield number\n"
        "numbers = iterate(numbers())\n"
        "print(next(numbers))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert (done.stdout, done.stderr) == ("0\n", "")
