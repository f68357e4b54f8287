"""Who runs the callbacks changes in the middle of a round: none is lost, and no event loop ends with work left."""

from __future__ import annotations

import asyncio
import gc
import weakref
from contextlib import suppress

import pytest
from greenlet import getcurrent
from hubbub import Event, Timeout, sleep, spawn
from hubbub_asyncio import as_future, await_, in_greenlet, run
from hubbub_asyncio.bridge import thread_loop
from hubbub_asyncio.loop import HubEventLoop


def until(condition):
    with Timeout(10):
        while not condition():
            sleep(0)


def test_a_round_whose_callbacks_others_have_called(hub):
    """A stand-in calls most of a round, and has ended when the round goes on: there is nothing left to call."""
    called = []

    async def main():
        loop = asyncio.get_running_loop()
        gate, done = loop.create_future(), loop.create_future()

        def waits():
            await_(gate)
            assert loop._runner is not loop._origin
            called.append("waits")

        def opens():
            gate.set_result(None)
            loop.call_soon(called.append, "third")
            loop.call_soon(gives_way)

        def gives_way():  # in the stand-in: the greenlet of run_forever goes on, with one callback left of several
            loop.call_soon(last)
            sleep(0)
            assert loop._runner is loop._origin

        def last():
            until(lambda: not loop._stand_ins)
            called.append("last")
            hub.loop.run_callback(done.set_result, None)

        loop.call_soon(waits)
        loop.call_soon(opens)
        for _ in range(6):
            loop.call_soon(called.append, "second")
        await done

    with Timeout(10):
        run(main())
    assert called == [*["second"] * 6, "third", "waits", "last"]


@pytest.mark.parametrize("then", ["ends", "waits on"])
def test_stopped_while_a_first_step_waits(hub, then):
    """An event loop that is to stop, told to a stand-in while a first step waits, stops when the step has ended."""
    gate = Event()
    ended = []

    async def step():
        gate.wait()
        ended.append("step")
        if then == "waits on":
            await asyncio.get_running_loop().create_future()

    def worker(loop):
        with suppress(asyncio.CancelledError):
            await_(step(), loop=loop)

    async def main():
        loop = asyncio.get_running_loop()
        workers.append(spawn(worker, loop))
        loops.append(loop)
        waits = loop.create_future()
        spawn(lambda: (until(lambda: loop._stand_ins), waits.set_result(None)))
        await waits
        ended.append("main")

    workers, loops = [], []
    with Timeout(10):
        runner = spawn(run, main())
        until(lambda: ended)
        until(lambda: loops[0]._stops_later)
        assert not runner.dead
        gate.set()
        runner.get()
        workers[0].join()
    assert ended == ["main", "step"]


def test_stopped_while_a_stand_in_is_left(hub):
    """A stand-in that ends, while the event loop is about to stop, takes the stop for nothing of its own."""
    event = Event()
    loop = HubEventLoop()
    gate = loop.create_future()

    def waits():
        await_(gate)
        loop.call_soon(stops)

    def stops():
        loop.call_soon(loop.stop)
        loop.call_soon(ends_the_stand_in)

    def opens():
        gate.set_result(None)
        loop.call_soon(event.wait)  # holds the stand-in

    def ends_the_stand_in():
        assert loop._stand_ins == 1
        event.set()
        until(lambda: not loop._stand_ins)

    loop.call_soon(waits)
    loop.call_soon(opens)
    with Timeout(10):
        loop.run_forever()
    loop.close()


def test_stopped_by_a_greenlet(hub):
    """Any greenlet of the thread may stop an event loop that has nothing to do."""
    loop = HubEventLoop()
    runner = spawn(loop.run_forever)
    until(lambda: loop._waiting is not None)
    loop.stop()
    runner.get(timeout=10)
    loop.close()


def test_stopped_by_a_callback_that_has_waited(hub):
    """A callback that stops the event loop, after a wait in the middle, in a stand-in that others stand in for."""
    loop = HubEventLoop()
    gate = loop.create_future()

    def waits_for_ever():
        with suppress(asyncio.CancelledError):
            await_(loop.create_future())

    def stops():
        await_(gate)
        until(lambda: loop._waiting is not None)
        loop.stop()

    def opens():
        until(lambda: loop._stand_ins == 2)
        gate.set_result(None)

    loop.call_soon(waits_for_ever)
    loop.call_soon(stops)
    spawn(opens)
    with Timeout(10):
        loop.run_forever()
    until(lambda: not loop._stand_ins)
    loop.close()


@pytest.mark.parametrize("begun", [True, False])
def test_a_killed_greenlet_of_an_event_loop(hub, begun):
    """Tasks of a thread's event loop whose greenlet is killed, begun or not, go on in another greenlet."""

    async def waits():
        await gate
        return 7

    loop = thread_loop()
    if begun:
        until(loop.is_running)
    gate = loop.create_future()
    waiter = spawn(await_, waits())
    if not begun:
        task = loop.create_task(waits())
    own = loop._own_greenlet
    if begun:
        until(lambda: asyncio.all_tasks(loop))
    own.kill()
    assert own.dead
    gate.set_result(None)
    assert waiter.get(timeout=10) == 7
    if not begun:
        until(task.done)
    assert loop._own_greenlet is not own


def test_an_error_that_ends_an_event_loop(hub, monkeypatch):
    """An error that ends a thread's event loop is reported once, and what is ready runs in another greenlet."""
    errors = []
    monkeypatch.setattr(hub, "handle_error", lambda *error: errors.append(error[2]), raising=False)
    loop = thread_loop()
    until(loop.is_running)

    def fails():
        monkeypatch.delattr(loop, "_queue_due")
        raise LookupError("planned")

    async def waits():
        await asyncio.sleep(0.001)
        return 7

    monkeypatch.setattr(loop, "_queue_due", fails, raising=False)
    assert spawn(await_, waits()).get(timeout=10) == 7
    assert [repr(error) for error in errors] == ["LookupError('planned')"]


def stand_still(clock, seconds):
    """As a thread that is held up for so long: what is due then comes in one turn, in the order of time."""
    clock.loop._time += seconds


def test_a_timer_that_comes_with_the_end_of_a_step(virtual_clock):
    """A timer wakes a stand-in. If the step for which that stands in has ended first, the timer is not lost."""

    async def step(gate):
        sleep(0.04)
        await gate

    async def main():
        loop = asyncio.get_running_loop()
        gate = loop.create_future()
        worker = spawn(await_, step(gate), loop=loop)
        spawn(is_late, loop)
        await asyncio.sleep(0.02)
        gate.set_result(None)
        await as_future(worker)

    def is_late(loop):
        until(lambda: loop._stand_ins and loop._waiting is not None)
        stand_still(virtual_clock, 0.08)  # the timer is due, then the end of the step

    with Timeout(10):
        run(main())


def test_two_timers_at_the_end_of_a_wait(virtual_clock):
    """A stand-in that ends takes only its own timer with it, and not the wake-up that another one has got."""
    fired = []

    async def step(gate):
        sleep(0.04)
        await gate

    async def main():
        loop = asyncio.get_running_loop()
        gate = loop.create_future()
        loop.call_later(0.001, fired.append, "first")
        loop.call_later(0.05, gate.set_result, None)
        worker = spawn(visits, loop, gate)
        spawn(is_late, loop)
        await_(gate)
        await as_future(worker)

    def visits(loop, gate):
        until(lambda: loop._stand_ins == 1 and loop._waiting is not None)
        await_(step(gate), loop=loop)

    def is_late(loop):
        until(lambda: loop._stand_ins == 2 and loop._waiting is not None)
        stand_still(virtual_clock, 0.01)
        until(lambda: fired and loop._waiting is not None)
        stand_still(virtual_clock, 0.1)  # the end of the step is due, then the second timer

    with Timeout(10):
        run(main())


def test_two_visitors_of_an_event_loop(hub):
    """A greenlet has visited a stand-in whose step waits. It goes on, whoever visits the event loop next."""
    order = []
    gate = Event()

    async def step():
        order.append("step")
        gate.wait()

    async def at_once():
        order.append("second")

    def first(loop):
        await_(step(), loop=loop)
        order.append("first")

    async def main():
        loop = asyncio.get_running_loop()
        opened, done = loop.create_future(), loop.create_future()

        def opens():
            until(lambda: loop._stand_ins and loop._waiting is not None)
            opened.set_result(None)  # the stand-in calls back, waits, is visited; then main goes on
            visitors.append(spawn(first, loop))

        spawn(opens)
        await_(opened)
        assert order == ["step"]
        spawn(lambda: (await_(at_once(), loop=loop), gate.set(), visitors[0].join(), done.set_result(None)))
        await done

    visitors = []
    with Timeout(10):
        run(main())
    assert order == ["step", "second", "first"]


def test_a_task_that_is_begun_while_another_is_made(hub, monkeypatch):
    """A destructor may begin a task at any moment, in the middle of begin_task too: both first steps run."""
    loop = thread_loop()
    until(lambda: loop._waiting is not None)
    inner = []

    async def value(number):
        return number

    plain = HubEventLoop.call_soon

    def call_soon(self, *args, **options):
        handle = plain(self, *args, **options)
        if self._begins is not None and not inner:
            inner.append(None)
            inner[0] = await_(value(1))
        return handle

    monkeypatch.setattr(HubEventLoop, "call_soon", call_soon)
    assert spawn(await_, value(2)).get(timeout=10) == 2
    assert inner == [1]


def test_awaiting_in_callbacks_of_the_hub(hub):
    """A callback of the hub may await what waits in a synchronous call, also while another callback waits."""
    loop = thread_loop()
    until(lambda: loop._waiting is not None)
    results = []
    event = Event()

    async def value(number):
        sleep(0)
        return number

    def second():
        assert hub.runner is not hub
        results.append(await_(value(2)))
        event.set()

    def first():
        results.append(await_(value(1)))
        hub.loop.run_callback(second)
        event.wait()
        results.append(await_(value(3)))

    hub.loop.run_callback(first)
    until(lambda: len(results) == 3)
    assert results == [1, 2, 3]


def test_an_interrupt_of_a_stand_in(hub):
    """A time limit that a callback has left running, and that strikes a stand-in, ends the event loop as one does that
    strikes its own greenlet."""
    limits = []

    async def main():
        asyncio.get_running_loop().call_soon(lambda: limits.append(Timeout.start_new(0.001)))
        await_(asyncio.sleep(60))

    with pytest.raises(Timeout) as caught, Timeout(10):
        run(main())
    assert caught.value is limits[0]


def test_visitors_are_not_kept(hub):
    """An event loop keeps none of the greenlets that have visited it, or that its tasks have begun."""

    async def ready():
        return 1

    def visits():
        return [await_(ready()) for _ in range(3)]

    async def begins():
        await in_greenlet(getcurrent)
        return weakref.ref(await in_greenlet(getcurrent))

    visitor = spawn(visits)
    assert visitor.get() == [1, 1, 1]
    visitor = weakref.ref(visitor)
    begun = await_(begins())
    sleep(0)
    gc.collect()
    assert visitor() is None
    assert begun() is None
