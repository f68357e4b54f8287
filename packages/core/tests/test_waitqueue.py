"""The wait queue, under everything that waits: a model with items that are handed over, step by step, and its edges."""

from __future__ import annotations

import copy
import os
import socket
import threading
from collections import deque

import hubbub
import pytest
from hubbub import Timeout, sleep, spawn
from hubbub.io import Socket
from hubbub.lowlevel import Waiter, WaitQueue, get_hub_if_exists, run_callback
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


class Failure(Exception):
    """Raised by what a queue calls here."""


class Shop:
    """What a third party might build: goods, and customers that wait for them. Only the public methods are used."""

    def __init__(self):
        self.goods = deque()
        self.customers = WaitQueue()
        self.waiters = {}

    def buy(self, name, timeout=None):
        self.waiters[name] = waiter = Waiter()
        return waiter.value if self.customers.wait(waiter, timeout, self._enter, self.deliver) else None

    def _enter(self, waiter):
        if self.goods and not self.customers:
            waiter.value, waiter.done = self.goods.popleft(), True
        else:
            self.customers.join(waiter)

    def deliver(self, item):
        if not self.customers.wake_one(item):
            self.goods.append(item)

    def serve(self):
        """Bring goods and customers together, by offers."""
        while self.goods and self.customers.offer(self._give):
            pass

    def _give(self, waiter):
        if not self.goods:
            return False
        if waiter.wake(self.goods[0]):
            self.goods.popleft()
        return True


class ShopMachine(RuleBasedStateMachine):
    """Customers are served in the order in which they came; nothing is lost or sold twice, whoever leaves when."""

    def __init__(self):
        super().__init__()
        drop_hub()
        hubbub.configure(loop="stdlib")

    @initialize()
    def open(self):
        self.shop = Shop()
        self.number = 0
        self.delivered = 0
        self.waiting = {}
        self.left = []
        self.stock = deque()
        self.sold = {}

    def teardown(self):
        hubbub.killall(list(self.waiting.values()))
        drop_hub()
        hubbub.configure(loop=None)

    def sell(self):
        """The model's hand-over."""
        while self.stock and self.waiting:
            name = next(iter(self.waiting))
            self.sold[name] = self.waiting.pop(name), self.stock.popleft()

    def next_item(self):
        self.delivered += 1
        return self.delivered

    @rule()
    def come(self):
        name = self.number = self.number + 1
        one = spawn(self.shop.buy, name)
        settle()
        self.waiting[name] = one
        self.sell()

    @rule()
    def deliver(self):
        item = self.next_item()
        self.shop.deliver(item)
        settle()
        self.stock.append(item)
        self.sell()

    @rule()
    def stock_and_offer(self):
        """Goods are put down first, and offered then."""
        item = self.next_item()
        self.shop.goods.append(item)
        self.shop.serve()
        settle()
        self.stock.append(item)
        self.sell()

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def leave(self, data):
        name = data.draw(st.sampled_from(list(self.waiting)))
        self.waiting.pop(name).kill()
        settle()

    @precondition(lambda self: self.waiting)
    @rule(data=st.data(), kill_first=st.booleans())
    def leave_as_goods_come(self, data, kill_first):
        """Killed in the turn of the hand-over, before it or after it: the next one gets the item."""
        name = next(iter(self.waiting)) if not kill_first else data.draw(st.sampled_from(list(self.waiting)))
        one = self.waiting.pop(name)
        item = self.next_item()
        if kill_first:
            one.kill(block=False)
            self.shop.deliver(item)
        else:
            self.shop.deliver(item)
            one.kill(block=False)
        settle()
        if kill_first or one.value.__class__ is hubbub.GreenletExit:
            self.stock.append(item)
        else:
            self.sold[name] = one, item
        self.sell()

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def withdraw_late_or_early(self, data):
        """One that still stands in the queue can withdraw, once or more often; its greenlet goes on by a kill."""
        name = data.draw(st.sampled_from(list(self.waiting)))
        waiter = self.shop.waiters[name]
        assert self.shop.customers.withdraw(waiter)
        assert self.shop.customers.withdraw(waiter)
        self.waiting.pop(name).kill()
        settle()

    @rule()
    def close_for_the_day(self):
        """All that wait are told, and get nothing."""
        self.shop.customers.wake_all("closed")
        settle()
        self.left += [(one, "closed") for one in self.waiting.values()]
        self.waiting = {}

    @precondition(lambda self: not self.stock)
    @rule()
    def come_without_time(self):
        assert self.shop.buy("hurried", timeout=0.0) is None

    @invariant()
    def agrees(self):
        assert len(self.shop.customers) == len(self.waiting)
        assert list(self.shop.goods) == list(self.stock)
        assert not any(one.ready() for one in self.waiting.values())
        assert all(one.value == item for one, item in [*self.sold.values(), *self.left])


def settle():
    for _ in range(4):
        sleep(0)


def drop_hub():
    hub = get_hub_if_exists()
    if hub is not None:
        hub.destroy()


def test_shop():
    """Whatever comes and goes in whatever order, each item goes to exactly one customer, the one whose turn it is."""
    run_state_machine_as_test(
        ShopMachine,
        settings=settings(
            derandomize=True,
            database=None,
            deadline=None,
            max_examples=int(os.environ.get("HUBBUB_STRESS_SEEDS", "200")) // 4,
            stateful_step_count=40,
            suppress_health_check=list(HealthCheck),
        ),
    )


def park(queue, *args, **kwargs):
    return queue.wait(Waiter(), *args, **kwargs)


def test_woken_and_timed_out(hub):
    """wait tells whether it was woken or the time ran out; who timed out has left."""
    queue = WaitQueue()
    assert not park(queue, 0.001)
    assert not queue
    one = spawn(park, queue, 5)
    sleep(0)
    assert queue.wake_one()
    assert one.get(timeout=5)


def test_nobody_waits(hub):
    """Waking when nobody waits does nothing, and says so."""
    queue = WaitQueue()
    assert not queue.wake_one()
    assert not queue.offer(lambda waiter: True)
    queue.wake_all()
    assert repr(queue) == "<WaitQueue waiters=0>"


def test_done_on_entering(hub):
    """What is there when the waiter enters is not waited for."""
    queue = WaitQueue()
    waiter = Waiter()
    assert queue.wait(waiter, 5, lambda waiter: setattr(waiter, "done", True))
    assert not queue


@pytest.mark.parametrize("joined", [False, True])
def test_enter_raises(hub, joined):
    """If entering fails the waiter is not in the queue, whether it had joined or not, and nothing is passed on."""
    queue, passed = WaitQueue(), []

    def enter(waiter):
        if joined:
            queue.join(waiter)
        raise Failure

    with pytest.raises(Failure):
        park(queue, enter=enter, pass_on=passed.append)
    assert not queue
    assert passed == []


def kill(one, scope):
    one.kill(block=False)


def cancel(one, scope):
    scope.cancel()


def expire(one, scope):
    run_callback(one.throw, Timeout(1))


@pytest.mark.parametrize("interrupt", [kill, cancel, expire])
@pytest.mark.parametrize("handed", [True, False])
def test_handed_over_and_interrupted(hub, interrupt, handed):
    """A wait that is interrupted in the turn in which it was handed something passes that on, and nothing otherwise."""
    queue, passed, scope = WaitQueue(), [], hubbub.CancelScope()

    def work():
        with scope:
            try:
                park(queue, pass_on=passed.append)
            except Timeout:
                pass

    one = spawn(work)
    sleep(0)
    interrupt(one, scope)
    if handed:
        assert queue.wake_one("item")
    one.get(timeout=5)
    assert passed == ["item"] * handed
    assert not queue


def test_who_joins_meanwhile_waits_on(hub):
    """wake_all wakes those that wait when it is called; who comes back in the same turn waits for the next."""
    queue, rounds = WaitQueue(), []

    def work():
        for _ in range(2):
            park(queue)
            rounds.append(1)

    ones = [spawn(work) for _ in range(3)]
    sleep(0)
    queue.wake_all()
    settle()
    assert len(rounds) == len(queue) == 3
    queue.wake_all()
    hubbub.joinall(ones, timeout=5)
    assert len(rounds) == 6


def test_offer_puts_back(hub):
    """A waiter for which there was nothing is the first again."""
    queue, given = WaitQueue(), []
    ones = [spawn(park, queue) for _ in range(2)]
    sleep(0)
    first = queue[0]
    assert not queue.offer(lambda waiter: False)
    assert queue[0] is first
    assert queue.offer(lambda waiter: given.append(waiter) or waiter.wake())
    assert given == [first]
    assert queue.wake_one()
    hubbub.joinall(ones, timeout=5)


def test_offer_fails(hub):
    """If giving raises, the waiter has its place again, unless it was woken."""
    queue = WaitQueue()
    one = spawn(park, queue)
    sleep(0)

    def fail(waiter):
        raise Failure

    with pytest.raises(Failure):
        queue.offer(fail)
    assert len(queue) == 1
    calls = []

    def fail_once(waiter):
        calls.append(waiter)
        if len(calls) == 1:
            raise Failure
        return waiter.wake()

    with pytest.raises(Failure):
        queue.offer(fail_once)
    assert one.get(timeout=5)
    assert not queue


def test_from_another_thread(hub):
    """A native thread may wake those that wait in this one."""
    queue = WaitQueue()
    one = spawn(park, queue, 10)
    sleep(0)
    thread = threading.Thread(target=queue.wake_one)
    thread.start()
    thread.join()
    assert one.get(timeout=5)


def test_mutex_is_held_while_it_withdraws(hub):
    """A waker that holds the mutex from taking a waiter out until it has woken it never meets one that withdraws."""
    held = []

    class Mutex:
        def __enter__(self):
            held.append(len(queue))

        def __exit__(self, *_):
            held.append(len(queue))

    queue = WaitQueue()
    assert not park(queue, 0.001, mutex=Mutex())
    assert held == [1, 0]


def test_cannot_be_copied(hub):
    """A copy would have the same waiters."""
    for make in (copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="WaitQueue"):
            make(WaitQueue())


def test_limits_that_pass_together_cost_no_search(hub, monkeypatch):
    """Limits that pass in one turn are not searched for in the run queue, which would be quadratic."""
    searched = []
    find = type(hub.loop).unschedule
    monkeypatch.setattr(type(hub.loop), "unschedule", lambda loop, callback: (searched.append(1), find(loop, callback)))
    ours, theirs = (Socket(fileno=end.detach()) for end in socket.socketpair())
    event, queue = hubbub.Event(), WaitQueue()
    waits = [lambda: event.wait(0.001), lambda: park(queue, 0.001), lambda: sleep(0.001), lambda: reads(ours, 0.001)]
    hubbub.joinall([spawn(wait) for wait in waits for _ in range(10)], raise_error=True)
    assert not searched
    ours.close()
    theirs.close()


def reads(sock, limit):
    with pytest.raises(TimeoutError):
        sock.wait_readable(limit)
