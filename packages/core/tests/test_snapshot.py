"""A whole process at one moment."""

from __future__ import annotations

import gc
import json
import threading
import time
from weakref import ref

import hubbub
import pytest
from hubbub import Event, Queue, RLock, TaskGroup, inspect, sleep, snapshot, spawn
from hubbub._sidethread import SideThread
from hubbub.thread import LockType


def entry_of(taken, greenlet):
    return next(info for info in taken.greenlets if info.ident == id(greenlet))


def deadlocked(one, two):
    """Two greenlets that wait for one another."""

    def takes(first, second):
        with first:
            sleep(0)
            with second:
                pass

    both = [spawn(takes, one, two), spawn(takes, two, one)]
    for _ in range(4):
        sleep(0)
    return both


def test_a_cycle_of_waits_is_found(hub):
    """Greenlets that hold what the other waits for are named as a cycle, and each has its holder."""
    both = deadlocked(RLock(), RLock())
    beside = spawn(both[0].join)
    sleep(0)
    taken = snapshot.take()
    assert [set(cycle) for cycle in taken.cycles] == [{id(item) for item in both}]
    assert entry_of(taken, both[0]).held_by == (id(both[1]),)
    assert entry_of(taken, beside).held_by == (id(both[0]),)
    hubbub.killall([*both, beside])
    assert snapshot.take().cycles == ()


def test_who_holds_a_lock_of_threads(hub):
    """A lock that any greenlet may release tells who took it, and two of them make a cycle; it keeps nobody alive."""
    one, two = LockType(), LockType()
    both = deadlocked(one, two)
    taken = snapshot.take()
    assert [set(cycle) for cycle in taken.cycles] == [{id(item) for item in both}]
    assert entry_of(taken, both[0]).held_by == (id(both[1]),)
    hubbub.killall(both)
    gone = spawn(one.acquire)
    gone.join()
    held = ref(gone)
    del gone, taken, both
    sleep(0)
    gc.collect()
    assert one.locked()
    assert held() is None


def test_a_greenlet_in_its_own_method_does_not_wait_for_itself():
    """A greenlet that was left in the middle of reporting its failure is no cycle of waits."""

    def fails():
        raise SystemError("to be raised in the main greenlet")

    failed = spawn(fails)
    with pytest.raises(SystemError):
        sleep(1)
    hubbub.get_hub().destroy()
    taken = snapshot.take()
    assert entry_of(taken, failed).held_by == ()
    assert not [cycle for cycle in taken.cycles if id(failed) in cycle]


def test_who_waits_for_many_depends_on_all(hub):
    """A greenlet in joinall, and the block of a task group, depend on each greenlet that they wait for."""

    def group():
        with TaskGroup() as tasks:
            members.extend(tasks.spawn(Event().wait) for _ in range(2))

    members = []
    owner = spawn(group)
    sleep(0)
    joiner = spawn(hubbub.joinall, members)
    sleep(0)
    taken = snapshot.take()
    assert set(entry_of(taken, owner).held_by) == {id(item) for item in members}
    assert set(entry_of(taken, joiner).held_by) == {id(item) for item in members}
    assert {entry_of(taken, item).parent for item in members} == {id(owner)}
    assert len({entry_of(taken, item).group for item in members}) == 1
    hubbub.killall([joiner, owner])


def test_age_and_function(hub):
    """A greenlet tells how long ago it was made, and what it was given to run."""
    before = time.monotonic()
    greenlet = spawn(Event().wait)
    sleep(0.01)
    info = entry_of(snapshot.take(), greenlet)
    assert 0 <= info.age <= time.monotonic() - before + 1
    assert info.runs == "Event.wait"
    greenlet.kill()


def test_the_spawner_is_the_parent_if_it_is_tracked(hub):
    """With tracking on, the parent of a greenlet is the one that spawned it, as long as that lives."""
    children = []

    def parent():
        children.append(spawn(Event().wait))
        Event().wait()

    inspect.track_spawns()
    try:
        spawner = spawn(parent)
        sleep(0)
    finally:
        inspect.track_spawns(False)
    assert entry_of(snapshot.take(), children[0]).parent == id(spawner)
    hubbub.killall([spawner, *children])
    del spawner


def test_a_snapshot_s_cost_grows_with_the_greenlets_only(any_hub):
    """A snapshot of 10,000 greenlets, as JSON, has them all, and takes no more CPU for each than one of 1,000."""
    queue, event = Queue(), Event()

    def waits(number):
        (queue.get, event.wait, lambda: sleep(1000))[number % 3]()

    def cost_of(count):
        all_of_them = [spawn(waits, number) for number in range(count)]
        sleep(0)
        sleep(0)
        costs = []
        for _ in range(3):
            began = time.thread_time()
            text = json.dumps(snapshot.take().as_dict())
            costs.append(time.thread_time() - began)
        assert len(json.loads(text)["greenlets"]) >= count
        hubbub.killall(all_of_them)
        return min(costs)

    assert cost_of(10_000) < 40 * cost_of(1_000)


def in_side_thread(function):
    """What ``function`` returns in a native thread that is none of the program's, while this one computes."""
    found = []
    thread = SideThread(lambda: found.append(function()), "a test")
    thread.start()
    end = time.monotonic() + 10
    while not found and time.monotonic() < end:
        sum(range(100))
    thread.stop()
    return found[0]


def test_a_blocked_hub_is_seen_from_outside(hub):
    """While a greenlet computes, another thread sees the hub blocked, by which greenlet and where, and all others."""
    other = spawn(Event().wait)

    def hogs():
        sleep(0)
        time.sleep(0.15)
        return in_side_thread(snapshot.take)

    hog = spawn(hogs)
    taken = hog.get()
    (info,) = (info for info in taken.hubs if info.thread == threading.get_ident())
    assert info.state == "blocked"
    assert info.busy_seconds >= 0.15
    assert info.running == hog.name
    assert "in_side_thread" in info.at
    assert any("hogs" in entry for entry in info.stack)
    assert entry_of(taken, hog).state == "running"
    assert entry_of(taken, other).operation == "Event.wait"
    other.kill()


def test_a_polling_hub_is_seen_as_such(hub):
    """A hub that waits for events is polling, and its greenlets' waits are told from another thread."""
    found = []
    greenlet = spawn(Event().wait)

    def look():
        while not hub.loop.in_poll:
            time.sleep(0.001)
        found.append(snapshot.take())

    thread = SideThread(look, "a test")
    thread.start()
    while not found:
        sleep(0.05)
    thread.stop()
    (info,) = (info for info in found[0].hubs if info.thread == hub.thread_ident)
    assert (info.state, info.running, info.stack) == ("polling", None, ())
    assert entry_of(found[0], greenlet).state == "waiting"
    greenlet.kill()


def test_code_of_the_program_does_not_run_in_other_threads(hub):
    """Another thread shows what is waited for by its class, and calls no repr of the program's."""

    class Shy(Event):
        def __repr__(self):
            shown.append(threading.get_ident())
            return "shown"

    shown = []
    greenlet = spawn(Shy().wait)
    sleep(0)
    taken = in_side_thread(snapshot.take)
    assert shown == []
    assert "Shy object" in entry_of(taken, greenlet).waits_for
    assert entry_of(snapshot.take(), greenlet).waits_for == "shown"
    greenlet.kill()


def test_side_threads_keep_no_deadlock_from_being_seen(hub):
    """A thread that only looks on wakes nobody: a deadlock is LoopExit while it runs."""
    thread = SideThread(lambda: thread.pause(30), "a test")
    thread.start()
    try:
        with pytest.raises(hubbub.LoopExit):
            Event().wait()
    finally:
        thread.stop()


@pytest.mark.parametrize("name", ["loop", "name", "thread_ident"])
def test_a_hub_that_is_torn_down_is_left_out(hub, name):
    """A hub that lacks what a hub has, for another thread takes it apart, spoils no snapshot of the others."""
    assert len(snapshot.take().hubs) == len(hubbub.hub.hubs())
    value = hub.__dict__.pop(name)
    try:
        assert len(snapshot.take().hubs) == len(hubbub.hub.hubs()) - 1
    finally:
        setattr(hub, name, value)


def test_callbacks_with_attributes_of_their_own(hub):
    """A callable in the run queue whose attributes are code is not asked for any."""

    class Callback:
        def __getattr__(self, name):
            raise OSError

        def __call__(self):
            pass

    hub.loop.ready.append(Callback())
    assert snapshot.take().greenlets
    sleep(0)
