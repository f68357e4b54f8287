"""Reports name tasks as they name greenlets, and lead from one to the other."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import hubbub
import pytest
from hubbub import inspect
from hubbub.event import Event
from hubbub.exceptions import LoopExit
from hubbub_asyncio import as_future, await_, in_greenlet, run, thread_loop


def task_named(name):
    return next(info for info in inspect.tasks() if info.name == name)


def greenlet_named(name):
    return next(info for info in inspect.greenlets() if info.name == name)


def settle():
    """Let others run for ten turns, however long these take: then all wait for what does not come."""
    for _ in range(10):
        hubbub.sleep(0.001)


@pytest.fixture
def begin(hub):
    """Spawn a greenlet that waits for a coroutine; ended with the test."""
    begun = []

    def make(coroutine, name):
        greenlet = hubbub.spawn(await_, coroutine)
        greenlet.name = name
        begun.append(greenlet)
        settle()
        return greenlet

    yield make
    hubbub.killall(begun)


def test_from_a_greenlet_to_its_task(begin):
    """A greenlet that waits for a coroutine waits for its task, by name."""

    async def main():
        asyncio.current_task().set_name("the work")
        await asyncio.sleep(60)

    begin(main(), "one that waits")
    info = greenlet_named("one that waits")
    assert (info.state, info.operation) == ("waiting", "await_")
    assert "name='the work'" in info.waits_for
    assert task_named("the work").state == "waiting"


def test_from_a_task_to_the_greenlet_behind_it(begin):
    """A task's chain of tasks ends with the greenlet that is waited for; its stack is that of its coroutines."""

    def blocking():
        hubbub.getcurrent().name = "the worker"
        hubbub.sleep(60)

    async def inner():
        await in_greenlet(blocking)

    async def outer():
        asyncio.current_task().set_name("outer")
        await asyncio.create_task(inner(), name="inner")

    begin(outer(), "waiter")
    assert task_named("outer").waits_for == ("task inner", "greenlet the worker")
    assert task_named("inner").waits_for == ("greenlet the worker",)
    assert task_named("inner").stack[0].endswith(".inner")
    assert greenlet_named("the worker").operation == "sleep"
    report = inspect.report()
    assert "waiting for task inner, which waits for greenlet the worker at " in report
    assert f"{__file__}:" in report


def test_a_task_in_a_call(begin):
    """A task one of whose functions waits in the middle is in a call; its greenlet waits for the other task."""

    event = Event()

    async def lasting():
        asyncio.current_task().set_name("the other")
        await as_future(event)

    async def main():
        asyncio.current_task().set_name("caller")
        await asyncio.sleep(0)
        await_(lasting())

    begin(main(), "waiter")
    assert task_named("caller").state == "in a call"
    assert any("name='the other'" in (info.waits_for or "") for info in inspect.greenlets())
    event.set()  # who is in a call is not cancelled before that ends


def test_what_else_is_awaited(begin):
    """An event is named as it is, a plain future too; a task that is about to run waits for nothing."""
    event = Event()

    async def for_an_event():
        asyncio.current_task().set_name("for an event")
        await as_future(event)

    async def for_a_future():
        asyncio.current_task().set_name("for a future")
        await asyncio.get_running_loop().create_future()

    begin(for_an_event(), "first")
    begin(for_a_future(), "second")
    assert task_named("for an event").waits_for[0].startswith("<Event ")
    assert task_named("for a future").waits_for[0].startswith("<Future pending")
    ready = thread_loop().create_task(asyncio.sleep(0), name="about to run")
    assert (task_named("about to run").state, task_named("about to run").waits_for) == ("ready", ())
    await_(ready)


def test_a_running_task(hub):
    """A task that asks for the report is running."""
    states = []

    async def main():
        asyncio.current_task().set_name("me")
        states.append(task_named("me").state)

    run(main())
    assert states == ["running"]


def test_a_deadlock_names_tasks(hub):
    """LoopExit says what the tasks wait for."""

    async def main():
        asyncio.current_task().set_name("stuck")
        await as_future(Event())

    waiter = hubbub.spawn(await_, main())
    settle()
    with pytest.raises(LoopExit, match=r"task stuck of .* waiting for <Event") as caught:
        Event().wait()
    assert "in await_ for <Task pending name='stuck'" in str(caught.value)
    waiter.kill()


def test_asyncio_is_not_imported():
    """Who uses no asyncio has no tasks, and does not import it for a report."""
    program = (
        "import sys; from hubbub import inspect; inspect.report(); print(inspect.tasks(), 'asyncio' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout == "[] False\n"
