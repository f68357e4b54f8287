"""asyncio's running loop belongs to the greenlet in which it runs."""

from __future__ import annotations

import asyncio
import sys
import threading

import hubbub
import pytest
from hubbub import Event, sleep, spawn
from hubbub.running_loop import separate_running_loops


@pytest.fixture
def separate(hub):
    undo = separate_running_loops(asyncio.events)
    yield hub
    undo()


def running_loop():
    return asyncio._get_running_loop()


def run_on_bare_loop(function):
    """Run ``function`` as a callback of an event loop that never waits: nothing but the running loop is looked at."""
    loop = asyncio.new_event_loop()
    outcome = []

    def call():
        try:
            outcome.append(function(loop))
        finally:
            loop.stop()

    loop.call_soon(call)
    try:
        loop.run_forever()
    finally:
        loop.close()
    return outcome[0]


def test_two_loops_in_one_thread(separate):
    """While a callback of one event loop waits, another greenlet may run one too; each finds its own."""

    def work(loop):
        seen = []
        for _ in range(3):
            sleep(0)
            seen.append(running_loop() is loop)
        return seen

    greenlets = [spawn(run_on_bare_loop, work) for _ in range(3)]
    assert [greenlet.get() for greenlet in greenlets] == [[True] * 3] * 3


def test_others_find_none(separate):
    """A greenlet that runs no event loop finds none, whoever else runs one, and is not stopped by it."""
    entered, leave = Event(), Event()

    def work(loop):
        entered.set()
        leave.wait()

    greenlet = spawn(run_on_bare_loop, work)
    entered.wait()
    assert running_loop() is None
    leave.set()
    greenlet.get()


def test_the_hub_has_no_switch_of_its_own_afterwards(separate):
    """When no event loop runs any more, a wait costs nothing more than before."""
    plain = "switch" in vars(separate)
    greenlets = [spawn(run_on_bare_loop, lambda loop: sleep(0)) for _ in range(2)]
    sleep(0)
    during = "switch" in vars(separate)
    for greenlet in greenlets:
        greenlet.get()
    assert (plain, during, "switch" in vars(separate)) == (False, True, False)


@pytest.mark.parametrize("error", [hubbub.GreenletExit, hubbub.Timeout, KeyError])
def test_an_interrupted_wait(separate, error):
    """A greenlet that is thrown into while a callback of its event loop waits finds its own loop again, and ends it."""
    seen = []

    def work(loop):
        try:
            Event().wait()
        except BaseException:
            seen.append(running_loop() is loop)

    greenlet = spawn(run_on_bare_loop, work)
    sleep(0)
    greenlet.kill(error())
    assert seen == [True]
    assert running_loop() is None
    assert "switch" not in vars(separate)


def test_hooks_of_asynchronous_generators(separate):
    """The hooks that an event loop sets for asynchronous generators are its greenlet's alone."""
    before = sys.get_asyncgen_hooks()

    def work(loop):
        mine = sys.get_asyncgen_hooks()
        sleep(0)
        return mine != before and sys.get_asyncgen_hooks() == mine

    greenlet = spawn(run_on_bare_loop, work)
    sleep(0)
    assert sys.get_asyncgen_hooks() == before
    assert greenlet.get()


def test_current_task(separate):
    """The current task is the greenlet's as well, also of one event loop in whose tasks two greenlets wait."""

    async def task():
        mine = asyncio.current_task()
        sleep(0)
        return asyncio.current_task() is mine

    greenlets = [spawn(asyncio.run, task()) for _ in range(2)]
    sleep(0)
    with pytest.raises(RuntimeError, match="no running event loop"):
        asyncio.current_task()
    assert [greenlet.get() for greenlet in greenlets] == [True, True]


def test_debug_mode(separate):
    """The tracking of coroutines in an event loop's debug mode stays in its greenlet, and is off afterwards."""

    async def main():
        depth = sys.get_coroutine_origin_tracking_depth()
        sleep(0)
        return depth, sys.get_coroutine_origin_tracking_depth()

    greenlet = spawn(lambda: asyncio.run(main(), debug=True))
    sleep(0)
    outside = sys.get_coroutine_origin_tracking_depth()
    during = greenlet.get()
    assert during[0] == during[1] > 0
    assert outside == sys.get_coroutine_origin_tracking_depth() == 0


def test_other_threads(separate):
    """Event loops of other native threads are kept apart in the same way."""

    def work(loop):
        sleep(0)
        return running_loop() is loop

    results = []

    def thread():
        results.extend(spawn(run_on_bare_loop, work) for _ in range(2))
        hubbub.joinall(results)

    native = threading.Thread(target=thread)
    native.start()
    native.join(30)
    assert [greenlet.value for greenlet in results] == [True, True]


def test_twice(hub):
    """Who asks when it is done already undoes nothing by undoing; the first undoes all."""
    before = asyncio.events._set_running_loop
    undo = separate_running_loops(asyncio.events)
    replaced = asyncio.events._set_running_loop
    separate_running_loops(asyncio.events)()
    still = asyncio.events._set_running_loop
    undo()
    assert still is replaced
    assert asyncio.events._set_running_loop is asyncio._set_running_loop is before
