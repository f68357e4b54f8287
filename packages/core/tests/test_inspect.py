"""Diagnosis: what every greenlet waits for."""

from __future__ import annotations

import faulthandler
import gc
import json
import os
import re
import signal
import socket
import time

import hubbub
import pytest
from hubbub import Event, Queue, Semaphore, inspect, sleep, spawn
from hubbub.io import Socket


def info_of(greenlet):
    return next(info for info in inspect.greenlets() if info.name == greenlet.name)


def test_every_kind_of_wait_is_named(hub):
    """Each blocked greenlet shows the operation, the object, how long, and the user's line."""
    ours, theirs = (Socket(s.family, s.type, s.proto, s.detach()) for s in socket.socketpair())
    queue, event, lock = Queue(), Event(), Semaphore(0)

    def reads():
        ours.recv(1)

    def gets():
        queue.get()

    def waits():
        event.wait(60)

    def acquires():
        lock.acquire()

    def sleeps():
        sleep(60)

    def joins():
        waiting[0].join()

    waiting = [spawn(body) for body in (reads, gets, waits, acquires, sleeps, joins)]
    sleep(0.01)
    expected = ["Socket.recv", "SimpleQueue.get", "Event.wait", "Semaphore.acquire", "sleep", "Greenlet.join"]
    for greenlet, operation in zip(waiting, expected, strict=True):
        info = info_of(greenlet)
        assert (info.state, info.operation) == ("waiting", operation)
        assert info.seconds is not None
        assert 0 <= info.seconds < 60
        assert info.file == __file__
        assert info.function.endswith(greenlet._run.__name__)
    assert "Queue" in info_of(waiting[1]).waits_for
    hubbub.killall(waiting)
    ours.close()
    theirs.close()


def test_a_function_of_ours_as_the_greenlet(hub):
    """A greenlet that runs a hubbub function directly is shown as waiting in it."""
    event = Event()
    greenlet = spawn(event.wait)
    sleep(0)
    assert info_of(greenlet).operation == "Event.wait"
    event.set()
    greenlet.join()


def test_ready_and_running(hub):
    """What is in the run queue is ready, the caller is running, what has ended is not listed."""
    queued, ended = spawn(sleep), spawn(int)
    ended.join(0)
    ended.join()
    queued = spawn(sleep)
    assert info_of(queued).state == "ready"
    assert next(info for info in inspect.greenlets() if info.name == "main").state == "running"
    assert all(info.name != ended.name for info in inspect.greenlets())
    queued.join()


def test_loop_exit_says_who_waits_for_what(hub):
    """LoopExit names every greenlet that is blocked and what it waits for."""

    def stuck():
        Queue().get()

    greenlet = spawn(stuck)
    with pytest.raises(hubbub.LoopExit) as caught:
        greenlet.join()
    text = str(caught.value)
    assert "block forever" in text
    assert greenlet.name in text
    assert "SimpleQueue.get" in text
    greenlet.kill(block=False)
    sleep(0)


def test_loop_exit_names_the_living_first():
    """Greenlets left behind by destroyed hubs of the same thread do not crowd out those of LoopExit's own."""
    left = []
    for _ in range(3):
        before = hubbub.get_hub()
        left += [spawn(Event().wait) for _ in range(10)]
        sleep(0)
        before.destroy()
    greenlet = spawn(Event().wait)
    with pytest.raises(hubbub.LoopExit, match=re.escape(greenlet.name)):
        greenlet.join()
    assert len([info for info in inspect.greenlets() if info.hub.endswith("(destroyed)")]) >= len(left)
    greenlet.kill()
    hubbub.get_hub().destroy()


def test_report_as_json(hub):
    """The report is valid JSON with the documented fields."""
    greenlet = spawn(Event().wait)
    sleep(0)
    entry = next(item for item in json.loads(inspect.report_as_json()) if item["name"] == greenlet.name)
    assert entry["operation"] == "Event.wait"
    greenlet.kill()


def test_report_on_a_signal(hub, capsys):
    """A signal writes the report while everything waits."""
    previous = signal.getsignal(signal.SIGUSR1)
    inspect.report_on_signal(signal.SIGUSR1)
    try:
        greenlet = spawn(Event().wait, 5)
        sleep(0)
        os.kill(os.getpid(), signal.SIGUSR1)
        sleep(0.001)
        assert f"{greenlet.name}: waiting in Event.wait" in capsys.readouterr().err
        greenlet.kill()
    finally:
        signal.signal(signal.SIGUSR1, previous)


@pytest.mark.skipif(not hasattr(faulthandler, "dump_c_stack"), reason="this CPython reads no C stacks")
def test_c_stack_on_a_signal(hub, tmp_path):
    """On request the report on a signal ends with the C stack of the main thread."""
    previous = signal.getsignal(signal.SIGUSR1)
    with open(tmp_path / "report", "w+") as file:
        inspect.report_on_signal(signal.SIGUSR1, file, c_stack=True)
        try:
            os.kill(os.getpid(), signal.SIGUSR1)
            sleep(0.001)
        finally:
            signal.signal(signal.SIGUSR1, previous)
        file.seek(0)
        said = file.read()
    assert said.index("main: running") < said.index("C stack")


@pytest.mark.skipif(hasattr(faulthandler, "dump_c_stack"), reason="this CPython reads C stacks")
def test_no_c_stack_on_a_signal():
    """Where CPython reads no C stacks, asking for one is an error at once, and no handler is set."""
    previous = signal.getsignal(signal.SIGUSR1)
    with pytest.raises(RuntimeError, match=r"3\.14"):
        inspect.report_on_signal(signal.SIGUSR1, c_stack=True)
    assert signal.getsignal(signal.SIGUSR1) == previous


def test_spawn_sites_are_recorded_on_request(hub):
    """With tracking on, a greenlet knows who spawned it and where; without, nothing is kept."""
    inspect.track_spawns()
    try:
        greenlet = spawn(Event().wait)
    finally:
        inspect.track_spawns(False)
    other = spawn(Event().wait)
    sleep(0)
    info = info_of(greenlet)
    assert info.spawned_by == "main"
    assert "test_spawn_sites" in info.spawned_at[-1]
    assert info_of(other).spawned_at == ()
    hubbub.killall([greenlet, other])


def test_the_tree_shows_who_spawned_whom(hub):
    """A greenlet stands below the one that spawned it; one whose spawner has ended stands at the top."""
    children = []

    def parent():
        children.append(spawn(Event().wait))
        Event().wait()

    def passes():
        children.append(spawn(Event().wait))

    inspect.track_spawns()
    try:
        first, second = spawn(parent), spawn(passes)
        sleep(0)
        sleep(0)
    finally:
        inspect.track_spawns(False)
    lines = inspect.tree().splitlines()

    def place(name):
        return next((index, len(line) - len(line.lstrip())) for index, line in enumerate(lines) if f"{name}:" in line)

    assert place(children[0].name)[0] > place(first.name)[0]
    assert place(children[0].name)[1] > place(first.name)[1]
    assert place(children[1].name)[1] == 0
    assert second.dead
    hubbub.killall([first, *children])


def test_statistics_count(hub):
    """Statistics count polls and switches, and what waits now."""
    before = hub.statistics()
    greenlet = spawn(sleep, 60)
    sleep(0)
    sleep(0.001)
    after = hub.statistics()
    assert after.polls > before.polls
    assert after.switches > before.switches
    assert after.timers == before.timers + 1
    assert after.greenlets == before.greenlets + 1
    greenlet.kill()
    assert hub.statistics().greenlets == before.greenlets


def test_assert_switches(hub):
    """A block that never switches fails; one that does passes; one that hogs for too long fails."""
    with pytest.raises(inspect.FailedToSwitch), inspect.assert_switches():
        pass
    with inspect.assert_switches():
        sleep(0)
    with inspect.assert_switches(max_blocking_time=5):
        sleep(0)
    with pytest.raises(inspect.FailedToSwitch, match="kept the thread"), inspect.assert_switches(0.005):
        end = time.monotonic() + 0.02
        while time.monotonic() < end:
            pass
    with pytest.raises(ValueError, match="body"), inspect.assert_switches():
        raise ValueError("body")


@pytest.mark.parametrize("wait", [lambda: Event().wait(), lambda: Semaphore(0).acquire(), lambda: Queue().get()])
def test_garbage_that_waits(hub, wait):
    """A greenlet that waits for what nobody can reach breaks no list, though the collector may have taken it apart.

    From CPython 3.15 on it finds such greenlets.
    """
    spawn(wait)
    sleep(0)
    gc.collect()
    assert all(info.state for info in inspect.greenlets())
    for item in gc.get_objects():
        if isinstance(item, hubbub.Greenlet):
            assert item.dead in (True, False)
            assert bool(item) == item.started
