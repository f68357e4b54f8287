"""A greenlet that waits switches to the next one by itself, in the order and with the reports of the hub."""

from __future__ import annotations

import asyncio
import asyncio.events
import gc
import socket
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import greenlet
import hubbub
import pytest
from hubbub.event import Event
from hubbub.inspect import assert_switches
from hubbub.io import Socket
from hubbub.lock import RLock, Semaphore
from hubbub.queue import Channel, Queue
from hubbub.running_loop import separate_running_loops
from hubbub.thread import allocate_lock
from hubbub_speed.methods import install_methods, uninstall_methods


@pytest.fixture(autouse=True)
def _installed() -> Iterator[None]:
    hubbub.sleep(0)
    install_methods()
    yield
    install_methods()


def with_both(run: Callable[[], Any]) -> tuple[Any, Any]:
    """What ``run`` returns with the methods in C, and with those in Python."""
    in_c = run()
    uninstall_methods()
    in_python = run()
    install_methods()
    return in_c, in_python


def handed() -> bool:
    """Whether another greenlet, and not the hub, has switched to the current one."""
    return hubbub.get_hub().loop.handed_to is not None


def take_turns(waits: Callable[[], Any], times: int = 40) -> list[bool]:
    """Two greenlets wait in turn; for each wait, whether it was ended by the other greenlet."""
    seen = []

    def turns() -> None:
        for _ in range(times):
            waits()
            seen.append(handed())

    hubbub.joinall([hubbub.spawn(turns), hubbub.spawn(turns)])
    return seen


def test_the_hub_has_its_turn_after_a_slice() -> None:
    """Of sixteen switches in a row at least one is the hub's, and most go from greenlet to greenlet."""
    seen = take_turns(lambda: hubbub.sleep(0), 160)
    assert seen.count(False) >= 320 // 16
    assert seen.count(True) > 160


def test_switches_among_greenlets_are_counted() -> None:
    """The statistics count a switch that did not go by the hub like any other."""
    hub = hubbub.get_hub()

    def switches() -> int:
        """All switches until now. Those of a slice count when it ends, and who has slept is the first of a turn."""
        hubbub.sleep(0.001)
        return hub.statistics().switches

    def run() -> int:
        before = switches()
        take_turns(lambda: hubbub.sleep(0), 500)
        return switches() - before

    in_c, in_python = with_both(run)
    assert abs(in_c - in_python) <= 16


def test_timers_and_events_are_not_starved() -> None:
    """While greenlets hand over to one another for ever, the loop polls, and timers go off in time."""
    loop = hubbub.get_hub().loop
    going = [True]

    def spins() -> None:
        while going:
            hubbub.sleep(0)

    spinning = [hubbub.spawn(spins) for _ in range(10)]
    before, limit = loop.iteration, time.monotonic() + 20
    while loop.iteration - before < 5:
        hubbub.sleep(0.001)
        assert time.monotonic() < limit
    going.clear()
    hubbub.joinall(spinning)


def scenario(seed: int) -> list[Any]:
    """What happens, in its order, in a random program of greenlets, locks, queues and sleeps."""
    random = Random(seed)
    log: list[Any] = []
    events, queues = [Event() for _ in range(3)], [Queue[int](1), Queue[int](), Channel[int]()]
    locks: list[Any] = [Semaphore(1), RLock(), allocate_lock(), Semaphore(2)]

    def body(me: int) -> None:
        chooser = Random(seed * 100 + me)
        for step in range(30):
            what = chooser.randrange(7)
            try:
                if what == 0:
                    hubbub.sleep(0)
                elif what == 1:
                    with chooser.choice(locks):
                        hubbub.sleep(0)
                elif what == 2:
                    with hubbub.Timeout(0.001, False):
                        chooser.choice(queues).put(step)
                elif what == 3:
                    with hubbub.Timeout(0.001, False):
                        log.append(("got", chooser.choice(queues).get()))
                elif what == 4:
                    chooser.choice(events).set()
                elif what == 5:
                    chooser.choice(events).clear()
                else:
                    hubbub.spawn_raw(log.append, ("raw", me, step))
            except hubbub.Timeout:
                pass
            log.append((me, step, what))

    running = [hubbub.spawn(body, me) for me in range(random.randrange(2, 8))]
    hubbub.joinall(running, raise_error=True)
    return log


def without_waiting(seed: int) -> list[Any]:
    """The same without anything that depends on time."""
    log: list[Any] = []
    queue, lock, event = Queue[Any](2), Semaphore(1), Event()
    mutex, again = allocate_lock(), RLock()

    def body(me: int) -> None:
        chooser = Random(seed * 100 + me)
        for step in range(40):
            what = chooser.randrange(6)
            if what == 0:
                hubbub.sleep(0)
            elif what == 1:
                with lock, again:
                    hubbub.sleep(0)
            elif what == 2:
                with mutex:
                    hubbub.sleep(0)
            elif what == 3:
                queue.put((me, step))
            elif what == 4:
                log.append(queue.get())
                queue.task_done()
            else:
                event.set()
                event.clear()
            log.append((me, step, what))

    def fills() -> None:
        while True:
            queue.put("filled")
            hubbub.sleep(0)

    def drains() -> None:
        while True:
            queue.get()
            hubbub.sleep(0)

    helpers = [hubbub.spawn(fills), hubbub.spawn(drains)]
    hubbub.joinall([hubbub.spawn(body, me) for me in range(5)], raise_error=True)
    hubbub.killall(helpers)
    return log


@pytest.mark.parametrize("seed", range(20))
def test_the_order_is_that_of_the_hub(seed: int) -> None:
    """Random programs run in exactly the same order with hand-over and without."""
    in_c, in_python = with_both(lambda: without_waiting(seed))
    assert in_c == in_python


@pytest.mark.parametrize("seed", range(5))
def test_limits_among_hand_overs(seed: int) -> None:
    """Random programs whose waits have time limits come to their end with hand-over."""
    assert scenario(seed)


def test_a_new_greenlet_is_started_by_the_hub() -> None:
    """Its stack would otherwise begin where that of the greenlet before it ends, and so on, deeper and deeper."""
    seen = []
    first = hubbub.spawn(lambda: hubbub.sleep(0))
    second = hubbub.spawn(lambda: seen.append(handed()))
    hubbub.joinall([first, second])
    assert seen == [False]


def test_a_wait_that_is_over_is_skipped() -> None:
    """A wake-up that comes after its greenlet was killed is passed over, and the greenlet after it gets its turn."""
    event, later = Event(), Event()
    log: list[str] = []

    def victim() -> None:
        try:
            event.wait()
        finally:
            log.append("killed")

    def other() -> None:
        later.wait()
        log.append("other")

    def wakes() -> None:
        event.set()
        killed.kill(block=False)
        later.set()
        hubbub.sleep(0)
        log.append("waker")

    killed, waiting = hubbub.spawn(victim), hubbub.spawn(other)
    hubbub.sleep(0)
    hubbub.joinall([killed, waiting, hubbub.spawn(wakes)])
    assert sorted(log) == ["killed", "other", "waker"]


def pair() -> tuple[Socket, Socket]:
    """Two cooperative sockets that are connected."""
    ours, theirs = (Socket(each.family, each.type, each.proto, each.detach()) for each in socket.socketpair())
    return ours, theirs


def echo_in_turns(pairs: int, times: int, looked: Callable[[Any], object]) -> list[hubbub.Greenlet]:
    """Greenlets that echo what comes over their sockets, all of which are written to together, so that they hand over.
    ``looked`` is called with the waiter of each, while it waits."""
    hub = hubbub.get_hub()
    ends = [pair() for _ in range(pairs)]

    def echo(end: Socket) -> None:
        while data := end.recv(10):
            end.sendall(data)

    echoing = [hubbub.spawn(echo, theirs) for _, theirs in ends]
    for _ in range(times):
        for ours, _ in ends:
            ours.sendall(b"x")
        for ours, _ in ends:
            assert ours.recv(10) == b"x"
        hubbub.sleep(0)
        for _, theirs in ends:
            looked(hub.loop.handles[theirs.fileno()].read.waiter)
    for ours, _ in ends:
        ours.close()
    hubbub.joinall(echoing, timeout=5, raise_error=True)
    for _, theirs in ends:
        theirs.close()
    return echoing


def test_a_switch_that_somebody_keeps_stays_that_of_its_greenlet() -> None:
    """What waits for a descriptor is a bound method. Who holds one, or refers to it weakly, never finds it bound to
    another greenlet later."""
    kept: list[tuple[Any, object]] = []
    weak: list[tuple[weakref.ref[Any], int]] = []

    def look(waiter: Any) -> None:
        if len(kept) < 50:
            kept.append((waiter, waiter.__self__))
        else:
            weak.append((weakref.ref(waiter), id(waiter.__self__)))
        still = [(found, number) for ref, number in weak if (found := ref()) is not None]
        assert all(id(found.__self__) == number for found, number in still)

    echo_in_turns(10, 10, look)
    assert len(kept) == len(weak) == 50
    assert all(waiter.__self__ is greenlet for waiter, greenlet in kept)


def test_no_greenlet_outlives_its_switch() -> None:
    """A greenlet that has ended is freed, though its last switch may be kept for another; and nobody can find that."""
    ended = [weakref.ref(echoing) for echoing in echo_in_turns(5, 5, lambda waiter: None)]
    hubbub.sleep(0)
    gc.collect()
    assert [ref() for ref in ended] == [None] * 5
    switches = [found for found in gc.get_objects() if type(found) is type(len) and found.__name__ == "switch"]
    assert all(found.__self__ is not None for found in switches)


def test_a_greenlet_of_another_thread_waits_for_its_own_hub() -> None:
    """A socket that one thread has read from is read by another, while a greenlet of the first was handed to and keeps
    its thread busy: that does not make it the one that waits."""
    ours, theirs = pair()
    seen = threading.Event()
    loops: list[Any] = []
    got: list[bytes] = []

    def other_thread() -> None:
        loops.append(hubbub.get_hub().loop)
        got.append(theirs.recv(1))
        seen.set()

    def wait_until_it_waits() -> None:
        limit = time.monotonic() + 5
        while not (loops and loops[0].waiting_count()):
            assert time.monotonic() < limit
            time.sleep(0)

    def runs() -> None:
        for _ in range(20):
            hubbub.sleep(0)
            if handed() and not loops:
                thread.start()
                wait_until_it_waits()
                ours.send(b"y")
                assert seen.wait(5)

    thread = threading.Thread(target=other_thread)
    first = hubbub.spawn(theirs.recv, 1)
    hubbub.sleep(0)
    ours.send(b"x")
    assert first.get(timeout=5) == b"x"
    hubbub.joinall([hubbub.spawn(runs) for _ in range(3)], timeout=5, raise_error=True)
    assert got == [b"y"]
    thread.join(5)
    ours.close()
    theirs.close()


def test_trace_functions_see_each_switch_by_the_hub() -> None:
    """With a trace function of greenlet there is no hand-over: it sees the same switches with both kinds of methods."""
    hub = hubbub.get_hub()

    def run() -> list[Any]:
        seen: list[Any] = []
        greenlet.settrace(lambda event, ends: seen.append((event, ends[0] is hub, ends[1] is hub)))
        try:
            take_turns(lambda: hubbub.sleep(0), 5)
        finally:
            greenlet.settrace(None)
        return seen

    in_c, in_python = with_both(run)
    assert in_c == in_python
    assert all(from_hub or to_hub for _, from_hub, to_hub in in_c)


def test_assert_switches_sees_a_switch_to_the_hub() -> None:
    """sleep(0) counts as a switch to the hub for assert_switches, also where it would come back by itself."""

    def checks() -> None:
        hubbub.sleep(0)
        with assert_switches(hub_only=True):
            hubbub.sleep(0)

    hubbub.spawn(checks).get()


def test_a_failure_is_reported_with_its_own_greenlet() -> None:
    """If a raw greenlet fails after another has switched to it, the report names that one's callable."""
    hub = hubbub.get_hub()

    def run() -> list[str]:
        reports: list[str] = []
        event = Event()

        def fails() -> None:
            event.wait()
            raise ValueError("mine")

        def wakes() -> None:
            event.set()
            hubbub.sleep(0)

        hub.__dict__["handle_error"] = lambda context, kind, error, tb: reports.append(
            f"{type(context).__name__} {context.greenlet is raw} {error}"
        )
        try:
            raw = hubbub.spawn_raw(fails)
            hubbub.sleep(0)
            hubbub.spawn(wakes).join()
        finally:
            del hub.__dict__["handle_error"]
        return reports

    in_c, in_python = with_both(run)
    assert in_c == in_python == ["Waiter True mine"]


def test_each_greenlet_has_its_own_event_loop() -> None:
    """While asyncio runs in the thread, greenlets hand over to one another, and none sees the loop of another."""
    undo = separate_running_loops(asyncio.events)
    there: list[Any] = []
    seen: list[bool] = []

    async def waits() -> None:
        mine = asyncio.get_running_loop()
        task = asyncio.current_task()
        for _ in range(40):
            hubbub.sleep(0)
            there.append(asyncio.get_running_loop() is mine and asyncio.current_task() is task)

    def plain() -> None:
        for _ in range(40):
            hubbub.sleep(0)
            seen.append(handed())
            there.append(asyncio._get_running_loop() is None)

    try:
        hubbub.joinall([hubbub.spawn(plain), *(hubbub.spawn(asyncio.run, waits()) for _ in range(3))], raise_error=True)
    finally:
        undo()
    assert len(there) == 160
    assert all(there)
    assert any(seen)


def test_a_queue_of_another_order_is_left_to_the_hub() -> None:
    """With a run queue in random order, as tests have it, nobody but the hub chooses who is the next."""
    loop = hubbub.get_hub().loop
    plain = loop.ready

    class Shuffled(type(plain)):  # type: ignore[misc]  # a deque
        pass

    loop.ready = Shuffled(plain)
    try:
        assert not any(take_turns(lambda: hubbub.sleep(0)))
    finally:
        loop.ready = type(plain)(loop.ready)
