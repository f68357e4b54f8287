"""Queue, Semaphore, Event and Pool against plain models: random histories, step by step."""

from __future__ import annotations

import os
from collections import deque

import hubbub
from hubbub import Event, Semaphore, sleep, spawn
from hubbub.lowlevel import get_hub_if_exists
from hubbub.pool import Pool, PoolFull
from hubbub.queue import Empty, Full, Queue, ShutDown
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

BOUNDED = settings(
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=int(os.environ.get("HUBBUB_STRESS_SEEDS", "200")) // 8,
    stateful_step_count=40,
    suppress_health_check=list(HealthCheck),
)


class Machine(RuleBasedStateMachine):
    """Greenlets that wait, in the order they came, and what each has got."""

    def __init__(self):
        super().__init__()
        drop_hub()
        hubbub.configure(loop="stdlib")
        self.made = []

    def begin(self, function, *args):
        """Start a greenlet that calls ``function`` and let it run until it waits or ends."""
        one = spawn(catch, function, *args)
        self.made.append(one)
        settle()
        return one

    def teardown(self):
        hubbub.killall(self.made)
        drop_hub()
        hubbub.configure(loop=None)


def catch(function, *args):
    try:
        return "returned", function(*args)
    except (Empty, Full, ShutDown) as error:
        return "raised", type(error)


def settle():
    for _ in range(4):
        sleep(0)


def drop_hub():
    hub = get_hub_if_exists()
    if hub is not None:
        hub.destroy()


class QueueMachine(Machine):
    """A queue: items in order, waiting getters or waiting putters in order, never both with something to do."""

    @initialize(maxsize=st.sampled_from([None, 1, 2, 3]))
    def create(self, maxsize):
        self.queue = Queue(maxsize)
        self.maxsize = maxsize
        self.items = deque()
        self.getters = deque()
        self.putters = deque()
        self.next = 0
        self.shut = False
        self.expected = {}

    def room(self):
        return self.maxsize is None or len(self.items) < self.maxsize

    def match(self):
        """The model's hand-over."""
        while self.getters and self.items:
            self.expected[self.getters.popleft()] = ("returned", self.items.popleft())
            self.refill()
        self.refill()

    def refill(self):
        while self.putters and self.room():
            one, item = self.putters.popleft()
            self.items.append(item)
            self.expected[one] = ("returned", None)

    @rule()
    def put(self):
        item, self.next = self.next, self.next + 1
        one = self.begin(self.queue.put, item)
        if self.shut:
            self.expected[one] = ("raised", ShutDown)
        elif self.getters:
            self.items.append(item)
            self.expected[one] = ("returned", None)
            self.match()
        elif self.room():
            self.items.append(item)
            self.expected[one] = ("returned", None)
        else:
            self.putters.append((one, item))

    @rule()
    def put_nowait(self):
        item, self.next = self.next, self.next + 1
        result = catch(self.queue.put_nowait, item)
        settle()
        if self.shut:
            assert result == ("raised", ShutDown)
        elif self.getters or self.room():
            assert result == ("returned", None)
            self.items.append(item)
            self.match()
        else:
            assert result == ("raised", Full)

    @rule()
    def get(self):
        one = self.begin(self.queue.get)
        if self.items:
            self.expected[one] = ("returned", self.items.popleft())
            self.refill()
        elif self.shut:
            self.expected[one] = ("raised", ShutDown)
        else:
            self.getters.append(one)

    @rule()
    def get_nowait(self):
        result = catch(self.queue.get_nowait)
        settle()
        if self.items:
            assert result == ("returned", self.items.popleft())
            self.refill()
        else:
            assert result == ("raised", ShutDown if self.shut else Empty)

    @rule()
    def get_until_time_is_up(self):
        result = catch(self.queue.get, True, 0.0)
        settle()
        if self.items:
            assert result == ("returned", self.items.popleft())
            self.refill()
        else:
            assert result == ("raised", ShutDown if self.shut else Empty)

    @precondition(lambda self: self.getters)
    @rule(data=st.data())
    def kill_a_getter(self, data):
        one = data.draw(st.sampled_from(list(self.getters)))
        self.getters.remove(one)
        one.kill()
        settle()

    @precondition(lambda self: self.getters)
    @rule(data=st.data())
    def kill_a_getter_as_an_item_comes(self, data):
        one = data.draw(st.sampled_from(list(self.getters)))
        if self.shut:
            return
        item, self.next = self.next, self.next + 1
        one.kill(block=False)
        self.queue.put_nowait(item)
        settle()
        self.getters.remove(one)
        self.items.append(item)
        self.match()

    @precondition(lambda self: self.putters)
    @rule(data=st.data())
    def kill_a_putter(self, data):
        one, item = data.draw(st.sampled_from(list(self.putters)))
        self.putters.remove((one, item))
        one.kill()
        settle()

    @precondition(lambda self: not self.shut)
    @rule(maxsize=st.sampled_from([None, 1, 2, 5]))
    def change_maxsize(self, maxsize):
        self.maxsize = self.queue.maxsize = maxsize
        settle()
        self.match()

    @precondition(lambda self: self.next > 15)
    @rule(immediate=st.booleans())
    def shutdown(self, immediate):
        self.queue.shutdown(immediate)
        settle()
        self.shut = True
        if immediate:
            self.items.clear()
        for one in [*self.getters, *(one for one, _ in self.putters)]:
            self.expected[one] = ("raised", ShutDown)
        self.getters.clear()
        self.putters.clear()

    @invariant()
    def agrees(self):
        assert self.queue.qsize() == len(self.items)
        assert self.queue.empty() == (not self.items)
        if not self.shut:
            assert self.queue.full() == (not self.room())
        for one, result in self.expected.items():
            assert one.ready()
            assert one.value == result
        assert not any(one.ready() for one in self.getters)
        assert not any(one.ready() for one, _ in self.putters)
        if self.items:
            assert self.queue.peek_nowait() == self.items[0]


class SemaphoreMachine(Machine):
    """A semaphore: a number of permits, and those who wait in order."""

    @initialize(value=st.integers(0, 3))
    def create(self, value):
        self.semaphore = Semaphore(value)
        self.permits = value
        self.waiting = deque()
        self.holders = set()

    @rule()
    def acquire(self):
        one = self.begin(self.semaphore.acquire)
        if self.permits and not self.waiting:
            self.permits -= 1
            self.holders.add(one)
        else:
            self.waiting.append(one)

    @rule()
    def acquire_at_once(self):
        taken = self.semaphore.acquire(blocking=False)
        assert taken == bool(self.permits and not self.waiting)
        self.permits -= taken

    @rule()
    def release(self):
        self.semaphore.release()
        settle()
        self.hand_over(1)

    @rule()
    def release_and_acquire_at_once(self):
        """The one who releases does not overtake those who wait."""
        self.semaphore.release()
        taken = self.semaphore.acquire(blocking=False)
        settle()
        assert taken == (not self.waiting)
        if not taken:
            self.hand_over(1)

    def hand_over(self, permits):
        self.permits += permits
        while self.permits and self.waiting:
            self.permits -= 1
            self.holders.add(self.waiting.popleft())

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def kill_a_waiter(self, data):
        one = data.draw(st.sampled_from(list(self.waiting)))
        self.waiting.remove(one)
        one.kill()
        settle()

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def kill_a_waiter_as_a_permit_comes(self, data):
        one = data.draw(st.sampled_from(list(self.waiting)))
        one.kill(block=False)
        self.semaphore.release()
        settle()
        self.waiting.remove(one)
        self.hand_over(1)

    @rule(value=st.integers(0, 4))
    def assign_counter(self, value):
        self.semaphore.counter = value
        settle()
        self.permits = 0
        self.hand_over(value)

    @invariant()
    def agrees(self):
        assert self.semaphore.counter == self.permits
        assert self.semaphore.locked() == (not self.permits)
        assert all(one.ready() and one.value == ("returned", True) for one in self.holders)
        assert not any(one.ready() for one in self.waiting)


class EventMachine(Machine):
    """An event: a flag, and those who wait."""

    @initialize()
    def create(self):
        self.event = Event()
        self.flag = False
        self.waiting = []
        self.woken = []

    @rule()
    def wait(self):
        one = self.begin(self.event.wait)
        (self.woken if self.flag else self.waiting).append(one)

    @rule()
    def wait_no_time(self):
        assert self.event.wait(timeout=0.0) is self.flag

    @rule()
    def set(self):
        self.event.set()
        settle()
        self.flag = True
        self.wake()

    @rule()
    def clear(self):
        self.event.clear()
        self.flag = False

    @rule()
    def set_and_clear(self):
        self.event.set()
        self.event.clear()
        settle()
        self.flag = False
        self.wake()

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def kill_a_waiter(self, data):
        one = data.draw(st.sampled_from(self.waiting))
        self.waiting.remove(one)
        one.kill()

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def kill_a_waiter_as_the_flag_comes(self, data):
        one = data.draw(st.sampled_from(self.waiting))
        one.kill(block=False)
        self.event.set()
        settle()
        self.waiting.remove(one)
        self.flag = True
        self.wake()

    def wake(self):
        self.woken += self.waiting
        self.waiting = []

    @invariant()
    def agrees(self):
        assert self.event.is_set() is self.flag
        assert all(one.ready() and one.value == ("returned", True) for one in self.woken)
        assert not any(one.ready() for one in self.waiting)


class PoolMachine(Machine):
    """A pool: so many places, tasks that run in them, and those who wait for a place in order."""

    @initialize(size=st.integers(1, 3))
    def create(self, size):
        self.pool = Pool(size)
        self.size = size
        self.gates = {}
        self.members = []
        self.outside = []
        self.waiting = deque()

    def room(self):
        return len(self.members) < self.size

    def fill(self):
        """The model's hand-over: whoever waits longest has the place."""
        while self.waiting and self.room():
            starter, gate = self.waiting.popleft()
            self.admit(starter, gate)

    def admit(self, starter, gate):
        assert starter.ready()
        task = starter.value[1]
        self.gates[task] = gate
        self.members.append(task)
        self.made.append(task)

    @rule()
    def start(self):
        gate = Event()
        starter = self.begin(self.pool.spawn, gate.wait)
        if self.room() and not self.waiting:
            self.admit(starter, gate)
        else:
            self.waiting.append((starter, gate))

    @rule()
    def add_at_once(self):
        gate = Event()
        task = hubbub.Greenlet(gate.wait)
        result = catch(self.pool.start, task, False)
        settle()
        if self.room() and not self.waiting:
            assert result == ("returned", None)
            self.gates[task] = gate
            self.members.append(task)
            self.made.append(task)
        else:
            assert result == ("raised", PoolFull)

    @precondition(lambda self: self.members)
    @rule(data=st.data())
    def add_again(self, data):
        self.pool.add(data.draw(st.sampled_from(self.members)))

    @precondition(lambda self: self.members)
    @rule(data=st.data())
    def finish(self, data):
        task = data.draw(st.sampled_from(self.members))
        self.gates[task].set()
        settle()
        self.members.remove(task)
        self.fill()

    @precondition(lambda self: self.members)
    @rule(data=st.data())
    def kill_a_member(self, data):
        task = data.draw(st.sampled_from(self.members))
        self.pool.killone(task)
        settle()
        self.members.remove(task)
        self.fill()

    @precondition(lambda self: self.members)
    @rule(data=st.data(), times=st.integers(1, 2))
    def discard(self, data, times):
        """A discarded member goes on outside; discarding it again frees no second place."""
        task = data.draw(st.sampled_from(self.members))
        for _ in range(times):
            self.pool.discard(task)
        settle()
        self.members.remove(task)
        self.outside.append(task)
        self.fill()

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def kill_one_who_waits(self, data):
        entry = data.draw(st.sampled_from(list(self.waiting)))
        self.waiting.remove(entry)
        entry[0].kill()
        settle()

    @precondition(lambda self: self.waiting and self.members)
    @rule(data=st.data())
    def kill_one_who_waits_as_a_place_comes(self, data):
        entry = data.draw(st.sampled_from(list(self.waiting)))
        task = data.draw(st.sampled_from(self.members))
        entry[0].kill(block=False)
        self.gates[task].set()
        settle()
        self.waiting.remove(entry)
        self.members.remove(task)
        self.fill()

    @rule()
    def kill_all(self):
        waiting = len(self.waiting)
        if not waiting:
            self.pool.kill()
            self.members.clear()

    @invariant()
    def agrees(self):
        assert len(self.pool) == len(self.members)
        assert set(self.pool) == set(self.members)
        assert self.pool.free_count() == self.size - len(self.members)
        assert self.pool.full() == (not self.room())
        assert not any(task.ready() for task in [*self.members, *self.outside])
        assert not any(starter.ready() for starter, _ in self.waiting)
        assert self.pool.join(timeout=0) is (not self.members)


def test_queue_follows_its_model():
    """Whatever is done to a queue, in whatever order, it does what a list with waiting lines would do."""
    run_state_machine_as_test(QueueMachine, settings=BOUNDED)


def test_semaphore_follows_its_model():
    """Whatever is done to a semaphore, it does what a number with a waiting line would do."""
    run_state_machine_as_test(SemaphoreMachine, settings=BOUNDED)


def test_pool_follows_its_model():
    """Whatever is done to a pool, it does what a row of places with a waiting line would do."""
    run_state_machine_as_test(PoolMachine, settings=BOUNDED)


def test_event_follows_its_model():
    """Whatever is done to an event, it does what a flag with a list of waiters would do."""
    run_state_machine_as_test(EventMachine, settings=BOUNDED)
