"""Overridden methods and comparisons of queues that raise, and destructors that use the queue.

Whose error it is gets it, nobody else's operation fails, nothing is lost, nobody waits for good.
"""

from __future__ import annotations

import functools
from typing import Any

import hubbub
import pytest
from hubbub.queue import Channel, Full, LifoQueue, PriorityQueue, Queue, ShutDown, SimpleQueue


class Bad(Exception):
    """What the methods raise."""


class Picky(Queue[Any]):
    """Refuses some items, and fails to give others."""

    def _put(self, item: Any) -> None:
        if item == "bad":
            raise Bad("put")
        super()._put(item)

    def _get(self) -> Any:
        if self.queue and self.queue[0] == "stuck":
            self.queue.popleft()
            raise Bad("get")
        return super()._get()


@functools.total_ordering
class Rebel:
    """Cannot be compared."""

    def __lt__(self, other: object) -> bool:
        raise Bad("compared")


def test_a_blocked_put_gets_the_error_of_put(hub):
    """A put that waits for room, and whose _put raises then, gets the error; the one that made room does not."""
    made = Picky(1)
    made.put(1)
    putter = hubbub.spawn(made.put, "bad")
    hubbub.sleep(0)
    assert made.get(timeout=5) == 1
    with pytest.raises(Bad, match="put"):
        putter.get()
    made.put(2, timeout=5)
    assert (made.get(timeout=5), made.unfinished_tasks) == (2, 2)


def test_the_next_putter_follows_a_failed_one(hub):
    """Those who wait behind a put that failed are served at once."""
    made = Picky(1)
    made.put(1)
    bad, good = hubbub.spawn(made.put, "bad"), hubbub.spawn(made.put, 2)
    hubbub.sleep(0)
    assert made.get() == 1
    hubbub.joinall([bad, good], timeout=5)
    assert isinstance(bad.exception, Bad)
    assert good.successful()
    assert made.get(timeout=5) == 2


def test_a_blocked_get_gets_the_error_of_get(hub):
    """A get that waits, and whose _get raises when an item comes, gets the error; the one that put does not."""
    made = Picky()
    first, second = hubbub.spawn(made.get), hubbub.spawn(made.get)
    hubbub.sleep(0)
    made.put("stuck")
    made.put(1)
    hubbub.joinall([first, second], timeout=5)
    assert isinstance(first.exception, Bad)
    assert second.value == 1


def test_failing_sizes_reach_those_who_wait(hub):
    """If _qsize raises when a waiter is to be served, he gets the error, and nobody waits for good."""

    class Unknown(SimpleQueue[Any]):
        fails = False

        def _qsize(self) -> int:
            if self.fails:
                raise Bad("size")
            return super()._qsize()

    made = Unknown()
    getters = [hubbub.spawn(made.get), hubbub.spawn(made.get)]
    hubbub.sleep(0)
    made.fails = True
    made.put(1)  # its own part needs no size
    hubbub.joinall(getters, timeout=5)
    assert [type(getter.exception) for getter in getters] == [Bad, Bad]
    made.fails = False
    assert made.get(timeout=5) == 1


def test_an_error_of_init_is_the_maker_s(hub):
    """What _init raises, the constructor raises."""

    class Unmakeable(SimpleQueue[Any]):
        def _init(self, maxsize: int | None) -> None:
            raise Bad

    with pytest.raises(Bad):
        Unmakeable()


@pytest.mark.parametrize("blocked", [False, True])
def test_items_that_cannot_be_compared(hub, blocked):
    """The put of an item that cannot be compared fails, waiting or not; the others stay and come in their order."""
    made = PriorityQueue(4 if blocked else None)
    for number in (3, 1, 2, 4):
        made.put(number)
    putter = hubbub.spawn(made.put, Rebel())
    hubbub.sleep(0)
    got = [made.get(timeout=5)] if blocked else []
    with pytest.raises(Bad):
        putter.get()
    got += [made.get(timeout=5) for _ in range(3 if blocked else 4)]
    assert got == [1, 2, 3, 4]
    assert made.empty()
    for _ in range(4):
        made.task_done()
    assert made.join(timeout=5)


def test_the_same_item_twice_and_a_failed_put(hub):
    """A put that fails takes back one item, not another that is the same object."""
    fails: list[bool] = []

    class Item:
        def __lt__(self, other: object) -> bool:
            if fails:
                raise Bad
            return False

    made, item = PriorityQueue(), Item()
    made.put(item)
    fails.append(True)
    with pytest.raises(Bad):
        made.put(item)
    fails.clear()
    assert made.qsize() == 1
    assert made.unfinished_tasks == 1


def test_a_get_that_cannot_compare_loses_nothing(hub):
    """A get whose comparison of the rest fails raises; every item is still there."""
    fails: list[bool] = []

    class Item:
        def __init__(self, number: int) -> None:
            self.number = number

        def __lt__(self, other: Any) -> bool:
            if fails:
                raise Bad
            return self.number < other.number

    made = PriorityQueue(items=[Item(number) for number in (3, 1, 2, 5, 4)])
    fails.append(True)
    with pytest.raises(Bad):
        made.get()
    assert made.qsize() == 5
    fails.clear()
    made.queue.sort()
    assert [made.get(timeout=5).number for _ in range(5)] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("kind", [SimpleQueue, Queue, LifoQueue])
def test_destructors_that_put(hub, kind):
    """Items whose destructors put into the queue, in the middle of whatever is done to it, harm nothing."""
    made = kind()
    born = []

    class Item:
        def __init__(self, generation: int) -> None:
            self.generation = generation

        def __del__(self) -> None:
            born.append(1)
            if self.generation:
                made.put(Item(self.generation - 1))

    for _ in range(5):
        made.put(Item(3))
    while not made.empty():
        made.get(timeout=5)
    assert len(born) == 20


@pytest.mark.parametrize("kind", [SimpleQueue, Queue, LifoQueue, PriorityQueue, Channel])
def test_the_class_shutdown_is_an_item_like_others(hub, kind):
    """An item that is the class ShutDown itself is got, by one who waits too."""
    made = kind()
    getter = hubbub.spawn(made.get)
    hubbub.sleep(0)
    made.put(ShutDown, timeout=5)
    assert getter.get() is ShutDown


def test_storage_of_another_kind(hub):
    """A subclass that keeps its items in something of its own gets back what a killed getter had been given."""

    class Bag(SimpleQueue[Any]):
        def _init(self, maxsize: int | None) -> None:
            self.queue = set()

        def _put(self, item: Any) -> None:
            self.queue.add(item)

        def _get(self) -> Any:
            return self.queue.pop()

    made = Bag()
    getter = hubbub.spawn(made.get)
    hubbub.sleep(0)
    getter.kill(block=False)
    made.put(1)
    assert made.get(timeout=5) == 1
    assert getter.dead


def test_a_full_queue_with_a_stale_getter_is_full(hub):
    """A getter that can never go on does not make room."""
    made = SimpleQueue(1)
    getter = hubbub.spawn(made.get)
    hubbub.sleep(0)
    made._getters[0].since = float("-inf")
    made.put(1)
    with pytest.raises(Full):
        made.put(2, block=False)
    getter.kill()
    assert made.get(timeout=5) == 1


def test_tasks_that_could_not_be_put_are_not_waited_for(hub):
    """join does not wait for an item whose put has failed."""
    made = Picky()
    with pytest.raises(Bad):
        made.put("bad")
    assert made.unfinished_tasks == 0
    assert made.join(timeout=5)
