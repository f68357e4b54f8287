"""Handlers of the standard signal module that raise wherever the loop is: main gets the error, and nothing is lost."""

from __future__ import annotations

import _thread
import dis
import gc
import random
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, ClassVar

import hubbub
import pytest
from greenlet import getcurrent
from hubbub import AsyncResult, Event, Queue, sleep, spawn
from hubbub._standin import Runner
from hubbub._struck import is_of_handler, never_began
from hubbub.hub import spawn_raw
from hubbub.io import Socket
from hubbub.lowlevel import get_hub
from hubbub.pool import Group, Pool

NUMBER = signal.SIGUSR1
HOME = Path(hubbub.__file__).parent
NAMES = ("hub", "greenlet", "waiting", "_waiter", "_links", "_standin", "_reports")
LOOP = ("base", "timers", "readiness", "watchers", "_signals", "ring")
SOURCES = {str(HOME / f"{name}.py") for name in (*NAMES, *(f"loop/{name}" for name in LOOP))}
USED = ("taskgroup", "pool", "_mapping", "event", "_waitqueue", "scope", "timeout", "_interrupt")
TASKS = {str(HOME / f"{name}.py") for name in USED}


class Struck(Exception):
    """What a handler raises."""


def handler(*_: object) -> None:
    raise Struck


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Put the handlers back."""
    numbers = (NUMBER, signal.SIGUSR2, signal.SIGALRM)
    before = {number: signal.signal(number, handler) for number in numbers}
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    for number, previous in before.items():
        signal.signal(number, previous)


@pytest.fixture
def quiet(hub: hubbub.Hub, monkeypatch: pytest.MonkeyPatch) -> list[type]:
    """The hubs print nothing; the classes of what was reported with a context."""
    reported: list[type] = []

    def note(hub: Any, context: object, kind: type, error: object, tb: object) -> None:
        reported.append(kind)

    monkeypatch.setattr(hubbub.Hub, "print_exception", note)
    return reported


# Before the first step of what the loop calls -------------------------------------------------------------------------


Put = Callable[[Callable[[], None]], None]
"""Has something called in this turn."""


def by_hand() -> Put:
    return get_hub().loop.ready.append


def by_run_callback() -> Put:
    return get_hub().loop.run_callback


def by_async() -> Put:
    watcher = get_hub().loop.async_()

    def put(call: Callable[[], None]) -> None:
        watcher.start(call)
        watcher.send()

    return put


def by_link() -> Put:
    result = AsyncResult[int]()
    result.set(1)
    return lambda call: result.rawlink(lambda _: call())


def by_link_of_a_greenlet() -> Put:
    greenlet = spawn(bool)
    greenlet.join()
    return lambda call: greenlet.rawlink(lambda _: call())


@pytest.mark.parametrize("how", [by_hand, by_run_callback, by_async, by_link, by_link_of_a_greenlet])
def test_a_call_that_had_not_begun(hub: hubbub.Hub, quiet: list[type], how: Callable[[], Put]) -> None:
    """What is struck before its first step is called all the same, once; main gets the error, and nobody else."""
    called = []

    def call() -> None:
        called.append(getcurrent() is hub)

    sleep(0)
    put = how()
    hub.loop.ready.append(partial(_thread.interrupt_main, NUMBER))
    put(call)
    with pytest.raises(Struck):
        sleep(5)
    sleep(0.001)
    assert called == [True]
    assert quiet == []


def test_a_greenlet_that_had_not_begun(hub: hubbub.Hub, quiet: list[type]) -> None:
    """A greenlet that is struck before its first step fails, or main gets the error; who joins it goes on."""
    sleep(0)
    hub.loop.ready.append(partial(_thread.interrupt_main, NUMBER))
    greenlet, ended = spawn(int), []
    greenlet.rawlink(ended.append)
    try:
        sleep(0.001)
    except Struck:
        assert greenlet.get(timeout=5) == 0
        assert quiet == []
    else:
        with pytest.raises(Struck):
            greenlet.get(timeout=5)
        assert quiet == [Struck]
    sleep(0)
    assert ended == [greenlet]
    assert hub.statistics().greenlets == 0


def test_a_raw_greenlet_that_had_not_begun(hub: hubbub.Hub, quiet: list[type]) -> None:
    """A raw greenlet that is struck before its first step fails, which is reported, or main gets the error."""
    ran = []
    sleep(0)
    hub.loop.ready.append(partial(_thread.interrupt_main, NUMBER))
    spawn_raw(lambda: ran.append(1))
    try:
        sleep(0.001)
    except Struck:
        sleep(0.001)
        assert (ran, quiet) == ([1], [])
    else:
        assert (ran, quiet) == ([], [Struck])


def test_a_handle_failure_that_is_struck(hub: hubbub.Hub, quiet: list[type]) -> None:
    """A greenlet whose failure could not be handled has failed nevertheless."""

    class Greenlet(hubbub.Greenlet):
        def handle_failure(self, error: BaseException) -> None:
            raise Struck

    greenlet = Greenlet.spawn(int, "x")
    with pytest.raises(ValueError, match="x"):
        greenlet.get(timeout=5)
    assert quiet == [Struck]


# At each step of the loop in Python -----------------------------------------------------------------------------------


class Strike:
    """Raises at one place of hubbub's code, in the main greenlet, the hub or a stand-in.

    The places are those where the interpreter looks for signals: before the first step of a function, after a call, and
    at the end of a round of a loop.
    """

    LOOKS = ("CALL", "CALL_FUNCTION_EX", "CALL_KW", "JUMP_BACKWARD")
    names: ClassVar[dict[CodeType, dict[int, str]]] = {}

    def __init__(self, at: int, sources: set[str] = SOURCES, everybody: bool = False) -> None:
        self.at = at
        self.sources = sources
        self.everybody = everybody
        self.passed = 0
        self.where: str | None = None
        self.last: dict[int, str] = {}

    def enter(self, frame: FrameType, event: str, arg: object) -> Any:
        """The trace function."""
        if frame.f_code.co_filename not in self.sources or self.where is not None:
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        self.pass_by(frame)
        return self.step

    def step(self, frame: FrameType, event: str, arg: object) -> Any:
        """The trace function of a frame."""
        if event == "opcode":
            code = frame.f_code
            if code not in self.names:
                self.names[code] = {one.offset: one.opname for one in dis.get_instructions(code)}
            last = self.last.get(id(frame), "")
            self.last[id(frame)] = self.names[code].get(frame.f_lasti, "")
            if last in self.LOOKS:
                self.pass_by(frame)
        elif event == "return":
            self.last.pop(id(frame), None)
        return self.step

    def pass_by(self, frame: FrameType) -> None:
        """Raise here, if this is the place."""
        current = getcurrent()
        if self.where is None and (self.everybody or isinstance(current, Runner) or current.parent is None):
            if self.passed == self.at:
                self.where = f"{frame.f_code.co_qualname}:{frame.f_lineno}"
                sys.settrace(None)
                handler()
            self.passed += 1


def scenario(strike: Strike) -> None:
    """Greenlets wait in all kinds of ways while main is struck; afterwards each has what it waited for."""
    event, queue, gate = Event(), Queue[int](), AsyncResult[int]()
    near, far = socket.socketpair()
    mine = Socket(far.family, far.type, far.proto, far.detach())
    mine.settimeout(20)
    works: list[Callable[[], Any]] = [
        lambda: event.wait(20),
        lambda: sleep(0.0002) or "slept",
        lambda: queue.get(timeout=20),
        lambda: mine.recv(1),
        lambda: gate.get(timeout=20),
    ]
    waiting: dict[int, hubbub.Greenlet[Any]] = {}
    steps: list[Callable[[], Any]] = [
        *(partial(lambda number, work: waiting.__setitem__(number, spawn(work)), *one) for one in enumerate(works)),
        lambda: sleep(0),
        event.set,
        lambda: queue.put(7),
        lambda: near.send(b"x"),
        lambda: gate.set(8),
        lambda: sleep(0.0004),
        lambda: spawn(lambda: 3).get(timeout=20),
    ]
    caught: list[int] = []
    sys.settrace(strike.enter)
    try:
        for number, step in enumerate(steps):
            try:
                step()
            except Struck:
                caught.append(number)
    finally:
        sys.settrace(None)
    if not event.is_set():
        event.set()
    if not gate.ready():
        gate.set(8)
    if 7 in caught:  # put has raised, and so has done nothing
        queue.put(7)
    expected = [True, "slept", 7, b"x", 8]
    assert len(caught) == (strike.where is not None), strike.where
    for number, greenlet in waiting.items():
        assert greenlet.get(timeout=10) == expected[number], strike.where
    assert spawn(lambda: 4).get(timeout=10) == 4
    near.close()
    mine.close()


def callbacks_wait(strike: Strike) -> None:
    """Two callbacks of the hub wait, one in a stand-in, while main is struck; both go on, or are struck themselves."""
    hub, event = get_hub(), Event()
    ended: dict[int, bool] = {}
    greenlets: list[hubbub.Greenlet[int]] = []

    def callback(number: int) -> None:
        ended[number] = False
        event.wait(20)
        sleep(0.0001)
        ended[number] = True

    def work() -> int:
        sleep(0.0002)
        event.set()
        sleep(0.0003)
        return 5

    steps: list[Callable[[], Any]] = [
        lambda: hub.loop.run_callback(callback, 1),
        lambda: hub.loop.run_callback(callback, 2),
        lambda: greenlets.append(spawn(work)),
        lambda: sleep(0),
        lambda: sleep(0.0004),
        lambda: sleep(0.0004),
    ]
    caught = 0
    sys.settrace(strike.enter)
    try:
        for step in steps:
            try:
                step()
            except Struck:
                caught += 1
    finally:
        sys.settrace(None)
    event.set()
    for greenlet in greenlets:
        assert greenlet.get(timeout=10) == 5, strike.where
    end = time.monotonic() + 10
    while any(runner.parked for runner in (hub, *hub.stand_ins)):
        assert time.monotonic() < end, strike.where
        try:
            sleep(0.0005)
        except Struck:
            caught += 1
    assert caught == (strike.where is not None), strike.where
    assert sorted(ended) == [1, 2] or caught, strike.where
    assert spawn(lambda: 4).get(timeout=10) == 4


@pytest.mark.parametrize("scenario", [scenario, callbacks_wait], ids=["greenlets", "callbacks"])
def test_anywhere(hub: hubbub.Hub, quiet: list[type], scenario: Callable[[Strike], None]) -> None:
    """Wherever a handler raises in a runner of the loop or in the main greenlet, main gets it, once, and all that wait
    get theirs."""
    at = 0
    while True:
        strike = Strike(at)
        signal.signal(signal.SIGUSR2, strike.step)  # the frames of a handler, as the loop takes them
        signal.signal(signal.SIGALRM, strike.enter)
        get_hub().destroy()
        get_hub()  # begins under the strike, so that all its frames are traced
        scenario(strike)
        if strike.where is None:
            break
        assert quiet == [], strike.where
        at += 1
    assert at > 25


def test_tasks(any_hub: hubbub.Hub) -> None:
    """Wherever a handler raises, in whichever greenlet, task groups, groups, maps and time limits end.

    So does who is killed, and pools lose no place.
    """
    any_hub.exception_stream = None

    def group_of_tasks() -> int:
        with hubbub.TaskGroup() as tasks:
            tasks.spawn(sleep, 0)
            tasks.spawn(sleep, 0)
        return 1

    def group() -> int:
        members = Group()
        members.spawn(sleep, 0)
        pool.map(abs, [-1, -2, -3])
        pool.apply(abs, (-1,))
        return members.join(timeout=20)

    def limits() -> int:
        with hubbub.move_on_after(0.0002):
            sleep(30)
        with pytest.raises(hubbub.Timeout), hubbub.Timeout(0.0002):
            sleep(30)
        victim = spawn(sleep, 30)
        sleep(0)
        victim.kill()
        hubbub.joinall([spawn(sleep, 30)], timeout=0.0002)
        return 1

    at = 0
    while True:
        strike = Strike(at, SOURCES | TASKS, everybody=True)
        signal.signal(signal.SIGUSR2, strike.step)
        signal.signal(signal.SIGALRM, strike.enter)
        works: list[hubbub.Greenlet[Any]] = []
        pool = Pool(2)
        sys.settrace(strike.enter)
        try:
            for work in (group_of_tasks, group, limits):
                works.append(spawn(work))
            for pause in [0.0] * 12 + [0.0004] * 3:
                sleep(pause)
        except Struck:
            pass
        finally:
            sys.settrace(None)
        end = time.monotonic() + 10
        while len(pool) or not all(work.ready() for work in works):
            assert time.monotonic() < end, strike.where
            try:
                sleep(0.0005)
            except Struck:
                continue
        for work in works:
            assert work.exception is None or isinstance(work.exception, Struck | ExceptionGroup), strike.where
            assert work.exception or work.value == 1, strike.where
        assert pool.free_count() == 2, strike.where
        if strike.where is None:
            break
        at += 1
    assert at > 25


@pytest.fixture
def no_collection() -> Iterator[None]:
    """What strikes in the collector's callbacks or in a destructor is nobody's."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("seed", range(4))
def test_by_a_clock(hub: hubbub.Hub, quiet: list[type], no_collection: None, seed: int) -> None:
    """The alarm of a clock that goes off at a random moment of the start of a hub, or of a wait, ends the wait."""
    chance = random.Random(seed)
    for number in range(100):
        if number % 4 == 0:
            get_hub().destroy()
            get_hub()
        began = time.monotonic()
        with pytest.raises(Struck):
            signal.setitimer(signal.ITIMER_REAL, chance.uniform(1e-6, 3e-4))
            if chance.random() < 0.3:
                sleep(chance.uniform(0, 2e-4))
            sleep(20)
        assert time.monotonic() - began < 15
        assert spawn(lambda: 3).get(timeout=10) == 3
        assert not get_hub().dead
    assert quiet == []


# What an error tells --------------------------------------------------------------------------------------------------


def test_who_has_raised(hub: hubbub.Hub) -> None:
    """Errors of handlers are told from others: functions, methods, partial objects, and Python's own of Ctrl-C."""

    class Handler:
        def __call__(self, *_: object) -> None:
            raise Struck

        def method(self, *_: object) -> None:
            raise Struck

    for one in (handler, Handler(), Handler().method, partial(handler, 1), signal.default_int_handler):
        signal.signal(NUMBER, one)
        with pytest.raises((Struck, KeyboardInterrupt)) as caught:
            signal.raise_signal(NUMBER)
        assert is_of_handler(caught.value)
    with pytest.raises(ZeroDivisionError) as other:
        1 / 0  # noqa: B018
    assert not is_of_handler(other.value)


def test_what_had_begun(hub: hubbub.Hub) -> None:
    """A function that was struck in its middle, or failed by itself, has begun."""

    def fails() -> None:
        raise Struck

    def struck() -> None:
        signal.raise_signal(NUMBER)

    for function in (fails, struck):
        with pytest.raises(Struck) as caught:
            function()
        assert caught.value.__traceback__ is not None
        assert not never_began(caught.value.__traceback__.tb_next)
    assert not never_began(None)
