"""Greenlets wait for coroutines, and coroutines for greenlets; giving up and failing cross the bridge both ways."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import threading
import weakref
from contextlib import asynccontextmanager

import hubbub
import hubbub_asyncio
import pytest
from greenlet import getcurrent
from greenlet import greenlet as RawGreenlet
from hubbub import (
    AsyncResult,
    CancelScope,
    Event,
    GreenletExit,
    TaskGroup,
    Timeout,
    move_on_after,
    shield,
    sleep,
    spawn,
)
from hubbub_asyncio import as_future, await_, entered, in_greenlet, iterate, new_event_loop, run, thread_loop

variable = contextvars.ContextVar("variable", default="default")


async def add(a, b):
    await asyncio.sleep(0)
    return a + b


class Noted:
    """A coroutine that waits for ever, and notes how it ends."""

    def __init__(self):
        self.began = Event()
        self.ended = None

    async def wait(self):
        self.began.set()
        try:
            await asyncio.get_running_loop().create_future()
        except BaseException as error:
            self.ended = type(error)
            raise


# A greenlet waits for a coroutine -----------------------------------------------------------------------------------


def test_a_result(hub):
    """``await_`` returns what a coroutine returns, in main and in many greenlets at once."""
    assert await_(add(1, 2)) == 3
    greenlets = [spawn(await_, add(number, number)) for number in range(20)]
    assert [greenlet.get() for greenlet in greenlets] == [2 * number for number in range(20)]


def test_an_error(hub):
    """``await_`` raises what the coroutine raises."""

    async def failing():
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await_(failing())


@pytest.mark.parametrize("kind", ["task", "future", "object", "generator"])
def test_whatever_can_be_awaited(hub, kind):
    """Tasks, futures and objects with ``__await__`` are awaited too."""
    loop = thread_loop()

    class Awaitable:
        def __await__(self):
            return add(3, 4).__await__()

    if kind == "task":
        awaitable = loop.create_task(add(3, 4))
    elif kind == "future":
        awaitable = loop.create_future()
        loop.call_later(0.001, awaitable.set_result, 7)
    elif kind == "object":
        awaitable = Awaitable()
    else:
        awaitable = asyncio.wait_for(add(3, 4), 30)
    assert await_(awaitable) == 7


@pytest.mark.parametrize("bad", [None, 5, add, lambda: None])
def test_what_cannot_be_awaited(hub, bad):
    """What cannot be awaited is refused at the call."""
    with pytest.raises(TypeError, match="await_ takes"):
        await_(bad)


def test_a_closed_event_loop(hub):
    """A closed event loop is refused, and the coroutine is closed, not lost with a warning."""
    loop = new_event_loop()
    loop.close()
    with pytest.raises(RuntimeError, match="closed"):
        await_(add(1, 2), loop=loop)


def test_in_a_task_of_another_kind_of_event_loop(hub):
    """A task of asyncio's own event loop is told that ``await_`` would stop it."""

    async def main():
        return await_(add(1, 2))

    with pytest.raises(RuntimeError, match="use await"):
        asyncio.run(main())


def test_context_variables_of_a_greenlet(hub):
    """The coroutine sees the context variables of the greenlet, and what it sets stays its own."""

    async def look():
        seen = variable.get()
        variable.set("inner")
        return seen

    variable.set("outer")
    assert await_(look()) == "outer"
    assert variable.get() == "outer"


@pytest.mark.parametrize("error", [GreenletExit, Timeout, KeyError])
def test_an_interrupted_greenlet(hub, error):
    """A greenlet that is interrupted cancels the task, and goes on when that has ended."""
    noted = Noted()
    caught = []

    def wait():
        try:
            await_(noted.wait())
        except BaseException as interruption:
            caught.append((type(interruption), noted.ended))

    greenlet = spawn(wait)
    noted.began.wait()
    greenlet.kill(error())
    assert caught == [(error, asyncio.CancelledError)]


def test_a_time_limit(hub):
    """A time limit around ``await_`` ends the task and is what the caller gets."""
    noted = Noted()
    with pytest.raises(Timeout), Timeout(0.01):
        await_(noted.wait())
    assert noted.ended is asyncio.CancelledError


def test_a_cancelled_scope(hub):
    """A cancelled scope ends the task, and the block ends quietly."""
    noted = Noted()
    with move_on_after(0.01) as scope:
        await_(noted.wait())
    assert scope.cancelled_caught
    assert noted.ended is asyncio.CancelledError


def test_a_failing_member_of_a_task_group(hub):
    """A task group ends what its greenlets await when one of them fails, and raises all errors."""
    noted = Noted()

    def fail():
        noted.began.wait()
        raise KeyError("mine")

    with pytest.raises(ExceptionGroup) as caught, TaskGroup() as group:
        group.spawn(await_, noted.wait())
        group.spawn(fail)
    assert [type(error) for error in caught.value.exceptions] == [KeyError]
    assert noted.ended is asyncio.CancelledError


def test_a_shield(hub):
    """In a shield a cancelled greenlet goes on waiting; the cancellation comes afterwards."""
    results = []
    with CancelScope() as scope:
        spawn(scope.cancel)
        with shield():
            results.append(await_(asyncio.sleep(0.01, "done")))
        Event().wait()
        results.append("not reached")
    assert results == ["done"]


def test_an_error_in_the_end_of_an_interrupted_task(hub):
    """An error with which a cancelled task ends is the cause of the interruption, not lost."""

    async def ends_badly():
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            raise KeyError("in the end")

    with pytest.raises(Timeout) as caught, Timeout(0.01):
        await_(ends_badly())
    assert isinstance(caught.value.__cause__, KeyError)


def test_a_task_that_somebody_cancels(hub):
    """A greenlet that waits for a task that somebody cancels gets CancelledError."""
    task = thread_loop().create_task(asyncio.sleep(30))
    greenlet = spawn(await_, task)
    sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        greenlet.get()


def test_exception_groups(hub):
    """An exception group comes through with its parts."""

    async def failing(error):
        raise error

    async def main():
        async with asyncio.TaskGroup() as group:
            group.create_task(failing(KeyError("a")))
            group.create_task(failing(ValueError("b")))

    with pytest.raises(ExceptionGroup) as caught:
        await_(main())
    assert {type(error) for error in caught.value.exceptions} == {KeyError, ValueError}


def test_an_event_loop_of_another_thread(hub):
    """A greenlet may wait for what another native thread's event loop runs; others run meanwhile; giving up cancels."""
    loop = asyncio.new_event_loop()
    native = threading.Thread(target=loop.run_forever)
    native.start()
    noted = Noted()
    try:
        ticks = []
        other = spawn(lambda: [(sleep(0.001), ticks.append(None)) for _ in range(5)])
        assert await_(asyncio.sleep(0.05, "there"), loop=loop) == "there"
        other.join()
        assert len(ticks) == 5
        with pytest.raises(Timeout), Timeout(0.05):
            await_(noted.wait(), loop=loop)
        assert noted.ended is asyncio.CancelledError
        with pytest.raises(ZeroDivisionError):
            await_(fail_there(), loop=loop)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        native.join(30)
        loop.close()


async def fail_there():
    raise ZeroDivisionError


# Asynchronous iterables and context managers ------------------------------------------------------------------------


async def count(number, closed):
    try:
        for value in range(number):
            await asyncio.sleep(0)
            yield value
    finally:
        closed.append(True)


def test_iterate(hub):
    """A greenlet iterates over an asynchronous generator, which is closed whether or not it comes to its end."""
    closed = []
    assert list(iterate(count(3, closed))) == [0, 1, 2]
    assert closed == [True]
    items = iterate(count(3, closed))
    assert next(items) == 0
    items.close()
    assert closed == [True, True]


def test_iterate_fails(hub):
    """An error of an asynchronous iterable reaches the greenlet's loop."""

    async def failing():
        yield 1
        raise KeyError("mine")

    seen = []
    with pytest.raises(KeyError, match="mine"):
        seen.extend(iterate(failing()))


def test_iterate_stays_in_one_task(hub):
    """An asynchronous generator runs in one task from beginning to end, so time limits of asyncio in it work."""

    async def limited():
        async with asyncio.timeout(30):
            tasks.append(asyncio.current_task())
            yield 1
            tasks.append(asyncio.current_task())
            yield 2

    tasks = []
    assert list(iterate(limited())) == [1, 2]
    assert tasks[0] is tasks[1]


@pytest.mark.parametrize("function", [iterate, entered])
@pytest.mark.parametrize("bad", [None, 5, [], "text"])
def test_neither_iterable_nor_manager(hub, function, bad):
    """What is no asynchronous iterable or context manager is refused at the call."""
    with pytest.raises(TypeError, match="asynchronous"):
        function(bad)


def test_entered(hub):
    """A greenlet enters and leaves an asynchronous context manager in one task, with and without an error."""
    events = []

    @asynccontextmanager
    async def manager():
        async with asyncio.timeout(30):
            task = asyncio.current_task()
            try:
                yield "value"
            except KeyError:
                events.append("error")
            events.append(asyncio.current_task() is task)

    with entered(manager()) as value:
        events.append(value)
    with entered(manager()):
        raise KeyError
    assert events == ["value", True, "error", True]


# A coroutine waits for a greenlet -----------------------------------------------------------------------------------


def test_in_greenlet(hub):
    """A coroutine awaits blocking code in a greenlet: its result, its error; other tasks run meanwhile."""

    ticked = Event()

    def work(a, *, b):
        assert ticked.wait(5)
        if b is None:
            raise KeyError("none")
        return a + b

    async def tick():
        await asyncio.sleep(0.001)
        ticked.set()

    async def main():
        ticker = asyncio.create_task(tick())
        result = await in_greenlet(work, 1, b=2)
        assert ticker.done()
        with pytest.raises(KeyError, match="none"):
            await in_greenlet(work, 1, b=None)
        return result

    assert run(main()) == 3


def test_in_greenlet_reports_its_error_once(hub, capsys):
    """An error in the greenlet goes to the coroutine and is not printed besides."""

    async def main():
        with pytest.raises(ZeroDivisionError):
            await in_greenlet(lambda: 1 / 0)

    run(main())
    assert capsys.readouterr().err == ""


def test_there_and_back(hub):
    """The greenlet may wait for coroutines again, which run on the event loop that started it."""

    async def main():
        loop = asyncio.get_running_loop()

        async def which():
            return asyncio.get_running_loop()

        return await in_greenlet(await_, which()) is loop

    assert run(main())


def test_context_variables_of_a_task(hub):
    """The greenlet sees the context variables of the task, and what it sets stays its own."""

    def look():
        seen = variable.get()
        variable.set("inner")
        return seen

    async def main():
        variable.set("outer")
        return await in_greenlet(look), variable.get()

    assert run(main()) == ("outer", "outer")


def test_a_cancelled_task_kills_its_greenlet(hub):
    """Cancelling a task kills the greenlet it waits for; the task ends when the greenlet has ended."""
    events = []

    def work():
        try:
            Event().wait()
        except GreenletExit:
            sleep(0.005)
            events.append("greenlet")
            raise

    async def main():
        task = asyncio.create_task(in_greenlet(work))
        await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        events.append("task")

    run(main())
    assert events == ["greenlet", "task"]


def test_a_time_limit_of_asyncio(hub):
    """``asyncio.timeout`` ends the greenlet and raises TimeoutError."""
    killed = []

    def work():
        try:
            Event().wait()
        except GreenletExit:
            killed.append(True)
            raise

    async def main():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await in_greenlet(work)

    run(main())
    assert killed == [True]


def test_a_greenlet_that_fails_while_it_is_killed(hub):
    """An error with which a killed greenlet ends reaches the coroutine."""

    def work():
        try:
            Event().wait()
        finally:
            raise KeyError("in the end")

    async def main():
        task = asyncio.create_task(in_greenlet(work))
        await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(KeyError, match="in the end"):
            await task

    run(main())


def test_as_future(hub):
    """Greenlets, results and events can be awaited, finished or not; cancelling the future leaves them alone."""

    async def main():
        result, event = AsyncResult(), Event()
        greenlet = spawn(lambda: (sleep(0.005), result.set(2), event.set(), 1)[-1])
        values = [await as_future(greenlet), await as_future(result), await as_future(event)]
        values.append(await as_future(greenlet))
        failing = AsyncResult()
        failing.set_exception(KeyError("mine"))
        with pytest.raises(KeyError):
            await as_future(failing)
        waiting = spawn(Event().wait)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(as_future(waiting), 0.005)
        assert not waiting.dead
        assert not waiting.has_links()
        waiting.kill()
        with pytest.raises(TypeError, match="as_future takes"):
            as_future(5)
        return values

    assert run(main()) == [1, 2, True, 1]


# In the middle of a task --------------------------------------------------------------------------------------------


def test_in_the_middle_of_a_task(hub):
    """A function that a task has called may wait for a coroutine, at any depth; other tasks go on, and it stays the
    current task."""

    def deep(depth):
        return deep(depth - 1) if depth else await_(add(1, 1))

    async def task(number):
        me = asyncio.current_task()
        first = deep(10)
        assert asyncio.current_task() is me
        await asyncio.sleep(0)
        assert asyncio.current_task() is me
        return first + deep(3) + number

    async def main():
        return await asyncio.gather(*(task(number) for number in range(20)))

    assert run(main()) == [4 + number for number in range(20)]


def test_several_wait_in_the_middle(hub):
    """Those that wait in the middle of a task go on in the order in which what they wait for comes."""
    order = []

    def wait(number, future):
        await_(future)
        order.append(number)

    async def task(number, future):
        wait(number, future)

    async def main():
        futures = [asyncio.get_running_loop().create_future() for _ in range(3)]
        tasks = [asyncio.create_task(task(number, future)) for number, future in enumerate(futures)]
        await asyncio.sleep(0.001)
        for number in (1, 2, 0):
            futures[number].set_result(None)
        await asyncio.gather(*tasks)

    run(main())
    assert order == [1, 2, 0]


def test_one_waits_for_another_in_the_middle(hub):
    """A task that waits in the middle may wait for one that waits in the middle itself."""

    def wait_for(task):
        return await_(task)

    async def inner():
        await asyncio.sleep(0.01)
        return await_(add(1, 2))

    async def outer(task):
        await asyncio.sleep(0)
        return wait_for(task)

    async def main():
        task = asyncio.create_task(inner())
        return await asyncio.gather(outer(task), outer(task), task)

    assert run(main()) == [3, 3, 3]


def test_cancelled_in_the_middle(hub):
    """A time limit of hubbub ends a wait in the middle of a task, and the event loop goes on."""
    noted = Noted()

    def wait():
        with move_on_after(0.01):
            await_(noted.wait())
        return noted.ended

    async def task():
        return wait()

    async def main():
        ticker = asyncio.create_task(asyncio.sleep(0.02, "ticked"))
        return await task(), await ticker

    assert run(main()) == (asyncio.CancelledError, "ticked")


def test_an_error_in_the_middle(hub):
    """What is awaited in the middle of a task may fail, and the task handles it."""

    async def failing():
        await asyncio.sleep(0)
        raise KeyError("mine")

    async def main():
        with pytest.raises(KeyError, match="mine"):
            await_(failing())
        return await add(1, 1)

    assert run(main()) == 2


@pytest.mark.parametrize("runs", [run, await_])
def test_greenlets_inside_of_a_task(hub, runs):
    """A library may run synchronous code in greenlets of its own inside of a task, as SQLAlchemy does."""

    async def in_child(function):
        child = RawGreenlet(function)
        result = child.switch()
        while not child.dead:
            result = child.switch(await result)
        return result

    def wait(awaitable):
        return getcurrent().parent.switch(awaitable)

    def synchronous(number):
        for _ in range(3):
            number = wait(asyncio.sleep(0.001, number + 1))
        if number == 4:
            raise KeyError("an error crosses too")
        return number

    async def task(number):
        return await in_child(lambda: synchronous(number))

    await_(asyncio.sleep(0))
    with Timeout(5):
        waiting = [spawn(runs, task(number)) for number in range(5)]
        waiting[1].handle_failure = waiting[1].keep_failure
        hubbub.joinall(waiting)
    assert [each.value for each in waiting] == [3, None, 5, 6, 7]
    assert isinstance(waiting[1].exception, KeyError)


@pytest.mark.parametrize("first", [True, False])
def test_a_step_that_blocks(hub, first):
    """The first step of a task that await_ has begun may block: the caller's limit counts from the end of that, and
    other greenlets' tasks go on; a later step holds its event loop up, as in asyncio."""
    order = []
    blocking, go_on = Event(), Event()

    async def blocks():
        if not first:
            await asyncio.sleep(0)
        blocking.set()
        go_on.wait()
        order.append("blocked")

    async def quick():
        await asyncio.sleep(0.001)
        order.append("quick")

    def other():
        blocking.wait()
        waiting.append(spawn(await_, quick()))
        if not first:
            sleep(0.02)
            go_on.set()
        waiting[-1].join()
        go_on.set()

    await_(asyncio.sleep(0))
    with Timeout(5):
        waiting = [spawn(await_, blocks()), spawn(other)]
        hubbub.joinall(waiting)
    assert order == (["quick", "blocked"] if first else ["blocked", "quick"])


def test_stopped_in_the_middle(hub):
    """An event loop that is to stop while a task waits in the middle ends that wait, and stops."""
    ends = []

    async def stuck():
        try:
            await_(asyncio.sleep(1000))
        except asyncio.CancelledError:
            ends.append("cancelled")
            raise

    async def main():
        asyncio.create_task(stuck()).add_done_callback(lambda task: ends.append(task.cancelled()))
        await asyncio.sleep(0.005)
        return "done"

    assert run(main()) == "done"
    assert ends == ["cancelled", True]


def test_it_runs_again_after_waits_in_the_middle(hub):
    """The same event loop can run again, with waits in the middle again; no stand-in is left."""
    loop = new_event_loop()

    async def main():
        return await_(add(1, 1))

    for _ in range(3):
        assert loop.run_until_complete(main()) == 2
    loop.close()
    sleep(0)
    assert loop._stand_ins == 0
    assert "switch" not in vars(hub)


def test_exit_in_the_middle(hub):
    """SystemExit of another callback comes out of ``run`` though a task waits in the middle."""

    async def stuck():
        await_(asyncio.sleep(1000))

    async def main():
        loop = asyncio.get_running_loop()
        loop.call_later(0.01, exit_now)
        await stuck()

    def exit_now():
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        run(main())
    sleep(0)


def test_a_blocked_task_and_one_that_waits_in_the_middle(hub):
    """A task that blocks cooperatively under a stand-in does not mix up the current tasks of the two."""

    async def waits():
        me = asyncio.current_task()
        await_(asyncio.sleep(0.005))
        assert asyncio.current_task() is me
        await asyncio.sleep(0)
        assert asyncio.current_task() is me

    async def blocks():
        me = asyncio.current_task()
        sleep(0.01)
        assert asyncio.current_task() is me
        await asyncio.sleep(0)
        assert asyncio.current_task() is me

    async def main():
        await asyncio.gather(waits(), blocks(), waits(), blocks())

    run(main())


# Ends ---------------------------------------------------------------------------------------------------------------


def test_the_event_loop_of_a_thread(hub):
    """A thread has one event loop for its greenlets; it does not keep the hub from ending, and ends with it."""
    loop = thread_loop()
    assert thread_loop() is loop
    await_(add(1, 1))
    assert hub.join(timeout=5)
    gone = weakref.ref(loop)
    del loop
    hub.destroy()
    gc.collect()
    assert thread_loop() is not gone()


def test_nothing_is_kept(hub):
    """Neither results nor errors of what was awaited are kept."""

    class Thing:
        pass

    async def make():
        return Thing()

    async def fail():
        thing = Thing()
        things.append(weakref.ref(thing))
        raise KeyError

    things = [weakref.ref(await_(make()))]
    with pytest.raises(KeyError):
        await_(fail())
    gc.collect()
    assert [thing() for thing in things] == [None, None]


def test_no_hub_error(hub, capsys):
    """A greenlet killed while it waits reports nothing, as every killed greenlet."""
    greenlet = spawn(await_, asyncio.sleep(30))
    sleep(0)
    greenlet.kill()
    assert isinstance(greenlet.value, GreenletExit)
    assert capsys.readouterr().err == ""
    assert hubbub.get_hub() is hub


def test_awaiting_what_never_waits_leaves_nothing_behind(hub):
    """A greenlet that waits for one coroutine after the other, none of which waits, leaves the run queue as short."""

    async def ready():
        return 1

    def awaits():
        await_(ready())
        lengths = []
        for _ in range(3):
            for _ in range(100):
                await_(ready())
            lengths.append(len(hub.loop.ready))
        return lengths

    assert len(set(hubbub.spawn(awaits).get())) == 1


def test_awaiting_without_end_what_never_waits(hub):
    """A greenlet that awaits one coroutine after the other, none of which waits, can still be out of time."""

    async def ready():
        return 1

    with pytest.raises(Timeout), Timeout(0.01):
        while True:
            await_(ready())


def test_a_call_from_inside_while_a_task_is_made(hub, monkeypatch):
    """What a destructor asks of the event loop while await_ makes a task is neither lost nor taken for its step."""
    called = []

    class Interrupted(hubbub_asyncio.loop.Task):
        def __init__(self, coroutine, *, loop, context):
            super().__init__(coroutine, loop=loop, context=context)
            loop.call_soon(called.append, "by a destructor")

    async def ready():
        return "ready"

    await_(asyncio.sleep(0))
    monkeypatch.setattr(hubbub_asyncio.loop, "Task", Interrupted)
    assert hubbub.spawn(await_, ready()).get() == "ready"
    monkeypatch.undo()
    await_(asyncio.sleep(0))
    assert called == ["by a destructor"]


@pytest.mark.skipif(not hasattr(asyncio, "eager_task_factory"), reason="new in CPython 3.12")
def test_tasks_that_begin_at_once(hub):
    """With asyncio's eager tasks those that other greenlets make begin in the event loop, where their coroutines can
    await; the event loop's own begin at once."""

    async def main():
        loop = asyncio.get_running_loop()
        loop.set_task_factory(asyncio.eager_task_factory)
        made = in_greenlet(lambda: await_(loop.create_task(add(1, 2))))
        return await asyncio.gather(in_greenlet(await_, add(3, 4)), made, add(5, 6)), loop.is_running()

    assert run(main()) == ([7, 3, 11], True)
