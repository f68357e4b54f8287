"""Groups and pools."""

from __future__ import annotations

import hubbub
import pytest
from greenlet import GreenletExit
from hubbub import Event, sleep, spawn
from hubbub.pool import Group, Pool, PoolFull


def double(number):
    sleep(0.001 * (number % 3))
    return number * 2


def test_map_keeps_the_order(hub):
    """map returns the results in the order of the items, whatever the order of completion."""
    assert Pool(3).map(double, range(10)) == [number * 2 for number in range(10)]


def test_map_raises_the_first_failure(hub):
    """The failure of the first item that fails, once the tasks before it have ended; those behind it run on."""
    gates = [Event() for _ in range(4)]

    def fail_behind_the_gate(number):
        gates[number].wait()
        if number % 2:
            raise ValueError(number)

    pool = Pool()
    mapping = spawn(pool.map, fail_behind_the_gate, range(4))
    hub.handle_error = lambda *_: None
    for number in (3, 1):
        gates[number].set()
        sleep(0)
        sleep(0)
        assert not mapping.ready()
    gates[0].set()
    with pytest.raises(ValueError, match="1"):
        mapping.get(timeout=5)
    assert len(pool) == 1
    gates[2].set()
    pool.join()


def test_map_raises_the_failure_of_the_iterable_last(hub):
    """What the iterable raises comes after the results before it: their failures come first."""

    def items():
        yield 0
        yield 1
        raise KeyError("the end")

    with pytest.raises(KeyError, match="the end"):
        Pool(1).map(double, items())
    with pytest.raises(ZeroDivisionError):
        Pool(1).map(lambda number: 1 // number, items())
    with pytest.raises(TypeError, match="an iterable of arguments is needed"):
        Pool(1).map(double, 3)
    assert Pool(1).map(double, []) == []


@pytest.mark.parametrize("strike", [0, 1, 3])
def test_map_that_is_interrupted_spawns_no_more(hub, strike):
    """Who is killed in map() wants no more results: what runs goes on, and nothing new begins."""
    pool = Pool(2)
    begun, gate = [], hubbub.Event()

    def task(number):
        begun.append(number)
        gate.wait()

    caller = hubbub.spawn(pool.map, task, range(100))
    for _ in range(strike):
        hubbub.sleep(0)
    caller.kill()
    so_far = list(begun)
    gate.set()
    assert pool.join(5)
    assert begun == so_far
    assert pool.free_count() == 2


def test_map_is_made_of_the_imap_of_a_subclass(hub):
    """A subclass that has an imap of its own has that map, too."""

    class Reversed(Pool):
        def imap(self, *args, **kwargs):
            return reversed(list(super().imap(*args, **kwargs)))

    assert Reversed(2).map(double, range(3)) == [4, 2, 0]


def test_imap_unordered_yields_everything_once(hub):
    """imap_unordered yields every result exactly once, and of nothing nothing."""
    assert sorted(Pool(3).imap_unordered(double, range(10))) == [number * 2 for number in range(10)]
    assert list(Pool(3).imap_unordered(double, [])) == []


def test_imap_is_bounded_by_maxsize(hub):
    """With maxsize, tasks are not started while so many results are unread."""
    started = []
    results = Group().imap(started.append, range(10), maxsize=2)
    sleep(0.01)
    assert len(started) == 2
    assert len(list(results)) == 10


def test_a_failure_is_raised_in_its_place(hub):
    """A failing task raises where its result would stand, and the iteration can go on."""
    results = Pool(2).imap(lambda number: 10 // number, [5, 0, 2])
    assert next(results) == 2
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert next(results) == 5


def test_a_failing_iterable_ends_the_iteration(hub):
    """What the iterable raises is raised after the results before it."""

    def items():
        yield 1
        raise KeyError("items")

    results = Pool(2).imap(double, items())
    assert next(results) == 2
    with pytest.raises(KeyError):
        next(results)
    with pytest.raises(StopIteration):
        next(results)


@pytest.mark.parametrize("method", ["map", "imap", "imap_unordered"])
def test_a_task_that_cannot_be_started(hub, method):
    """What spawning raises ends the iteration, after the results of the tasks that were started."""
    with pytest.raises(TypeError, match="callable"):
        list(getattr(Pool(2), method)(5, [1, 2, 3]))


@pytest.mark.parametrize("method", ["imap", "imap_unordered"])
def test_a_killed_iterator(hub, method):
    """An iterator that is killed while it waits for a place gives the results of what was started, and then ends so."""
    pool = Pool(1)
    results = getattr(pool, method)(double, [1, 2, 3])
    sleep(0)
    results.kill()
    found = []
    while len(found) < 2:
        try:
            found.append(next(results))
        except GreenletExit:
            found.append(None)
    assert sorted(found, key=str) == [2, None]
    assert list(results) == []
    assert pool.free_count() == 1


def test_a_pool_is_never_larger_than_its_size(hub):
    """spawn waits for a place; the number of members never exceeds the size."""
    pool, most = Pool(3), []

    def task():
        most.append(len(pool))
        sleep(0)

    for _ in range(20):
        pool.spawn(task)
    assert pool.join(5)
    assert max(most) <= 3
    assert pool.free_count() == 3


def test_a_full_pool_refuses_without_waiting(hub):
    """add without blocking, or with a time-out, raises PoolFull and leaves the count right."""
    pool = Pool(1)
    member = pool.spawn(Event().wait)
    with pytest.raises(PoolFull):
        pool.start(hubbub.Greenlet(sleep), blocking=False)
    with pytest.raises(PoolFull):
        pool.start(hubbub.Greenlet(sleep), timeout=0.001)
    assert pool.full()
    assert pool.wait_available(timeout=0.001) == 0
    member.kill()
    assert pool.wait_available(timeout=5) == 1


def test_discard_twice_gives_one_place(hub):
    """Letting go of a member twice frees one place only."""
    pool = Pool(2)
    member = pool.spawn(Event().wait)
    pool.discard(member)
    pool.discard(member)
    assert pool.free_count() == 2
    member.kill()
    sleep(0)
    assert pool.free_count() == 2


def test_kill_ends_members_that_join_meanwhile(hub):
    """kill also ends what a dying member starts."""
    group = Group()

    def phoenix():
        try:
            Event().wait()
        finally:
            group.spawn(Event().wait)

    group.spawn(phoenix)
    sleep(0)
    group.kill(timeout=5)
    assert len(group) == 0


@pytest.mark.parametrize("kill", ["kill", "killone"])
def test_kill_just_after_the_end(hub, kill):
    """A member that has ended, and whose links have not been called yet, is let go of by kill, with its place."""
    pool = Pool(1)
    member = pool.spawn(int)
    found = []

    def killer():
        found.append(member.dead)
        pool.kill() if kill == "kill" else pool.killone(member)
        found.extend((len(pool), pool.free_count(), pool.join(0)))

    spawn(killer).join()
    assert found == [True, 0, 1, True]
    sleep(0)
    assert pool.free_count() == 1


def test_apply_inside_a_member_runs_inline(hub):
    """apply from a member of a full pool does not wait for itself."""
    pool = Pool(1)
    assert pool.apply(lambda: pool.apply(double, (4,))) == 8


def test_join_reports_errors_and_time_outs(hub):
    """join says whether the group is empty, and raises a member's failure if asked."""
    group = Group()
    member = group.spawn(Event().wait)
    assert not group.join(timeout=0.001)
    member.kill()
    assert group.join(timeout=5)
    hub.exception_stream = None
    group.spawn(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        group.join(raise_error=True)


def test_a_killed_spawner_loses_no_place(hub):
    """Killing a greenlet that waits for a place leaves the number of places right."""
    pool = Pool(1)
    member = pool.spawn(Event().wait)
    waiting = spawn(pool.spawn, sleep)
    sleep(0)
    waiting.kill()
    member.kill()
    sleep(0)
    assert pool.free_count() == 1


def test_negative_sizes_are_refused(hub):
    """A negative size is an error; zero means always full."""
    with pytest.raises(ValueError, match="negative"):
        Pool(-1)
    assert Pool(0).full()


def test_apply_async_calls_back(hub):
    """apply_async returns at once and calls back with the value."""
    called = hubbub.AsyncResult()
    task = Pool(2).apply_async(double, (3,), callback=called.set)
    assert task.get() == 6
    assert called.get(timeout=10) == 6
