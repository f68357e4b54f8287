"""Attributes that each greenlet has for itself."""

from __future__ import annotations

import gc
import threading
import weakref

import pytest
from greenlet import getcurrent, greenlet
from hubbub import sleep, spawn
from hubbub.local import attributes_of, local


def test_each_greenlet_sees_its_own(hub):
    """What one greenlet sets is not seen by another, also when they take turns."""
    mine = local()
    mine.value = "main"

    def body(value):
        assert not hasattr(mine, "value")
        mine.value = value
        sleep(0)
        return mine.value

    greenlets = [spawn(body, number) for number in range(3)]
    assert [one.get() for one in greenlets] == [0, 1, 2]
    assert mine.value == "main"


def test_delete(hub):
    """An attribute can be deleted, once."""
    mine = local()
    mine.value = 1
    del mine.value
    with pytest.raises(AttributeError):
        mine.value  # noqa: B018  # the look-up is what is tested
    with pytest.raises(AttributeError):
        del mine.value


def test_dict(hub):
    """__dict__ holds the current greenlet's attributes and cannot be replaced or deleted."""
    mine = local()
    mine.value = 1
    assert mine.__dict__ == {"value": 1}
    assert spawn(lambda: dict(mine.__dict__)).get() == {}
    with pytest.raises(AttributeError, match="read-only"):
        mine.__dict__ = {}
    with pytest.raises(AttributeError, match="read-only"):
        del mine.__dict__


def test_constructor_runs_in_each_greenlet(hub):
    """A subclass's __init__ runs in each greenlet at its first access, with the same arguments."""
    calls = []

    class Mine(local):
        def __init__(self, start, step=1):
            calls.append((start, step))
            self.count = start

        def up(self):
            self.count += 1
            return self.count

    mine = Mine(10, step=2)
    assert mine.up() == 11
    assert spawn(lambda: [mine.up(), mine.up()]).get() == [11, 12]
    assert mine.count == 11
    assert calls == [(10, 2), (10, 2)]


def test_arguments_without_a_constructor(hub):
    """Arguments that no constructor takes are a TypeError."""
    with pytest.raises(TypeError, match="arguments"):
        local(1)


def test_properties(hub):
    """Properties, methods and class attributes of a subclass work."""

    class Mine(local):
        shared = "class"

        @property
        def double(self):
            return self.value * 2

        @double.setter
        def double(self, value):
            self.value = value // 2

    mine = Mine()
    mine.double = 10
    assert (mine.value, mine.double, mine.shared) == (5, 10, "class")
    mine.shared = "mine"
    assert mine.shared == "mine"
    assert Mine.shared == "class"


def test_slots_are_shared(hub):
    """Attributes in __slots__ of a subclass are shared by all greenlets."""

    class Mine(local):
        __slots__ = ("shared",)

    mine = Mine()
    mine.shared = 1
    assert spawn(lambda: mine.shared).get() == 1


def test_freed_with_the_greenlet(hub):
    """What a greenlet stored is freed when the greenlet is gone."""

    class Thing:
        pass

    mine = local()
    gone = []

    def body():
        mine.thing = Thing()
        gone.append(weakref.ref(mine.thing))

    one = spawn(body)
    one.join()
    del one
    sleep(0)
    gc.collect()
    assert gone[0]() is None


def test_freed_with_the_local(hub):
    """What was stored is freed when the local object is gone, while the greenlet lives."""

    class Thing:
        pass

    mine = local()
    mine.thing = Thing()
    gone = weakref.ref(mine.thing)
    del mine
    gc.collect()
    assert gone() is None


def test_threads(hub):
    """Native threads see their own attributes too."""
    mine = local()
    mine.value = "main"
    seen = []

    def body():
        seen.append(hasattr(mine, "value"))
        mine.value = "thread"
        seen.append(mine.value)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert seen == [False, "thread"]
    assert mine.value == "main"


@pytest.mark.unsanitized  # the sanitizer does not give freed memory out again soon
def test_a_greenlet_with_the_number_of_an_ended_one(hub):
    """A greenlet that gets the memory, and so the id, of one that has ended sees nothing of its attributes."""
    mine = local()
    seen, numbers = [], set()

    def body():
        seen.append(hasattr(mine, "value"))
        mine.value = 1

    for _ in range(50):
        one = greenlet(body)
        numbers.add(id(one))
        one.switch()
        del one
    assert len(numbers) < 50
    assert not any(seen)


def test_a_constructor_that_fails_is_tried_again(hub):
    """Where __init__ raises nothing is left: the next access of that greenlet calls it again."""
    calls = []

    class Picky(local):
        def __init__(self):
            calls.append(getcurrent())
            self.half = True
            if len(calls) == 2:
                raise ValueError("not yet")

    mine = Picky()

    def body():
        with pytest.raises(ValueError, match="not yet"):
            mine.half  # noqa: B018  # the look-up is what is tested
        return mine.half

    assert spawn(body).get() is True
    assert len(calls) == 3


def test_attributes_of_another_greenlet(hub):
    """attributes_of tells what any greenlet has of it; None for one that has never used it."""
    mine = local()
    mine.value = 1

    def body():
        mine.value = 2
        sleep(0)

    user, stranger = spawn(body), spawn(sleep, 0)
    sleep(0)
    assert attributes_of(mine, user) == {"value": 2}
    assert attributes_of(mine, getcurrent()) == {"value": 1}
    assert attributes_of(mine, stranger) is None
    user.join()


@pytest.mark.parametrize("special", ["__set__", "__delete__"])
def test_data_descriptors_of_the_class_come_first(hub, special):
    """A descriptor of the class that sets or deletes is asked before the greenlet's own attributes."""

    class Descriptor:
        def __get__(self, owner, cls):
            return "of the class"

    setattr(Descriptor, special, lambda self, owner, *value: None)

    class Mine(local):
        name = Descriptor()

    mine = Mine()
    mine.__dict__["name"] = "of the greenlet"
    assert mine.name == "of the class"
