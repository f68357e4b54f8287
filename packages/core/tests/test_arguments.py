"""Bad arguments are refused where they are given, by an error that says what was given and what would be right."""

from __future__ import annotations

import asyncio
import functools
import math
import re

import hubbub
import pytest
from hubbub import event, greenlet, lock, lowlevel, pool, queue, scope, taskgroup, threadpool, timeout
from hubbub.hub import get_hub


class Function:
    """Something like a function that is given nothing to do."""

    def __call__(self):
        """Return None."""


def seconds(*calls):
    """Calls that take a time in seconds, with every kind of bad time."""
    bad = [
        ("1", TypeError, "number"),
        ([], TypeError, "number"),
        (1j, TypeError, "number"),
        (b"1", TypeError, "number"),
    ]
    bad += [(math.nan, ValueError, "NaN")]
    return [(f"{name}({value!r})", call, value, error, word) for name, call in calls for value, error, word in bad]


def functions(*calls):
    """Calls that take a function, with what is none."""
    bad = [5, "print", [], object()]
    cases = [(f"{name}({value!r})", call, value, TypeError, "callable") for name, call in calls for value in bad]
    return cases + [(f"{name}(None)", call, None, TypeError, "None") for name, call in calls]


def counts(*calls):
    """Calls that take a number of things, with what is none."""
    bad = [("3", TypeError, "number"), (1.5, TypeError, "number"), ([], TypeError, "number"), (-1, ValueError, "-1")]
    return [(f"{name}({value!r})", call, value, error, word) for name, call in calls for value, error, word in bad]


def objects(*calls):
    """Calls that take an iterable of things to wait for, with what is none."""
    bad = [(5, "iterable"), (None.__class__, "iterable"), ([1], "1"), ([None], "None"), (["x"], "x")]
    return [(f"{name}({value!r})", call, value, TypeError, word) for name, call in calls for value, word in bad]


def in_group(function):
    refused = []
    with taskgroup.TaskGroup() as group:
        try:
            group.spawn(function)
        except TypeError as error:
            refused.append(error)
        assert len(group) == 0
    raise refused.pop()


def acquire(one, value):
    one.acquire(timeout=value)


def locked():
    one = lock.Semaphore(1)
    one.acquire()
    return one


def full():
    one = queue.Queue(1)
    one.put(1)
    return one


def with_condition(value):
    one = lock.Condition()
    with one:
        one.wait(value)


def waiting():
    return hubbub.spawn(hubbub.sleep, 60)


def with_scope(make, value):
    with make(value):
        hubbub.sleep(0)


def with_limit(value):
    with timeout.Timeout(value):
        hubbub.sleep(0)


CASES = [
    *seconds(
        ("sleep", hubbub.sleep),
        ("spawn_later", lambda value: hubbub.spawn_later(value, abs, -1)),
        ("start_later", lambda value: hubbub.Greenlet(abs, -1).start_later(value)),
        ("Timeout", timeout.Timeout),
        ("with Timeout", with_limit),
        ("with_timeout", lambda value: timeout.with_timeout(value, abs, -1)),
        ("Greenlet.join", lambda value: waiting().join(value)),
        ("Greenlet.get", lambda value: waiting().get(timeout=value)),
        ("Greenlet.kill", lambda value: waiting().kill(timeout=value)),
        ("joinall", lambda value: hubbub.joinall([waiting()], timeout=value)),
        ("iwait", lambda value: list(hubbub.iwait([waiting()], timeout=value))),
        ("wait", lambda value: hubbub.wait([waiting()], timeout=value)),
        ("wait()", lambda value: hubbub.wait(timeout=value)),
        ("hub.join", lambda value: get_hub().join(timeout=value)),
        ("killall", lambda value: hubbub.killall([waiting()], timeout=value)),
        ("wait_any", lambda value: hubbub.wait_any([event.Event()], value)),
        ("Event.wait", lambda value: event.Event().wait(value)),
        ("AsyncResult.get", lambda value: event.AsyncResult().get(timeout=value)),
        ("AsyncResult.wait", lambda value: event.AsyncResult().wait(value)),
        ("Semaphore.acquire", lambda value: acquire(locked(), value)),
        ("Semaphore.wait", lambda value: locked().wait(value)),
        ("Condition.wait", with_condition),
        ("SimpleQueue.get", lambda value: queue.SimpleQueue().get(timeout=value)),
        ("Queue.get", lambda value: queue.Queue().get(timeout=value)),
        ("Queue.peek", lambda value: queue.Queue().peek(timeout=value)),
        ("Queue.put", lambda value: full().put(1, timeout=value)),
        ("Queue.join", lambda value: full().join(value)),
        ("Channel.get", lambda value: queue.Channel().get(timeout=value)),
        ("Channel.put", lambda value: queue.Channel().put(1, timeout=value)),
        ("CancelScope", scope.CancelScope),
        ("move_on_after", lambda value: with_scope(scope.move_on_after, value)),
        ("fail_after", lambda value: with_scope(scope.fail_after, value)),
        ("Waiter.wait", lambda value: lowlevel.Waiter().wait(value)),
    ),
    *functions(
        ("spawn", hubbub.spawn),
        ("spawn_later", lambda value: hubbub.spawn_later(0, value)),
        ("Greenlet", hubbub.Greenlet),
        ("spawn_raw", hubbub.spawn_raw),
        ("TaskGroup.spawn", in_group),
        ("Pool.spawn", lambda value: pool.Pool(1).spawn(value)),
        ("Group.spawn", lambda value: pool.Group().spawn(value)),
        ("ThreadPool.spawn", lambda value: threadpool.ThreadPool(1).spawn(value)),
        ("ThreadPool.apply", lambda value: threadpool.ThreadPool(1).apply(value)),
        ("ThreadPoolExecutor.submit", lambda value: threadpool.ThreadPoolExecutor(1).submit(value)),
        ("to_thread", hubbub.to_thread),
        ("with_timeout", lambda value: timeout.with_timeout(1, value)),
        ("rawlink", lambda value: hubbub.Greenlet(abs).rawlink(value)),
        ("link", lambda value: hubbub.Greenlet(abs).link(value)),
        ("link_value", lambda value: hubbub.Greenlet(abs).link_value(value)),
        ("link_exception", lambda value: hubbub.Greenlet(abs).link_exception(value)),
        ("Event.rawlink", lambda value: event.Event().rawlink(value)),
        ("run_callback", lowlevel.run_callback),
    ),
    *counts(
        ("Pool", pool.Pool),
        ("ThreadPool", threadpool.ThreadPool),
        ("ThreadPoolExecutor", threadpool.ThreadPoolExecutor),
        ("Semaphore", lock.Semaphore),
        ("BoundedSemaphore", lock.BoundedSemaphore),
        ("SimpleQueue", queue.SimpleQueue),
        ("Queue", queue.Queue),
        ("PriorityQueue", queue.PriorityQueue),
        ("LifoQueue", queue.LifoQueue),
    ),
    *objects(
        ("joinall", hubbub.joinall),
        ("joinall with errors", lambda value: hubbub.joinall(value, raise_error=True)),
        ("iwait", lambda value: list(hubbub.iwait(value))),
        ("wait", hubbub.wait),
        ("killall", hubbub.killall),
        ("wait_any", hubbub.wait_any),
    ),
    ("spawn_later(1)", lambda _: hubbub.spawn_later(1), None, TypeError, "function"),
    ("spawn()", lambda _: hubbub.spawn(), None, TypeError, "function"),
    ("kill(5)", hubbub.kill, 5, TypeError, "greenlet"),
    ("kill(greenlet, 5)", lambda value: hubbub.kill(waiting(), value), 5, TypeError, "exception"),
    ("Greenlet.kill(5)", lambda value: waiting().kill(value), 5, TypeError, "exception"),
    ("Greenlet.kill(int)", lambda value: waiting().kill(value), int, TypeError, "exception"),
    ("Greenlet.throw(5)", lambda value: hubbub.Greenlet(abs).throw(value), 5, TypeError, "exception"),
    ("Group(5)", pool.Group, 5, TypeError, "greenlet"),
    ("Group.add(5)", lambda value: pool.Group().add(value), 5, TypeError, "greenlet"),
    ("Pool(0.5)", pool.Pool, 0.5, TypeError, "number"),
    ("Pool(class)", lambda value: pool.Pool(1, value), int, TypeError, "Greenlet"),
    ("ThreadPool(0)", threadpool.ThreadPool, 0, ValueError, "1"),
    ("ThreadPoolExecutor(0)", threadpool.ThreadPoolExecutor, 0, ValueError, "0"),
    ("iwait count", lambda value: list(hubbub.iwait([waiting()], count=value)), "1", TypeError, "count"),
    ("wait_any()", lambda _: hubbub.wait_any([]), None, ValueError, "one"),
    ("configure(lop)", lambda _: hubbub.configure(lop="libev"), None, TypeError, "lop"),
    ("configure(loop)", lambda value: hubbub.configure(loop=value), 5, TypeError, "loop"),
    ("configure(resolver)", lambda value: hubbub.configure(resolver=value), 5, TypeError, "resolver"),
    ("configure(accelerators)", lambda value: hubbub.configure(accelerators=value), "no", TypeError, "accelerators"),
    ("configure(size)", lambda value: hubbub.configure(threadpool_size=value), "5", TypeError, "threadpool_size"),
    ("configure(size 0)", lambda value: hubbub.configure(threadpool_size=value), 0, ValueError, "threadpool_size"),
    ("imap", lambda value: pool.Pool(1).imap(abs, value), 5, TypeError, "iterable"),
    ("map", lambda value: pool.Pool(1).map(value, [1]), 5, TypeError, "callable"),
]


@pytest.mark.parametrize(
    ("call", "value", "error", "word"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_bad_arguments_are_refused(hub, call, value, error, word):
    """A bad argument raises TypeError or ValueError at the call; the text names it and what would be right."""
    hub.exception_stream = None
    with hubbub.Timeout(2, AssertionError("it was taken, and waited for")), pytest.raises(error) as caught:
        call(value)
    text = str(caught.value)
    assert word in text
    shown = ["NaN", repr(value), type(value).__name__, *(map(repr, value) if isinstance(value, list) else ())]
    assert value is None or any(word in text for word in shown)
    assert not re.search(r"not supported between|unsupported operand|object is not|object has no attribute", text)
    assert hub.statistics().ready == 0 or hubbub.sleep(0) is None
    assert spawned_works()


def spawned_works():
    return hubbub.spawn(abs, -1).get(timeout=5) == 1


async def coroutine_function():
    """What asyncio runs."""


async def asynchronous_generator():
    """What asyncio iterates over."""
    yield


class Asynchronous:
    """Has methods that are coroutine functions."""

    async def method(self):
        """One."""

    async def __call__(self):
        """And itself."""

    @classmethod
    async def of_class(cls):
        """One of the class."""

    @staticmethod
    async def static():
        """One of nobody."""


COROUTINES = {
    "function": coroutine_function,
    "generator": asynchronous_generator,
    "partial": functools.partial(coroutine_function),
    "partial of partial": functools.partial(functools.partial(asynchronous_generator)),
    "method": Asynchronous().method,
    "partial of method": functools.partial(Asynchronous().method),
    "class method": Asynchronous.of_class,
    "static method": Asynchronous.static,
    "object": Asynchronous(),
    "partial of object": functools.partial(Asynchronous()),
}
STARTERS = {
    "spawn": hubbub.spawn,
    "spawn_later": lambda function: hubbub.spawn_later(0, function),
    "Greenlet": hubbub.Greenlet,
    "spawn_raw": hubbub.spawn_raw,
    "TaskGroup": in_group,
    "Pool": lambda function: pool.Pool(1).spawn(function),
    "ThreadPool": lambda function: threadpool.ThreadPool(1).spawn(function),
    "to_thread": hubbub.to_thread,
    "executor": lambda function: threadpool.ThreadPoolExecutor(1).submit(function),
    "link": lambda function: hubbub.Greenlet(abs).link(function),
    "with_timeout": lambda function: hubbub.with_timeout(1, function),
}


@pytest.mark.parametrize("start", STARTERS.values(), ids=STARTERS)
@pytest.mark.parametrize("function", COROUTINES.values(), ids=COROUTINES)
def test_coroutine_functions_are_refused(hub, function, start):
    """A coroutine function, in whatever clothes, needs asyncio: nobody would await what it returns."""
    with pytest.raises(TypeError, match="asyncio"):
        start(function)


def test_a_coroutine_is_refused(hub):
    """So does a coroutine object."""
    coroutine = coroutine_function()
    with pytest.raises(TypeError, match="asyncio"):
        hubbub.spawn(coroutine)
    coroutine.close()


def test_what_runs_coroutines_is_welcome(hub):
    """What runs a coroutine to its end by itself is a function like any other."""
    assert hubbub.to_thread(asyncio.run, coroutine_function()) is None
    assert hubbub.spawn(Function()).get() is None
    assert hubbub.spawn(functools.partial(abs, -1)).get() == 1


def test_a_function_that_was_called(hub):
    """spawn(print("x")) is told that it got what the function returned."""
    with pytest.raises(TypeError, match=r"did you call it\?"):
        hubbub.spawn([].sort())


def test_a_refused_start_leaves_nothing(hub):
    """After every refusal nothing is left of what would have begun."""
    members = pool.Pool(1)
    with pytest.raises(TypeError):
        members.spawn(5)
    assert len(members) == 0
    assert members.free_count() == 1
    later = hubbub.Greenlet(abs, -1)
    with pytest.raises(TypeError):
        later.start_later("1")
    assert not later.started
    later.start()
    assert later.get() == 1
    assert greenlet.Greenlet is hubbub.Greenlet


def test_a_map_whose_tasks_cannot_start(hub):
    """A map raises what starting its tasks raised, and does not wait for tasks that never began."""

    class Refusing(pool.Pool):
        def spawn(self, *_):
            raise OSError("no more")

    with hubbub.Timeout(5, AssertionError("the map hangs")):
        with pytest.raises(OSError, match="no more"):
            Refusing(1).map(abs, [1, 2])
        with pytest.raises(OSError, match="no more"):
            list(Refusing(1).imap_unordered(abs, [1, 2], maxsize=1))
