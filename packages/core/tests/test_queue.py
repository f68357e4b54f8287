"""Queues."""

from __future__ import annotations

import queue as stdlib_queue
import threading
import time
import warnings

import pytest
from hubbub import Event, Timeout, joinall, sleep, spawn, spawn_later
from hubbub.queue import (
    Channel,
    Empty,
    Full,
    JoinableQueue,
    LifoQueue,
    PriorityQueue,
    Queue,
    ShutDown,
    SimpleQueue,
)

KINDS = [SimpleQueue, Queue, LifoQueue, PriorityQueue]


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__)
def kind(request):
    """Each class of queue."""
    return request.param


# Order and contents


def test_a_subclass_is_asked_for_items_without_waiting_too(hub):
    """put_nowait and get_nowait go by the put and get of a subclass, and tell them not to wait."""
    calls = []

    class Noting(Queue):
        def put(self, item, block=True, timeout=None):
            calls.append(("put", block))
            super().put(item, block, timeout)

        def get(self, block=True, timeout=None):
            calls.append(("get", block))
            return super().get(block, timeout)

    queue = Noting()
    queue.put_nowait(1)
    assert queue.get_nowait() == 1
    assert calls == [("put", False), ("get", False)]


def test_first_in_first_out(hub):
    """Queue and SimpleQueue give items in the order they were put."""
    for made in (Queue(), SimpleQueue(), Queue(5), SimpleQueue(5)):
        for number in range(5):
            made.put(number)
        assert [made.get() for _ in range(5)] == [0, 1, 2, 3, 4]


def test_lifo(hub):
    """LifoQueue gives the newest item first."""
    made = LifoQueue()
    for number in range(3):
        made.put(number)
    assert made.peek() == 2
    assert [made.get() for _ in range(3)] == [2, 1, 0]


def test_priority(hub):
    """PriorityQueue gives the smallest item first."""
    made = PriorityQueue()
    for number in (3, 1, 2):
        made.put(number)
    assert made.peek() == 1
    assert [made.get() for _ in range(3)] == [1, 2, 3]


def test_items_at_the_start(hub):
    """items fills the queue at the start; a PriorityQueue brings them in order."""
    assert [Queue(items=[3, 1]).get(), LifoQueue(items=[3, 1]).get(), PriorityQueue(items=[3, 1]).get()] == [3, 1, 1]
    assert Queue(items=range(4)).qsize() == 4


def test_sizes(hub, kind):
    """qsize, len, empty and full tell what is there; a queue is true, also when empty."""
    made = kind(2)
    assert (made.qsize(), len(made), made.empty(), made.full(), bool(made)) == (0, 0, True, False, True)
    made.put(1)
    assert (made.qsize(), made.empty(), made.full()) == (1, False, False)
    made.put(2)
    assert (len(made), made.full(), made.maxsize) == (2, True, 2)
    assert kind().maxsize is None
    assert not kind().full()


def test_maxsize(hub, kind):
    """maxsize None and 0 mean no limit; a negative one is a ValueError."""
    for unbounded in (kind(), kind(None), kind(0)):
        for number in range(100):
            unbounded.put_nowait(number)
    with pytest.raises(ValueError, match="maxsize"):
        kind(-1)


def test_classes_can_be_subscripted(hub, kind):
    """The classes take type arguments."""
    assert kind[int]
    assert JoinableQueue is Queue


def test_errors_are_those_of_the_standard_library(hub):
    """Empty and Full are the classes of the module queue."""
    assert Empty is stdlib_queue.Empty
    assert Full is stdlib_queue.Full


def test_queue_repr(hub, kind):
    """A queue shows its size, its limit and who waits."""
    made = kind(3)
    made.put(1)
    assert "items=1" in repr(made)
    assert "maxsize=3" in repr(made)


# Waiting


def test_get_waits_for_an_item(hub, kind):
    """get waits until somebody puts an item."""
    made = kind()
    spawn_later(0.001, made.put, 7)
    assert made.get() == 7


def test_put_waits_for_room(hub, kind):
    """put waits until there is room."""
    made = kind(1)
    made.put(1)
    putter = spawn(made.put, 2)
    sleep(0)
    assert not putter.ready()
    assert made.get() == 1
    putter.get(timeout=5)
    assert made.get() == 2


def test_without_waiting(hub, kind):
    """get_nowait and put_nowait raise Empty and Full instead of waiting, and so do block=False and timeout=0."""
    made = kind(1)
    for get in (made.get_nowait, lambda: made.get(block=False), lambda: made.get(timeout=0), made.peek_nowait):
        with pytest.raises(Empty):
            get()
    made.put(1)
    for put in (made.put_nowait, lambda item: made.put(item, block=False), lambda item: made.put(item, timeout=0)):
        with pytest.raises(Full):
            put(2)
    assert made.qsize() == 1


def test_until_time_is_up(hub, kind):
    """get and put with a limit raise Empty and Full when the time is up, and leave nobody waiting."""
    made = kind(1)
    with pytest.raises(Empty):
        made.get(timeout=0.001)
    made.put(1)
    with pytest.raises(Full):
        made.put(2, timeout=0.001)
    assert made.get() == 1
    assert made.empty()
    assert "getters=0 putters=0" in repr(made)


def test_negative_timeout(hub, kind):
    """A negative limit is a ValueError."""
    made = kind(1)
    with pytest.raises(ValueError, match="timeout"):
        made.get(timeout=-1)
    made.put(1)
    with pytest.raises(ValueError, match="timeout"):
        made.put(2, timeout=-1)


def test_getters_in_order(hub, kind):
    """Those who wait for items get them in the order they came."""
    made = kind()
    seen = []

    def getter(name):
        made.get()
        seen.append(name)

    greenlets = [spawn(getter, name) for name in range(5)]
    sleep(0)
    for number in range(5):
        made.put(number)
    joinall(greenlets)
    assert seen == [0, 1, 2, 3, 4]


def test_putters_in_order(hub):
    """Those who wait for room put in the order they came."""
    made = Queue(1)
    made.put("first")
    greenlets = [spawn(made.put, number) for number in range(5)]
    sleep(0)
    assert [made.get() for _ in range(6)] == ["first", 0, 1, 2, 3, 4]
    joinall(greenlets)


def test_a_late_getter_does_not_overtake(hub):
    """An item handed to somebody who waits is not taken by somebody who comes later."""
    made = Queue()
    waiter = spawn(made.get)
    sleep(0)
    made.put("his")
    with pytest.raises(Empty):
        made.get_nowait()
    assert waiter.get(timeout=5) == "his"


def test_peek(hub, kind):
    """peek returns the next item and leaves it there, waiting for one if need be."""
    made = kind()
    peeker = spawn(made.peek)
    sleep(0)
    made.put(5)
    assert peeker.get(timeout=5) == 5
    assert made.peek() == 5
    assert made.qsize() == 1
    with pytest.raises(Empty):
        kind().peek(timeout=0.001)


def test_iteration(hub, kind):
    """Iterating gets items until one is the class StopIteration."""
    made = SimpleQueue() if kind is PriorityQueue else kind(items=[])
    made.put(1)
    assert next(made) == 1
    spawn_later(0.001, made.put, StopIteration)
    assert list(made) == []


def test_maxsize_may_grow(hub, kind):
    """When maxsize is assigned, those who wait for room that there is now go on."""
    made = kind(1)
    made.put(1)
    putters = [spawn(made.put, 2), spawn(made.put, 3)]
    sleep(0)
    made.maxsize = 2
    sleep(0)
    assert [one.ready() for one in putters] == [True, False]
    made.maxsize = None
    joinall(putters, timeout=5)
    assert made.qsize() == 3


def test_killed_getter_loses_no_item(hub, kind):
    """An item handed to a getter that is killed in the same turn goes to the next one, or back in front."""
    made = kind()
    victim, other = spawn(made.get), spawn(made.get)
    sleep(0)
    victim.kill(block=False)
    made.put(1)
    made.put(2)
    got = {other.get(timeout=5)}
    victim.join()
    got.add(made.get(timeout=5) if not isinstance(victim.value, int) else victim.value)
    assert got == {1, 2}


def test_killed_getter_gives_back_in_front(hub):
    """An item given back comes before those that were put after it."""
    made = Queue()
    victim = spawn(made.get)
    sleep(0)
    victim.kill(block=False)
    made.put(1)
    made.put(2)
    made.put(3)
    victim.join()
    assert [made.get_nowait() for _ in range(made.qsize())] == [1, 2, 3]


def test_killed_putter_puts_nothing(hub):
    """A putter that is killed while it waits for room has put nothing."""
    made = Queue(1)
    made.put(1)
    victim = spawn(made.put, 2)
    sleep(0)
    victim.kill()
    assert made.get() == 1
    assert made.empty()


def test_timeout_around_get(hub):
    """A Timeout that fires inside get leaves no waiter that swallows the next item."""
    made = Queue()
    with pytest.raises(Timeout), Timeout(0.001):
        made.get()
    made.put(1)
    assert made.get_nowait() == 1


def test_time_up_in_the_same_instant(virtual_clock):
    """When the time is up in the very instant of the put, the item is got or stays, never lost, never doubled."""
    for _ in range(100):
        made = Queue()
        spawn_later(1, made.put, "item")
        try:
            got = [made.get(timeout=1)]
        except Empty:
            got = []
        sleep(1)
        assert len(got) + made.qsize() == 1


def test_from_a_callback(hub):
    """In a loop callback nothing waits: put and get raise rather than block, and hand over where they can."""
    made = Queue(1)
    results = []

    def callback():
        made.put_nowait(1)
        results.append(made.get_nowait())
        with pytest.raises(Empty):
            made.get_nowait()

    hub.loop.run_callback(callback)
    sleep(0.001)
    assert results == [1]
    getter = spawn(made.get)
    sleep(0)
    hub.loop.run_callback(made.put_nowait, 2)
    assert getter.get(timeout=5) == 2


# Tasks


def test_join(hub):
    """join waits until task_done was called for every item that was put."""
    made = Queue()
    for number in range(3):
        made.put(number)
    done = []

    def worker():
        for _ in range(3):
            made.get()
            sleep(0)
            done.append(1)
            made.task_done()

    spawn(worker)
    assert made.join() is True
    assert len(done) == 3
    assert made.join(timeout=1) is True


def test_join_until_time_is_up(hub):
    """join with a limit returns False when tasks are left."""
    made = Queue()
    made.put(1)
    assert made.join(timeout=0.001) is False
    assert made.unfinished_tasks == 1


def test_task_done_too_often(hub):
    """task_done called more often than put is a ValueError."""
    made = Queue()
    with pytest.raises(ValueError, match="task_done"):
        made.task_done()
    made.put(1)
    made.task_done()
    with pytest.raises(ValueError, match="task_done"):
        made.task_done()


def test_unfinished_tasks(hub):
    """Items at the start count as unfinished, unless another number is given."""
    assert Queue(items=[1, 2]).unfinished_tasks == 2
    assert Queue(items=[1, 2], unfinished_tasks=5).unfinished_tasks == 5
    assert Queue().join(timeout=0.001) is True


def test_items_given_back_are_no_new_tasks(hub):
    """An item that a killed getter gives back counts as one task."""
    made = Queue()
    victim = spawn(made.get)
    sleep(0)
    victim.kill(block=False)
    made.put(1)
    victim.join()
    assert made.unfinished_tasks == 1
    made.get_nowait()
    made.task_done()
    assert made.join(timeout=1)


# Shutting down


def test_shutdown(hub, kind):
    """After shutdown put raises ShutDown, and get does when the queue is empty; the rest can still be got."""
    made = kind()
    made.put(1)
    assert not made.is_shutdown
    made.shutdown()
    assert made.is_shutdown
    with pytest.raises(ShutDown):
        made.put(2)
    with pytest.raises(ShutDown):
        made.put_nowait(2)
    assert made.get() == 1
    for get in (made.get, made.get_nowait, made.peek):
        with pytest.raises(ShutDown):
            get()


def test_shutdown_wakes_those_who_wait(hub, kind):
    """Blocked getters and putters raise ShutDown."""
    empty, full = kind(), kind(1)
    full.put(1)

    def catch(call, *args):
        with pytest.raises(ShutDown):
            call(*args)
        return True

    waiting = [spawn(catch, empty.get), spawn(catch, empty.peek), spawn(catch, full.put, 2)]
    sleep(0)
    empty.shutdown()
    full.shutdown()
    assert [one.get(timeout=5) for one in waiting] == [True] * 3
    assert full.qsize() == 1


def test_shutdown_at_once(hub, kind):
    """shutdown(immediate=True) drops the items, and their tasks."""
    made = kind()
    made.put(1)
    made.put(2)
    made.shutdown(immediate=True)
    assert made.empty()
    with pytest.raises(ShutDown):
        made.get()
    if isinstance(made, Queue):
        assert made.join(timeout=1) is True


def test_shutdown_twice(hub, kind):
    """shutdown is idempotent."""
    made = kind()
    made.shutdown()
    made.shutdown(immediate=True)
    assert made.is_shutdown


# Subclasses


def test_subclass_hooks(hub):
    """A subclass may bring its own container through _init, _qsize, _put and _get."""

    class Unique(Queue):
        def _init(self, maxsize):
            self.stored = set()

        def _qsize(self):
            return len(self.stored)

        def _put(self, item):
            self.stored.add(item)

        def _get(self):
            return self.stored.pop()

    made = Unique(2)
    made.put(1)
    made.put(1)
    assert made.qsize() == 1
    made.put(2)
    assert made.full()
    with pytest.raises(Full):
        made.put_nowait(3)
    assert {made.get(), made.get()} == {1, 2}
    getter = spawn(made.get)
    sleep(0)
    made.put(5)
    assert getter.get(timeout=5) == 5


def test_subclass_of_a_full_simple_queue(hub):
    """put into a full queue of a subclass waits as in any other."""

    class Mine(SimpleQueue):
        def _init(self, maxsize):
            super()._init(maxsize)
            self.made = True

    made = Mine(1)
    made.put(1)
    with pytest.raises(Full):
        made.put(2, timeout=0.001)
    assert made.made


# Channels


def test_channel_is_a_meeting(hub):
    """put waits until somebody has got the item."""
    channel = Channel()
    putter = spawn(channel.put, 1)
    sleep(0)
    assert not putter.ready()
    assert channel.balance == 1
    assert channel.get() == 1
    putter.join(timeout=5)
    assert putter.ready()
    assert channel.balance == 0


def test_channel_without_waiting(hub):
    """Without a peer get_nowait raises Empty and put_nowait raises Full; with one they hand over."""
    channel = Channel()
    with pytest.raises(Empty):
        channel.get_nowait()
    with pytest.raises(Full):
        channel.put_nowait(1)
    with pytest.raises(Full):
        channel.put(1, timeout=0.001)
    with pytest.raises(Empty):
        channel.get(timeout=0.001)
    getter = spawn(channel.get)
    sleep(0)
    assert channel.balance == -1
    channel.put_nowait("item")
    assert getter.get(timeout=5) == "item"


def test_channel_in_order(hub):
    """Putters and getters meet in the order they came."""
    channel = Channel()
    putters = [spawn(channel.put, number) for number in range(4)]
    sleep(0)
    assert [channel.get() for _ in range(4)] == [0, 1, 2, 3]
    joinall(putters)


def test_channel_killed_putter(hub):
    """A putter that is killed while it waits has given nothing."""
    channel = Channel()
    victim = spawn(channel.put, 1)
    sleep(0)
    victim.kill()
    with pytest.raises(Empty):
        channel.get_nowait()


def test_channel_killed_getter(hub):
    """An item handed to a getter that is killed in the same turn goes to the next getter."""
    channel = Channel()
    victim, other = spawn(channel.get), spawn(channel.get)
    sleep(0)
    victim.kill(block=False)
    channel.put_nowait(1)
    assert other.get(timeout=5) == 1
    victim.join()


def test_channel_has_no_size(hub):
    """A channel holds no items: any maxsize but 1 is refused."""
    with warnings.catch_warnings(), pytest.raises(ValueError, match="maxsize"):
        Channel(2)


# Threads


def test_put_by_a_foreign_thread(hub, kind):
    """put from a thread without a hub wakes a getter, within 50 milliseconds unless the process stands still."""
    made = kind()
    delays = []

    def put():
        time.sleep(0.005)
        made.put(time.monotonic())

    for _ in range(10):
        thread = threading.Thread(target=put)
        thread.start()
        sent = made.get(timeout=5)
        delays.append(time.monotonic() - sent)
        thread.join()
    assert min(delays) < 0.05


@pytest.mark.parametrize("maxsize", [None, 1, 7])
def test_producers_and_consumers_in_threads(hub, kind, maxsize):
    """Between threads with and without hubs every item arrives exactly once."""
    made = kind(maxsize)
    got = []
    count = 200

    def produce(base):
        for number in range(count):
            made.put(base + number, timeout=20)

    def consume():
        while True:
            item = made.get(timeout=20)
            if item == 10**9:
                return
            got.append(item)

    producers = [threading.Thread(target=produce, args=(base * count,)) for base in range(2)]
    consumer = threading.Thread(target=consume)
    for thread in (*producers, consumer):
        thread.start()
    here = [spawn(produce, 2 * count), spawn(consume)]
    here[0].join(timeout=20)
    for thread in producers:
        while thread.is_alive():
            sleep(0.001)
        thread.join()
    while not made.empty():
        sleep(0.001)
    made.put(10**9)
    made.put(10**9)
    here[1].join(timeout=20)
    consumer.join()
    assert sorted(got) == list(range(3 * count))


def test_fifo_between_threads(hub):
    """Items of one thread arrive in the order it put them."""
    made = Queue(3)

    def produce():
        for number in range(500):
            made.put(number)

    thread = threading.Thread(target=produce)
    thread.start()
    assert [made.get(timeout=5) for _ in range(500)] == list(range(500))
    thread.join()


def test_queue_link(hub):
    """A link is called when there is something to get."""
    made = Queue()
    done = Event()
    made.rawlink(lambda source: done.set())
    sleep(0)
    assert not done.is_set()
    made.put(1)
    assert done.wait(timeout=5)


@pytest.mark.parametrize("kind", [SimpleQueue, Queue, LifoQueue, PriorityQueue])
def test_copy(hub, kind):
    """A copy has the same items and size, and goes its own way."""
    queue = kind(5, [3, 1, 2])
    copy = queue.copy()
    assert type(copy) is kind
    assert copy.maxsize == 5
    assert [copy.get_nowait() for _ in range(3)] == [queue.get_nowait() for _ in range(3)]
    copy.put(1)
    assert queue.empty()


def test_channel_item_of_a_killed_getter(hub):
    """An item whose getter is killed in the turn in which it was handed over goes to the next getter, once."""
    channel = Channel()
    getter = spawn(channel.get)
    sleep(0)
    getter.kill(block=False)
    channel.put("item")
    getter.join()
    assert channel.ready()
    assert not channel.empty()
    assert channel.get(timeout=5) == "item"
    assert channel.empty()
