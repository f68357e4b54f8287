"""A cancellation reaches a function that a task has called, in which it waits by ``await_``; an interrupt of the
greenlet that runs an event loop ends that event loop, whichever callback it strikes."""

from __future__ import annotations

import asyncio
import threading

import hubbub
import pytest
from greenlet import GreenletExit
from hubbub import CancelScope, Event, Timeout, shield, sleep, spawn
from hubbub.lowlevel import instances, interrupt
from hubbub_asyncio import HubEventLoop, await_, in_greenlet, iterate, run, thread_loop


class Noted:
    """Notes how the waits in it end."""

    def __init__(self):
        self.ends = []
        self.waits = False
        self.limit = None
        """A time limit of asyncio that begins to run when the wait does."""

    async def wait(self):
        """For ever, in a coroutine."""
        self.waits = True
        if self.limit is not None:
            self.limit.reschedule(asyncio.get_running_loop().time() + 0.005)
        try:
            await asyncio.get_running_loop().create_future()
        except BaseException as error:
            self.ends.append(error)
            raise

    async def called(self):
        """For ever, in a function that a coroutine calls."""
        try:
            await_(self.wait())
        except BaseException as error:
            self.ends.append(error)
            raise

    def kinds(self):
        return [type(error) for error in self.ends]


BOTH = [asyncio.CancelledError, asyncio.CancelledError]


async def begun(coroutine, noted=None):
    """A task that has begun to wait; with ``noted``, in its ``wait``."""
    task = asyncio.create_task(coroutine)
    while not (noted.waits if noted is not None else getattr(task, "loan", None) or task._fut_waiter):
        await asyncio.sleep(0)
    await asyncio.sleep(0.001)  # what it waits for has begun
    return task


class Failure(Exception):
    """What is thrown here."""


def limit(work):
    with Timeout(0.01, Failure):
        work()


def kill(work):
    greenlet = spawn(work)
    sleep(0.01)
    greenlet.kill(Failure, timeout=5)
    greenlet.get()


def throw(work):
    greenlet = spawn(work)
    sleep(0.01)
    interrupt(greenlet, Failure())
    greenlet.get()


def scope(work):
    with CancelScope(0.01) as block:
        work()
    assert block.cancelled_caught
    raise Failure


# Into a function that waits -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["a task", "a callback", "a greenlet"])
def test_cancelled_in_a_call(hub, how):
    """task.cancel() cancels at once what a function of the task waits for, whoever calls it."""
    noted = Noted()

    async def main():
        task = await begun(noted.called(), noted)
        if how == "a task":
            task.cancel("why")
        elif how == "a callback":
            asyncio.get_running_loop().call_soon(task.cancel, "why")
        else:
            spawn(task.cancel, "why")
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()

    with Timeout(5):
        run(main())
    assert noted.kinds() == BOTH
    assert noted.ends[0].args == ("why",)


def test_calls_in_calls(hub):
    """The cancellation goes down through any number of functions that wait for tasks whose functions wait."""
    noted = Noted()

    async def nested(depth):
        if depth == 0:
            await noted.wait()
        else:
            await_(nested(depth - 1))

    async def main():
        task = await begun(nested(4), noted)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with Timeout(5):
        run(main())
    assert noted.kinds() == BOTH[:1]


def test_time_limits_of_asyncio_in_a_call(hub):
    """asyncio.timeout around a call, and wait_for, end the wait in it, once; the task goes on and can wait again."""
    noted = Noted()

    async def main():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(None) as noted.limit:
                await noted.called()
        assert asyncio.current_task().cancelling() == 0
        assert await asyncio.sleep(0.001, "not cancelled again") == "not cancelled again"
        assert await_(asyncio.sleep(0.001, "nor here")) == "nor here"
        with pytest.raises(TimeoutError):
            noted.limit = None
            await asyncio.wait_for(noted.called(), 0.2)

    with Timeout(5):
        run(main())
    assert noted.kinds() == BOTH * 2


def test_a_caught_cancellation_comes_once(hub):
    """A task that catches the cancellation which came into its call can go on awaiting, as with asyncio's own waits."""
    noted = Noted()

    async def stubborn():
        try:
            await noted.called()
        except asyncio.CancelledError:
            await asyncio.sleep(0.001)
            return await_(asyncio.sleep(0.001, "cleaned up"))

    async def main():
        task = await begun(stubborn())
        task.cancel()
        return await task, task.cancelling()

    with Timeout(5):
        assert run(main()) == ("cleaned up", 1)


def test_a_task_group_of_asyncio(hub):
    """A task group that fails cancels members that wait in calls, and the task it is in, and raises what failed."""
    noted = Noted()

    async def fail():
        await asyncio.sleep(0.005)
        raise KeyError("mine")

    async def main():
        with pytest.raises(ExceptionGroup) as caught:
            async with asyncio.TaskGroup() as group:
                group.create_task(noted.called())
                group.create_task(fail())
                await noted.called()
        assert [type(error) for error in caught.value.exceptions] == [KeyError]
        await asyncio.sleep(0)

    with Timeout(5):
        run(main())
    assert noted.kinds() == BOTH * 2


def test_what_was_awaited_may_refuse(hub):
    """A coroutine that catches its cancellation ends the wait with its result, as it does where a task awaits it."""

    async def refuses():
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return "no"

    async def calls():
        return await_(refuses())

    async def main():
        task = await begun(calls())
        task.cancel()
        return await task

    with Timeout(5):
        assert run(main()) == "no"


def test_an_error_instead(hub):
    """A coroutine that answers its cancellation by an error ends the wait, and the task, with that."""

    async def fails():
        try:
            await asyncio.sleep(60)
        finally:
            raise KeyError("in the end")

    async def calls():
        await_(fails())

    async def main():
        task = await begun(calls())
        task.cancel()
        with pytest.raises(KeyError, match="in the end"):
            await task

    with Timeout(5):
        run(main())


def test_a_result_that_is_there_already(hub):
    """A cancellation that comes when the wait is over takes nothing: the function gets its result, and the task's next
    await is cancelled."""
    got = []

    async def calls(future):
        got.append(await_(future))
        await asyncio.sleep(60)

    async def main():
        future = asyncio.get_running_loop().create_future()
        task = await begun(calls(future))
        future.set_result("kept")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with Timeout(5):
        run(main())
    assert got == ["kept"]


def test_a_time_limit_that_comes_too_late(hub):
    """asyncio.timeout that strikes when the function's wait is over, before the function goes on and waits no more: the
    block ends as if nothing had been, and the next await is not cancelled."""

    async def main():
        loop = asyncio.get_running_loop()
        ready = loop.create_future()
        async with asyncio.timeout(60) as limit:

            def both():
                ready.set_result("kept")
                limit._on_timeout()

            loop.call_soon(both)
            kept = await_(ready)
        task = asyncio.current_task()
        return kept, limit.expired(), task.cancelling(), await asyncio.sleep(0.001, "went on")

    with Timeout(5):
        assert run(main()) == ("kept", True, 0, "went on")


def test_late_and_taken_back(hub):
    """A request that comes when the function's wait is over can be taken back, on each version of CPython."""
    steps = []

    async def calls(ready):
        steps.append(await_(ready))
        steps.append(asyncio.current_task().cancelling())
        asyncio.current_task().uncancel()
        steps.append(asyncio.current_task().cancelling())
        await asyncio.sleep(0.001)
        steps.append(await_(asyncio.sleep(0.001, "waited")))

    async def main():
        ready = asyncio.get_running_loop().create_future()
        task = await begun(calls(ready))
        ready.set_result("kept")
        assert task.cancel()
        await task

    with Timeout(5):
        run(main())
    assert steps == ["kept", 1, 0, "waited"]


def test_what_the_task_waits_for_can_be_seen(hub):
    """A task whose function waits shows for what, where asyncio's tasks do. So anyio does not cancel it once more when
    that is done."""

    async def main():
        ready = asyncio.get_running_loop().create_future()

        async def calls():
            await_(ready)
            await asyncio.sleep(0)

        task = await begun(calls())
        assert task._fut_waiter is ready
        assert "wait_for=<Future" in repr(task)
        ready.set_result(None)
        await task
        assert task._fut_waiter is None

    with Timeout(5):
        run(main())


def test_shield_of_asyncio(hub):
    """asyncio.shield in a call: the wait ends, and what is shielded goes on."""

    async def main():
        inner = asyncio.get_running_loop().create_future()

        async def calls():
            await_(asyncio.shield(inner))

        task = await begun(calls())
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not inner.done()
        inner.set_result("went on")
        return await inner

    with Timeout(5):
        assert run(main()) == "went on"


@pytest.mark.parametrize("then", ["await_", "await"])
def test_a_shield_of_hubbub(hub, then):
    """A shield in the function keeps the cancellation out; it comes at the wait after the shield, and once."""
    notes, noted = [], Noted()

    def function():
        with shield():
            notes.append(await_(asyncio.sleep(0.01, "protected")))
        if then == "await_":
            await_(noted.wait())

    async def calls():
        try:
            function()
            await noted.wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0.001)
            notes.append("once")
            raise

    async def main():
        task = await begun(calls())
        task.cancel()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelling() == 2

    with Timeout(5):
        run(main())
    assert notes == ["protected", "once"]


@pytest.mark.parametrize("runs", [run, await_])
def test_a_shield_around_the_event_loop(hub, runs):
    """A shield around all of it keeps no cancellation between the tasks in it out."""
    noted = Noted()

    async def main():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(None) as noted.limit:
                await noted.called()

    with Timeout(5), shield():
        runs(main())
    assert noted.kinds() == BOTH


def test_taken_back_while_a_shield_keeps_it_out(hub):
    """A cancellation that is taken back by uncancel() before the shield ends does not come."""

    async def calls():
        with shield():
            await_(asyncio.sleep(0.01))
        await asyncio.sleep(0.005)
        return "never heard of it"

    async def main():
        task = await begun(calls())
        task.cancel()
        assert task.uncancel() == 0
        return await task

    with Timeout(5):
        assert run(main()) == "never heard of it"


def test_the_first_step_in_another_greenlet(hub):
    """A task that await_ has begun in the caller's greenlet, and that waits in a call in its first step, can be
    cancelled."""
    noted = Noted()
    await_(asyncio.sleep(0))  # the event loop runs now
    greenlet = spawn(await_, noted.called())
    greenlet.handle_failure = greenlet.keep_failure
    while not noted.waits:
        sleep(0)
    (task,) = (task for task in asyncio.all_tasks(thread_loop()) if task.get_coro().__qualname__ == "Noted.called")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        greenlet.get(timeout=5)
    assert noted.kinds() == BOTH


@pytest.mark.parametrize("strike", ["limit", "kill", "scope"])
def test_an_interrupt_in_the_first_step(hub, strike, monkeypatch):
    """A greenlet that is interrupted while the task that it awaits waits in a call: the task is cancelled, also if that
    would wrap the interrupt, and the interrupt comes out as it is."""
    monkeypatch.setattr(type(hub), "NOT_ERROR", (*type(hub).NOT_ERROR, Failure))
    noted = Noted()

    async def grouped():
        async with asyncio.TaskGroup():
            await noted.called()

    await_(asyncio.sleep(0))
    with pytest.raises(Failure), Timeout(5):
        {"limit": limit, "kill": kill, "scope": scope}[strike](lambda: await_(grouped()))
    assert noted.kinds() == BOTH
    assert await_(asyncio.sleep(0, "unharmed")) == "unharmed"


def test_an_iteration_that_is_interrupted(hub):
    """A greenlet that is out of time while it waits for the next item: the generator is cancelled, then closed."""
    ends = []

    async def numbers():
        try:
            yield 1
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            ends.append("cancelled")
            raise
        finally:
            ends.append("closed")

    with Timeout(5), pytest.raises(Failure), Timeout(0.01, Failure):
        for _ in iterate(numbers()):
            pass
    assert ends == ["cancelled", "closed"]


def test_cancelled_between_two_waits_of_a_call(hub):
    """A request that finds the function's wait over, before the function goes on, ends the function's next wait."""
    noted = Noted()

    async def main():
        ready = asyncio.get_running_loop().create_future()

        async def calls():
            await_(ready)
            await_(noted.wait())

        task = await begun(calls())
        ready.set_result(None)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with Timeout(5):
        run(main())
    assert noted.kinds() in ([], BOTH[:1])  # cancelled before it began, or in its wait


def test_cancelled_between_two_waits_before_a_shield(hub):
    """Such a request is kept out by a shield in which the function waits next, and comes at its end."""
    ends = []

    async def main():
        ready = asyncio.get_running_loop().create_future()

        async def calls():
            await_(ready)
            with shield():
                ends.append(await_(asyncio.sleep(0.001, "kept out")))
            await_(asyncio.sleep(60))

        task = await begun(calls())
        ready.set_result(None)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with Timeout(5):
        run(main())
    assert ends == ["kept out"]


def test_an_iteration_in_a_call(hub):
    """A task that iterates in a function, in the middle of an asynchronous generator, is cancelled; it is closed."""
    ends = []
    waits = asyncio.Event()

    async def numbers():
        try:
            yield 1
            waits.set()
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            ends.append("cancelled")
            raise
        finally:
            ends.append("closed")

    async def calls():
        for _ in iterate(numbers()):
            pass

    async def main():
        task = asyncio.create_task(calls())
        await waits.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with Timeout(5):
        run(main())
    assert ends == ["cancelled", "closed"]


def test_through_a_greenlet(hub):
    """A task's function waits for a task that waits for a greenlet that waits for a task: all of them end."""
    noted = Noted()

    async def outer():
        await_(in_greenlet(await_, noted.called()))

    async def main():
        task = await begun(outer(), noted)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with Timeout(5):
        run(main())
    assert noted.kinds() == BOTH


def test_on_an_event_loop_of_another_thread(hub):
    """A function of a task waits for a coroutine on another thread's event loop: other tasks go on, and it ends when
    the task is cancelled."""
    noted, ticks = Noted(), []
    there = asyncio.new_event_loop()
    thread = hubbub.get_hub().threadpool.spawn(there.run_forever)
    native = there.call_soon_threadsafe

    async def calls():
        await_(noted.wait(), loop=there)

    async def main():
        task = await begun(calls(), noted)
        ticks.append(await asyncio.sleep(0.001, "tick"))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    try:
        with Timeout(10):
            run(main())
    finally:
        native(there.stop)
        thread.get(timeout=10)
        there.close()
    assert (noted.kinds(), ticks) == (BOTH[:1], ["tick"])


def test_tasks_of_others_are_as_before(hub):
    """A task of another's making (a factory) can be cancelled too: it hears of it when the wait has ended."""
    ends = []

    async def calls():
        ends.append(await_(asyncio.sleep(0.01, "ended")))
        await asyncio.sleep(60)

    async def main():
        asyncio.get_running_loop().set_task_factory(lambda loop, coro, **options: asyncio.Task(coro, loop=loop))
        task = asyncio.create_task(calls())
        await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with Timeout(5):
        run(main())
    assert ends == ["ended"]


# Into the greenlet that runs the event loop ---------------------------------------------------------------------------


@pytest.mark.parametrize("strike", [limit, kill, throw, scope])
@pytest.mark.parametrize("place", ["a call of a task beside", "a task beside", "nowhere", "a call", "here"])
def test_an_interrupt_ends_the_event_loop(hub, strike, place, monkeypatch):
    """Whatever waits in the greenlet that runs an event loop when it is interrupted: all tasks are cancelled, and the
    interrupt comes out."""
    monkeypatch.setattr(type(hub), "NOT_ERROR", (*type(hub).NOT_ERROR, Failure))
    noted = Noted()

    async def blocks():
        try:
            sleep(60)
        except (Failure, GreenletExit):
            noted.ends.append(asyncio.CancelledError())  # and goes on, as if nothing had happened

    async def main():
        beside = {"a call of a task beside": noted.called, "a task beside": blocks}.get(place)
        if beside is not None:
            asyncio.current_task().beside = asyncio.create_task(beside())
        await {"a call": noted.called, "here": blocks}.get(place, noted.wait)()
        await noted.wait()

    with pytest.raises(Failure), Timeout(5):
        strike(lambda: run(main()))
    assert set(noted.kinds()) == {asyncio.CancelledError}
    assert not [loop for loop in instances(HubEventLoop) if loop._hub is hub and loop.is_running()]


def test_a_limit_that_a_task_has_set_is_its_own(hub):
    """A time limit that a function of a task has set strikes that function, and neither other tasks nor the loop."""

    def limited():
        with pytest.raises(Timeout), Timeout(0.005):
            sleep(60)
        with pytest.raises(Timeout), Timeout(0.005):
            await_(asyncio.sleep(60))
        return "went on"

    async def calls():
        return limited()

    async def main():
        return await asyncio.gather(calls(), asyncio.create_task(calls()), asyncio.sleep(0.02, "beside"))

    with Timeout(5):
        assert run(main()) == ["went on", "went on", "beside"]


def test_a_shield_in_a_call_keeps_the_interrupt_out(hub):
    """An interrupt of the event loop's greenlet waits for the shield of a function that waits there."""
    got, noted = [], Noted()

    def protected():
        with shield():
            got.append(await_(asyncio.sleep(0.02, "protected")))

    async def main():
        protected()
        await noted.wait()

    with pytest.raises(Timeout), Timeout(0.005):
        run(main())
    assert got == ["protected"]
    assert noted.kinds() == BOTH[:1]


def test_a_cancelled_scope_lets_the_event_loop_close(hub, monkeypatch):
    """In a scope that is cancelled, run() closes asynchronous generators and ends the executor's threads as ever."""
    monkeypatch.setattr("hubbub_asyncio.loop._TURNS", 0)  # each round gives way to the hub, where the scope strikes
    ends, generators = [], []

    async def generate():
        try:
            yield
        finally:
            await asyncio.sleep(0)
            ends.append("generator")

    def works():
        go_on.wait(5)
        ends.append("thread")

    async def main():
        generators.append(generate())
        await anext(generators[0])
        asyncio.get_running_loop().run_in_executor(None, works)
        block.cancel()
        asyncio.get_running_loop().call_later(0.02, go_on.set)
        await asyncio.sleep(60)

    go_on = threading.Event()
    with Timeout(10), CancelScope() as block:
        try:
            run(main())
        finally:
            go_on.set()
            ends.append("run")
    assert block.cancelled_caught
    assert ends == ["generator", "thread", "run"]


def test_interrupted_again_in_the_end(hub):
    """A function that cleans up by waiting is interrupted again by a second kill, and the event loop ends."""
    steps = []

    async def calls():
        try:
            await_(asyncio.sleep(60))
        finally:
            steps.append("first")
            try:
                await_(asyncio.sleep(60))
            finally:
                steps.append("second")

    greenlet = spawn(lambda: run(calls()))
    event = Event()
    greenlet.rawlink(lambda _: event.set())
    sleep(0.005)
    greenlet.kill(block=False)
    sleep(0.005)
    assert steps == ["first"]
    greenlet.kill(block=False)
    assert event.wait(5)
    assert steps == ["first", "second"]
    assert isinstance(greenlet.value, GreenletExit)


def test_a_kill_while_in_greenlet_begins(hub):
    """A task is interrupted when in_greenlet has begun a greenlet that waits for the same event loop: both end."""
    ended = []

    def works():
        runner.kill(block=False)
        hub.loop.ready.rotate(1)  # so that it comes before the switch back to the task
        try:
            await_(asyncio.sleep(60))
        finally:
            ended.append("the greenlet")

    async def main():
        try:
            await in_greenlet(works)
        finally:
            ended.append("the task")

    sleep(0)  # the hub has run: else the greenlet would begin later
    runner = spawn(run, main())
    runner.join(10)
    assert runner.dead
    assert isinstance(runner.value, GreenletExit)
    assert ended == ["the greenlet", "the task"]


def test_an_error_after_a_kill_while_in_greenlet_begins(hub):
    """If that greenlet ends with an error of its own, that is the cause of the interruption."""
    caught = []

    def works():
        runner.kill(block=False)
        hub.loop.ready.rotate(1)
        try:
            sleep(60)
        finally:
            raise ValueError("its own")

    async def main():
        try:
            await in_greenlet(works)
        except BaseException as error:
            caught.append(error)
            raise

    sleep(0)
    runner = spawn(run, main())
    runner.join(10)
    assert runner.dead
    assert [type(error) for error in caught] == [GreenletExit]
    assert isinstance(caught[0].__cause__, ValueError)
