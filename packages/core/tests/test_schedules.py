"""Promises that must hold in whatever order greenlets run: each scenario under many seeded orders, with random kills
and time-outs. ``HUBBUB_STRESS_SEEDS`` says how many (``./do stress``: 1,000)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from random import Random

import hubbub
import pytest
from hubbub import AsyncResult, Condition, Event, GreenletExit, RLock, Semaphore, TaskGroup, Timeout, sleep, spawn
from hubbub.lowlevel import get_hub_if_exists
from hubbub.pool import Pool
from hubbub.queue import Channel, Empty, Full, LifoQueue, PriorityQueue, Queue, SimpleQueue

SEEDS = int(os.environ.get("HUBBUB_STRESS_SEEDS", "200"))


def under_all_seeds(monkeypatch: pytest.MonkeyPatch, scenario: Callable[[Random], None]) -> None:
    for seed in range(1, SEEDS + 1):
        monkeypatch.setenv("HUBBUB_SCHEDULE_SEED", str(seed))
        drop_hub()
        hubbub.configure(loop="stdlib")
        try:
            with Timeout(20):
                scenario(Random(seed))
        except BaseException as error:
            error.add_note(f"HUBBUB_SCHEDULE_SEED={seed}")
            raise
        finally:
            drop_hub()
            hubbub.configure(loop=None)


def drop_hub() -> None:
    hub = get_hub_if_exists()
    if hub is not None:
        hub.destroy()


def nap(random: Random) -> None:
    """Let others run, for a random number of turns."""
    for _ in range(random.randrange(3)):
        sleep(0)


def disturb(random: Random, victims: list[hubbub.Greenlet], share: float = 0.3) -> Iterator[hubbub.Greenlet]:
    """Kill some of the victims at random moments; yields those that are left alone."""
    for victim in victims:
        if random.random() < share:
            nap(random)
            victim.kill(block=False)
        else:
            yield victim


def test_semaphore_permits_are_conserved(monkeypatch):
    """Never more holders than permits, and all permits are back when killed and timed-out waiters are gone."""

    def scenario(random):
        lock, inside, most = Semaphore(2), [], []

        def work():
            for _ in range(4):
                if not lock.acquire(timeout=random.choice([None, None, 0, 0.0001])):
                    continue
                try:
                    inside.append(True)
                    most.append(len(inside))
                    nap(random)
                finally:
                    inside.pop()
                    lock.release()

        workers = [spawn(work) for _ in range(8)]
        hubbub.joinall(list(disturb(random, workers)))
        hubbub.killall(workers)
        assert max(most, default=0) <= 2
        assert lock.counter == 2

    under_all_seeds(monkeypatch, scenario)


@pytest.mark.parametrize("kind", [Queue, SimpleQueue, LifoQueue, PriorityQueue])
def test_queue_items_are_neither_lost_nor_doubled(monkeypatch, kind):
    """Every item whose put returned is got exactly once, whatever happens to getters and putters."""

    def scenario(random):
        queue = kind(random.choice([None, 1, 2]))
        put, got = [], []

        def produce(base):
            for number in range(5):
                try:
                    queue.put(base + number, timeout=random.choice([None, None, 0.0001]))
                except Full:
                    continue
                put.append(base + number)
                nap(random)

        def consume():
            while True:
                try:
                    item = queue.get(timeout=random.choice([None, 0.0001]))
                except Empty:
                    continue
                got.append(item)
                nap(random)

        consumers = [spawn(consume) for _ in range(4)]
        producers = [spawn(produce, base) for base in (0, 10, 20)]
        list(disturb(random, consumers[1:], 0.5))
        hubbub.joinall(producers)
        hubbub.killall(consumers)
        while not queue.empty():
            got.append(queue.get_nowait())
        assert sorted(got) == sorted(put)

    under_all_seeds(monkeypatch, scenario)


def test_channel_hands_over_exactly_once(monkeypatch):
    """An item whose put returned was got by exactly one getter that was not killed, or waits in front."""

    def scenario(random):
        channel, put, got = Channel(), [], []

        def produce(base):
            for number in range(4):
                channel.put(base + number)
                put.append(base + number)

        def consume():
            while True:
                got.append(channel.get())
                nap(random)

        consumers = [spawn(consume) for _ in range(3)]
        producers = [spawn(produce, base) for base in (0, 10)]
        list(disturb(random, consumers[1:], 0.5))
        hubbub.joinall(producers)
        hubbub.killall(consumers)
        got.extend(channel.queue)
        assert sorted(got) == sorted(put)

    under_all_seeds(monkeypatch, scenario)


def test_an_event_wakes_all_that_waited(monkeypatch):
    """Everybody who waited when the event was set returns True, also if it is cleared at once."""

    def scenario(random):
        event, results = Event(), []

        def wait():
            results.append(event.wait())

        waiters = [spawn(wait) for _ in range(6)]
        while event.ready() or len(event._waiters or ()) < 6:
            sleep(0)
        left = list(disturb(random, waiters))
        event.set()
        event.clear()
        hubbub.joinall(left)
        assert results.count(True) >= len(left)

    under_all_seeds(monkeypatch, scenario)


def test_notifications_reach_somebody(monkeypatch):
    """n notifications wake n waiters that are not killed, as long as there are that many."""

    def scenario(random):
        condition, woken = Condition(), []

        def wait(name):
            with condition:
                condition.wait()
                woken.append(name)

        waiters = [spawn(wait, number) for number in range(6)]
        while len(condition._waiters) < 6:
            sleep(0)
        for victim in random.sample(waiters, 2):
            victim.kill(block=False)
        with condition:
            condition.notify(3)
        for _ in range(40):
            sleep(0)
        assert len(woken) >= 3
        hubbub.killall(waiters)
        assert not condition._lock.locked()

    under_all_seeds(monkeypatch, scenario)


def test_an_rlock_is_free_in_the_end(monkeypatch):
    """Kills and time-outs never leave a re-entrant lock owned by the dead."""

    def scenario(random):
        lock = RLock()

        def work():
            for _ in range(3):
                with lock, lock:
                    nap(random)

        workers = [spawn(work) for _ in range(6)]
        hubbub.joinall(list(disturb(random, workers)))
        hubbub.killall(workers)
        assert not lock.locked()
        assert lock.acquire(blocking=False)

    under_all_seeds(monkeypatch, scenario)


def test_pool_places_are_conserved(monkeypatch):
    """All places of a pool are free when its members, and those who waited for a place, are gone."""

    def scenario(random):
        pool = Pool(2)
        spawners = [spawn(pool.spawn, nap, random) for _ in range(6)]
        list(disturb(random, spawners))
        for member in pool:
            if random.random() < 0.3:
                member.kill(block=False)
        hubbub.joinall(spawners)
        assert pool.join(5)
        assert pool.free_count() == 2
        assert sorted(pool.map(abs, range(5))) == list(range(5))

    under_all_seeds(monkeypatch, scenario)


def test_no_task_outlives_its_group(monkeypatch):
    """Whatever fails or is killed, the members are dead and the failures raised when the block ends."""

    def scenario(random):
        members = []

        def work():
            nap(random)
            if random.random() < 0.2:
                raise ValueError("failed")
            nap(random)

        def owner():
            with TaskGroup() as group:
                members.extend(group.spawn(work) for _ in range(5))

        get_hub_if_exists()
        running = spawn(owner)
        hubbub.get_hub().exception_stream = None
        if random.random() < 0.3:
            nap(random)
            running.kill(block=False)
        running.join()
        assert all(member.dead for member in members)
        failed = any(isinstance(member.exception, ValueError) for member in members)
        assert failed == isinstance(running.exception, BaseExceptionGroup)

    under_all_seeds(monkeypatch, scenario)


def test_a_result_reaches_every_waiter(monkeypatch):
    """Every waiter that is not killed gets the value, those that come late too."""

    def scenario(random):
        result, got = AsyncResult(), []

        def wait():
            nap(random)
            got.append(result.get())

        waiters = [spawn(wait) for _ in range(6)]
        left = list(disturb(random, waiters))
        nap(random)
        result.set("value")
        hubbub.joinall(left)
        assert got.count("value") >= len(left)

    under_all_seeds(monkeypatch, scenario)


def test_kill_is_never_swallowed(monkeypatch):
    """A killed greenlet ends, at whatever wait it is hit, also in the turn in which it is woken."""

    def scenario(random):
        queue, event, lock = Queue(), Event(), Semaphore(0)

        def work():
            while True:
                random.choice([queue.get, event.wait, lock.acquire, lambda: sleep(0)])()

        workers = [spawn(work) for _ in range(5)]
        nap(random)
        for worker in workers:
            random.choice([lambda: queue.put(1), event.set, lock.release])()
            event.clear()
            worker.kill(GreenletExit, block=False)
        hubbub.joinall(workers)
        assert all(worker.successful() for worker in workers)

    under_all_seeds(monkeypatch, scenario)
