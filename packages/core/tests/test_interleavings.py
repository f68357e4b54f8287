"""Two and three native threads on one queue, lock or event, step by step: whatever the order of their steps, it ends as
if one operation had been after the other.

Each thread has a trace function that is called before every instruction of hubbub's code; a scheduler decides there who
goes on. Every place at which one thread can be interrupted by another is tried, and a sample of more than one
interruption. What comes of it, results and what is left, must be among what comes of it when threads take turns only
where one of them waits.
"""

from __future__ import annotations

import itertools
import os
import sys
import threading
from _queue import SimpleQueue as SimpleNativeQueue
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import hubbub
import pytest
from hubbub import _channel, _latch, _simplequeue, event, lock, queue, thread
from hubbub._originals import allocate_lock
from hubbub.event import AsyncResult, Event
from hubbub.lock import BoundedSemaphore, Semaphore
from hubbub.queue import Channel, LifoQueue, PriorityQueue, Queue, SimpleQueue

HOME = Path(hubbub.__file__).parent
SOURCES = {
    str(HOME / f"{name}.py")
    for name in ("queue", "_simplequeue", "_channel", "lock", "event", "thread", "_latch", "_waitqueue")
}
ALWAYS = 10**9
SEED = int(os.environ.get("HUBBUB_INTERLEAVING_SEED", "1"))
SAMPLE = int(os.environ.get("HUBBUB_INTERLEAVINGS", "20"))
"""How many orders with more than one interruption are tried of each scenario."""


class Stuck(BaseException):
    """Nobody can go on."""


class Scheduler:
    """Runs functions in threads of which one goes on at a time.

    :param plan: (thread, steps) one after the other; then whoever can.
    :param expire: waits with a limit end by it at once, instead of when nobody else can go on.
    """

    def __init__(self, plan: list[tuple[int, int]], expire: bool) -> None:
        self.plan = list(plan)
        self.expire = expire
        self.left = 0
        self.steps: list[int] = []

    def run(self, functions: list[Callable[[], Any]]) -> list[Any]:
        self.batons = [allocate_lock() for _ in functions]
        for baton in self.batons:
            baton.acquire()
        self.outcomes: list[Any] = [None] * len(functions)
        self.finished = [False] * len(functions)
        self.conditions: list[Callable[[], bool] | None] = [None] * len(functions)
        self.stuck = False
        self.steps = [0] * len(functions)
        self.over = allocate_lock()
        self.over.acquire()
        for me, function in enumerate(functions):
            TEAM[me].do(partial(self._body, me, function))
        self._give(self._choose(0))
        assert self.over.acquire(True, 20), "the scheduler has lost control"
        return self.outcomes

    def _body(self, me: int, function: Callable[[], Any]) -> None:
        self.batons[me].acquire()
        current.scheduler, current.me = self, me
        sys.settrace(self._enter)
        try:
            outcome: Any = function()
        except Stuck:
            outcome = "stuck"
        except BaseException as error:
            outcome = type(error).__name__
        finally:
            sys.settrace(None)
        self.outcomes[me] = outcome
        self.finished[me] = True
        if all(self.finished):
            self.over.release()
        else:
            self._give(self._choose(me))

    def _enter(self, frame: Any, event: str, arg: Any) -> Any:
        if frame.f_code.co_filename not in SOURCES:
            return None
        frame.f_trace_opcodes = True
        return self._step

    def _step(self, frame: Any, event: str, arg: Any) -> Any:
        if event == "opcode":
            self.step()
        return self._step

    def step(self) -> None:
        me = current.me
        self.steps[me] += 1
        if self.stuck:
            return
        self.left -= 1
        if self.left <= 0:
            self._switch(me)

    def wait_for(self, condition: Callable[[], bool], limited: bool = False) -> None:
        """:param limited: if nobody can go on, the wait just ends."""
        me = current.me
        while not condition():
            if self.stuck:
                if limited:
                    return
                raise Stuck
            self.conditions[me] = condition
            self._switch(me)
            self.conditions[me] = None
            if limited and self.stuck and not condition():
                self.stuck = False
                return

    def _can(self, who: int) -> bool:
        condition = self.conditions[who]
        return not self.finished[who] and (condition is None or condition())

    def _choose(self, me: int) -> int:
        while self.plan:
            who, self.left = self.plan.pop(0)
            if self._can(who):
                return who
        self.left = ALWAYS
        able = [who for who in range(len(self.batons)) if self._can(who)]
        if able:
            return me if me in able else able[0]
        self.stuck = True
        return next(who for who in range(len(self.batons)) if not self.finished[who])

    def _switch(self, me: int) -> None:
        chosen = self._choose(me)
        if chosen != me:
            self._give(chosen)
            self.batons[me].acquire()

    def _give(self, who: int) -> None:
        self.batons[who].release()


class Member:
    """A thread that does one thing after the other; starting one for each takes longer than what it does."""

    def __init__(self) -> None:
        self.jobs: Any = SimpleNativeQueue()

    def do(self, job: Callable[[], None]) -> None:
        if not hasattr(self, "thread"):
            self.thread = threading.Thread(target=self._work, daemon=True)
            self.thread.start()
        self.jobs.put(job)

    def _work(self) -> None:
        while (job := self.jobs.get()) is not None:
            job()

    def end(self) -> None:
        """A hub waits for native threads that live, instead of raising LoopExit."""
        if hasattr(self, "thread"):
            self.jobs.put(None)
            self.thread.join(30)
            del self.thread


TEAM = [Member(), Member(), Member()]


class Current(threading.local):
    scheduler: Scheduler
    me: int


current = Current()


class SteppedWaiter:
    """Stands for a Waiter: its thread waits by letting the others go on."""

    _loop = SimpleNamespace(born=0.0)

    def __init__(self) -> None:
        self.done = False
        self.value: Any = None
        self.since = 0.0
        self.user = None

    @property
    def stale(self) -> bool:
        return self.since < 0.0

    def wake(self, value: Any = None) -> bool:
        if self.since < 0.0:
            return False
        self.value, self.done = value, True
        return True

    def wait(self, timeout: float | None = None) -> bool:
        scheduler = current.scheduler
        if timeout is None:
            scheduler.wait_for(lambda: self.done)
        elif not scheduler.expire:
            scheduler.wait_for(lambda: self.done, limited=True)
        else:
            scheduler.step()
        return self.done


class SteppedMutex:
    """Stands for a native RLock."""

    def __init__(self) -> None:
        self.owner: int | None = None
        self.count = 0

    def acquire(self) -> None:
        me = getattr(current, "me", -1)
        if me >= 0 and self.owner not in (None, me):
            current.scheduler.wait_for(lambda: self.owner is None)
        self.owner = me
        self.count += 1

    def release(self) -> None:
        self.count -= 1
        if not self.count:
            self.owner = None

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


@pytest.fixture(autouse=True)
def _mutex_of_events() -> Iterator[None]:
    """What scenarios have put into the place of the mutex that all events share goes."""
    before = event._mutex
    yield
    event._mutex = before


@dataclass
class Scenario:
    """Operations that threads do at the same time on what ``make`` makes."""

    make: Callable[[], Any]
    operations: list[Callable[[Any], Any]]
    state: Callable[[Any], Any]

    def run(self, plan: list[tuple[int, int]], expire: bool) -> tuple[Any, list[int]]:
        made = self.make()
        for name in ("_mutex", "_releasing"):
            if hasattr(made, name):
                setattr(made, name, SteppedMutex())
        event._mutex = SteppedMutex()  # one for all; set back by the fixture below
        scheduler = Scheduler(plan, expire)
        outcomes = scheduler.run([lambda op=op: op(made) for op in self.operations])
        return (tuple(map(repr, outcomes)), repr(self.state(made))), scheduler.steps

    def allowed(self) -> tuple[set[Any], list[int]]:
        """What comes of it without interruptions, and how many steps each operation has at most."""
        found, most = set(), [0] * len(self.operations)
        for order in itertools.permutations(range(len(self.operations))):
            for expire in (False, True):
                outcome, steps = self.run([(who, ALWAYS) for who in order], expire)
                found.add(outcome)
                most = [max(pair) for pair in zip(most, steps, strict=True)]
        return found, most

    def plans(self, most: list[int]) -> Iterator[list[tuple[int, int]]]:
        """Each way to interrupt one operation once, the others in turn first; then a sample of more."""
        numbers = range(len(most))
        for who in numbers:
            orders = itertools.cycle(itertools.permutations([other for other in numbers if other != who]))
            for steps in range(1, most[who] + 1):
                yield [(who, steps), *((other, ALWAYS) for other in next(orders))]
        random = Random(SEED)
        for _ in range(SAMPLE):
            yield [(random.choice(numbers), random.randrange(1, max(most))) for _ in range(random.randrange(3, 7))]

    def check(self) -> int:
        allowed, most = self.allowed()
        tried = 0
        for plan in self.plans(most):
            expire = bool(tried % 2)
            outcome, _ = self.run(plan, expire)
            assert outcome in allowed, (plan, expire, outcome, allowed)
            tried += 1
        return tried


@pytest.fixture(autouse=True, scope="module")
def _team() -> Iterator[None]:
    yield
    for member in TEAM:
        member.end()


@pytest.fixture(autouse=True)
def _stepped(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (queue, _simplequeue, _channel, lock, event, _latch):
        monkeypatch.setattr(module, "Waiter", SteppedWaiter)
    monkeypatch.setattr(event, "_mutex", SteppedMutex())  # one for all events and results
    loop = SimpleNamespace(hold=lambda: 0, let_go=lambda held: None)
    monkeypatch.setattr(thread, "get_hub", lambda: SimpleNamespace(loop=loop))


@pytest.fixture(params=["in Python", "as installed"])
def methods(request: pytest.FixtureRequest) -> Iterator[str]:
    """With the methods of core in Python, and with those in C if they are there."""
    speed = pytest.importorskip("hubbub_speed") if request.param == "as installed" else None
    try:
        import hubbub_speed as installed
    except ImportError:
        installed = None
    if installed is not None:
        (installed.install_methods if speed else installed.uninstall_methods)()
    yield request.param
    if installed is not None:
        installed.install_methods()


@pytest.fixture
def _in_python() -> Iterator[None]:
    """With the methods of core in Python: stepped waiters are none that methods in C know."""
    try:
        import hubbub_speed
    except ImportError:
        yield
        return
    hubbub_speed.uninstall_methods()
    yield
    hubbub_speed.install_methods()


def put(item: Any, **options: Any) -> Callable[[Any], Any]:
    return lambda made: made.put(item, **options)


def get(**options: Any) -> Callable[[Any], Any]:
    # A limit by name, none too, has the method in Python wait: a wait in C cannot be stepped.
    return lambda made: made.get(**{"timeout": None, **options})


def peek(**options: Any) -> Callable[[Any], Any]:
    return lambda made: made.peek(**options)


def call(name: str, *args: Any, **options: Any) -> Callable[[Any], Any]:
    return lambda made: getattr(made, name)(*args, **options)


def in_queue(made: Any) -> Any:
    items = made.queue if isinstance(made, LifoQueue) or not isinstance(made.queue, list) else sorted(made.queue)
    unfinished = made._unfinished() if isinstance(made, Queue) else None
    return list(items), len(made._getters), len(made._putters), len(made._peekers), unfinished


class Overridden(SimpleQueue[Any]):
    """With a way of its own to keep items."""

    def _put(self, item: Any) -> None:
        self.queue.append(item)

    def _get(self) -> Any:
        return self.queue.popleft()


KINDS = [SimpleQueue, Queue, LifoQueue, PriorityQueue, Overridden]
FULL = [lambda kind=kind: kind(1, [1]) for kind in KINDS]
NAMES = [kind.__name__ for kind in KINDS]
ONE_PUTS = {
    "a waiter, a put, a get": [get(timeout=1), put(1), get(block=False)],
    "a waiter, two puts": [get(timeout=1), put(1), put(2)],
    "two waiters, a put": [get(timeout=1), get(timeout=1), put(1)],
    "a waiter for ever, a put, a get": [get(), put(1), get(block=False)],
    "a put and a shutdown": [put(1), call("shutdown"), get(block=False)],
    "a put and a shutdown at once": [put(1), call("shutdown", immediate=True), get(block=False)],
    "a waiter and a shutdown": [get(), call("shutdown"), put(1)],
    "a look, a put, a get": [peek(timeout=1), put(1), get(block=False)],
}
FULL_ONES = {
    "a waiting put, two gets": [put(2, timeout=1), get(block=False), get(block=False)],
    "two waiting puts, a get": [put(2, timeout=1), put(3, timeout=1), get(block=False)],
    "a waiting put, a get": [put(2, timeout=None), get()],
    "a put without waiting, a get": [put(2, block=False), get(block=False)],
    "a waiting put and a shutdown at once": [put(2, timeout=None), call("shutdown", immediate=True), get(block=False)],
    "a look and a get": [peek(block=False), get(block=False)],
}


@pytest.mark.parametrize("operations", ONE_PUTS.values(), ids=list(ONE_PUTS))
@pytest.mark.parametrize("kind", KINDS, ids=NAMES)
def test_queues(methods, kind, operations):
    """Operations on an empty queue: no item is lost, doubled or made up, and nobody waits who need not."""
    if methods == "as installed" and kind is not Queue:
        pytest.skip("the methods in C are the same for all")
    assert Scenario(kind, operations, in_queue).check() > 20


@pytest.mark.usefixtures("_in_python")  # where a put waits, it waits in C
@pytest.mark.parametrize("operations", ONE_PUTS.values(), ids=list(ONE_PUTS))
def test_bounded_queues(operations):
    """Operations on an empty queue of limited size."""
    assert Scenario(lambda: Queue(1), operations, in_queue).check() > 20


@pytest.mark.parametrize("operations", FULL_ONES.values(), ids=list(FULL_ONES))
@pytest.mark.parametrize("make", FULL, ids=NAMES)
def test_full_queues(methods, make, operations):
    """Operations on a full queue."""
    if methods == "as installed" and make is not FULL[0]:
        pytest.skip("the methods in C are the same for all")
    assert Scenario(make, operations, in_queue).check() > 20


CHANNEL = {
    "a getter, two putters": [get(timeout=1), put(1, timeout=1), put(2, block=False)],
    "two getters, a putter": [get(timeout=1), get(block=False), put(1, timeout=1)],
}


@pytest.mark.parametrize("operations", CHANNEL.values(), ids=list(CHANNEL))
def test_channels(operations):
    """Operations on a channel: whoever has put knows that it was got."""
    assert Scenario(Channel, operations, in_queue).check() > 20


TASKS = {
    "join and done": [call("join"), call("task_done")],
    "join, done and another put": [call("join", 1), call("task_done"), put(2)],
    "done too often": [call("task_done"), call("task_done"), call("join", 1)],
}


@pytest.mark.parametrize("operations", TASKS.values(), ids=list(TASKS))
def test_tasks(methods, operations):
    """Unfinished tasks are counted, and who waits for their end does not wait longer."""
    assert Scenario(lambda: Queue(unfinished_tasks=1), operations, in_queue).check() > 20


def permits(made: Any) -> Any:
    return made.counter, len(made._waiters)


TAKES = {
    "a waiter, a release, a try": [call("acquire", timeout=1), call("release"), call("acquire", False)],
    "two waiters, a release": [call("acquire", timeout=1), call("acquire", timeout=1), call("release")],
    "a waiter for ever, two releases": [call("acquire"), call("release"), call("release")],
    "three releases": [call("release"), call("release"), call("acquire", timeout=1)],
}


class Quiet(Semaphore):
    """Does not tell how many permits are free, which others may have changed since."""

    def release(self) -> None:  # type: ignore[override]
        super().release()


class QuietBounded(BoundedSemaphore):
    """The same."""

    def release(self) -> None:  # type: ignore[override]
        super().release()


def taken(made: Any) -> Any:
    made.acquire()
    return made


@pytest.mark.parametrize("operations", TAKES.values(), ids=list(TAKES))
@pytest.mark.parametrize("make", [lambda: Quiet(0), lambda: taken(QuietBounded(1))], ids=["Semaphore", "Bounded"])
def test_semaphores(operations, make):
    """No permit is lost or doubled, and nobody waits for one that is free; a bound is never exceeded."""
    without_accelerators(Scenario(make, operations, permits))


@pytest.mark.parametrize("operations", TAKES.values(), ids=list(TAKES))
def test_locks(operations):
    """A lock that is held is got by one, and releasing it twice is an error of one."""
    without_accelerators(Scenario(lambda: taken(thread.LockType()), operations, permits))


OWNED = {
    "two threads": [call("acquire"), call("acquire", False)],
    "three threads": [call("acquire", timeout=1), call("acquire", timeout=1), call("acquire", False)],
}


@pytest.mark.parametrize("operations", OWNED.values(), ids=list(OWNED))
@pytest.mark.parametrize("kind", [thread.RLock, lock.RLock], ids=["thread", "lock"])
def test_reentrant_locks(operations, kind):
    """One thread gets an RLock, wholly; having given it back, the next."""

    def twice(made: Any) -> Any:
        with made:
            with made:
                made.inside = getattr(made, "inside", 0) + 1
                inside = made.inside
                made.inside -= 1
            return inside

    def state(made: Any) -> Any:
        return made.locked(), made._depth, len(made._waiters)

    without_accelerators(Scenario(kind, [twice, twice], state))
    without_accelerators(Scenario(kind, [*operations], state))


def without_accelerators(scenario: Scenario) -> None:
    """Stepped waiters are none that methods in C know."""
    try:
        import hubbub_speed
    except ImportError:
        scenario.check()
        return
    hubbub_speed.uninstall_methods()
    try:
        assert scenario.check() > 50
    finally:
        hubbub_speed.install_methods()


EVENTS = {
    "a waiter and set": [call("wait"), call("set")],
    "a waiter, set and clear": [call("wait"), call("set"), call("clear")],
    "two waiters, set": [call("wait", 1), call("wait"), call("set")],
}


@pytest.mark.usefixtures("_in_python")
@pytest.mark.parametrize("operations", EVENTS.values(), ids=list(EVENTS))
def test_events(operations):
    """Who waited before set is woken, also if it is cleared at once."""
    assert Scenario(Event, operations, lambda made: (made.is_set(), len(made._waiters or ()))).check() > 10


@pytest.mark.usefixtures("_in_python")
def test_an_event_cleared_at_once_wakes_who_waited_before(monkeypatch):
    """set then clear wakes one who waits already, wherever another thread's clear strikes."""
    scenario = Scenario(Event, [call("wait"), call("set"), call("clear")], lambda made: len(made._waiters or ()))
    allowed, most = scenario.allowed()
    for steps in range(1, most[1] + 1):
        outcome, _ = scenario.run([(0, ALWAYS), (1, steps), (2, ALWAYS)], False)
        assert outcome == (("True", "None", "None"), "0")
    assert most[1] > 5
    assert allowed


RESULTS = {
    "a value and an error": [call("set", 1), call("set_exception", KeyError("x")), call("get", block=False)],
    "two values and a waiter": [call("set", 1), call("set", 2), call("wait")],
    "an error and a waiter": [call("set_exception", KeyError("x")), call("wait"), call("set", 1)],
}


@pytest.mark.usefixtures("_in_python")
@pytest.mark.parametrize("operations", RESULTS.values(), ids=list(RESULTS))
def test_results(operations):
    """A result is one of those that were set, and never half of one and half of another."""
    scenario = Scenario(AsyncResult, operations, lambda made: (made.value, made.exception, len(made._waiters or ())))
    assert scenario.check() > 50


def test_the_scheduler_finds_faults():
    """A queue that looks at its size and then takes is found out."""

    class Careless(SimpleQueue[Any]):
        def get(self, block: bool = True, timeout: float | None = None) -> Any:
            self.step()
            if self.queue:
                self.step()
                return self.queue.popleft()
            raise queue.Empty

        def step(self) -> None:
            current.scheduler.step()

    scenario = Scenario(lambda: Careless(items=[1]), [get(), get()], in_queue)
    with pytest.raises(AssertionError, match="IndexError"):
        scenario.check()
