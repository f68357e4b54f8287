"""hubbub.threading's iterators that may be shared."""

import itertools
import threading as standard
from functools import partial

import pytest
from hubbub import sleep, spawn
from hubbub.threading import concurrent_tee, serialize_iterator, synchronized_iterator
from hubbub.waiting import joinall


def slowly(items):
    """A generator that waits before each item: it cannot be entered twice."""
    for item in items:
        sleep(0)
        yield item


def test_serialized(hub):
    """Greenlets that share a generator which waits get each item once; unshared, they raise ValueError."""
    shared = serialize_iterator(slowly(range(30)))
    takers = [spawn(list, shared) for _ in range(3)]
    assert sorted(itertools.chain.from_iterable(taker.get(timeout=5) for taker in takers)) == list(range(30))
    plain = slowly(range(30))
    takers = [spawn(list, plain) for _ in range(3)]
    joinall(takers, timeout=5)
    assert any(isinstance(taker.exception, ValueError) for taker in takers)


def test_serialized_between_native_threads():
    """Native threads that share one count every number once."""
    numbers = serialize_iterator(itertools.count())
    taken = []
    threads = [standard.Thread(target=lambda: taken.extend(itertools.islice(numbers, 1000))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted(taken) == list(range(4000))


def test_generators_methods(hub):
    """A generator's methods are passed on; an iterator that has none raises AttributeError."""

    def echo():
        got = None
        while True:
            try:
                got = yield got
            except KeyError as error:
                got = error.args[0]

    shared = serialize_iterator(echo())
    assert next(shared) is None
    assert shared.send("sent") == "sent"
    assert shared.throw(KeyError("thrown")) == "thrown"
    shared.close()
    assert list(shared) == []
    for call in (partial(shared.__class__([]).send, 1), shared.__class__([]).close):
        with pytest.raises(AttributeError):
            call()


def test_an_error_does_not_keep_the_lock(hub):
    """An iterator that raises may be asked again."""
    shared = serialize_iterator(iter([1]))
    assert next(shared) == 1
    for _ in range(2):
        with pytest.raises(StopIteration):
            next(shared)


def test_synchronized(hub):
    """A decorated generator function keeps its name and gives iterators that may be shared."""
    decorated = synchronized_iterator(slowly)
    assert decorated.__name__ == "slowly"
    shared = decorated(range(10))
    takers = [spawn(list, shared) for _ in range(2)]
    assert sorted(itertools.chain.from_iterable(taker.get(timeout=5) for taker in takers)) == list(range(10))


def test_tee(hub):
    """Each branch gives every item in order, whoever asks first, though the iterator waits."""
    branches = concurrent_tee(slowly(range(20)), 3)
    takers = [spawn(list, branch) for branch in branches]
    assert [taker.get(timeout=5) for taker in takers] == [list(range(20))] * 3


def test_tee_of_a_branch(hub):
    """A branch of a branch goes on where that one is."""
    first, second = concurrent_tee("abcd")
    assert next(first) == "a"
    third, fourth = concurrent_tee(first)
    assert ["".join(branch) for branch in (first, second, third, fourth)] == ["bcd", "abcd", "bcd", "bcd"]


@pytest.mark.parametrize("n", [0, 1, 2])
def test_how_many(n):
    """There are as many branches as one asks for."""
    branches = concurrent_tee([1, 2], n)
    assert [list(branch) for branch in branches] == [[1, 2]] * n


def test_too_few():
    """A negative number is refused."""
    with pytest.raises(ValueError, match="n must be a non-negative integer"):
        concurrent_tee([], -1)


@pytest.mark.skipif(not hasattr(standard, "concurrent_tee"), reason="the standard ones are of CPython 3.15")
@pytest.mark.parametrize("name", ["concurrent_tee", "serialize_iterator", "synchronized_iterator"])
def test_as_the_standard_ones(name):
    """The standard names take the same parameters."""
    import inspect

    from hubbub import threading

    def kinds(callable_):
        return [(p.name, p.kind, p.default) for p in inspect.signature(callable_).parameters.values()]

    assert kinds(getattr(threading, name)) == kinds(getattr(standard, name))
