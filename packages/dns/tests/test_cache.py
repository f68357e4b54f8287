"""The cache of answers."""

from __future__ import annotations

import threading
import tracemalloc

import pytest
from hubbub_dns._answer import Answer
from hubbub_dns.cache import Cache, CacheStatistics


class Clock:
    """A clock that is set."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_ttl() -> None:
    """An answer is there until its time is over, not longer."""
    clock = Clock()
    cache = Cache(clock=clock)
    cache.put("name", "answer", 10)
    clock.now = 9.99
    assert cache.get("name") == "answer"
    clock.now = 10.0
    assert cache.get("name") is None
    assert len(cache) == 0


def test_limits_of_ttl() -> None:
    """No answer is kept longer than the cache's limits; one with a TTL of 0 or less is not kept."""
    clock = Clock()
    cache = Cache(max_ttl=100, max_negative_ttl=10, clock=clock)
    cache.put("long", 1, 1e9)
    cache.put("negative", 2, 1e9, negative=True)
    cache.put("zero", 3, 0)
    cache.put("less", 4, -5)
    clock.now = 9.0
    assert [cache.get(key) for key in ("long", "negative", "zero", "less")] == [1, 2, None, None]
    clock.now = 10.0
    assert cache.get("negative") is None
    clock.now = 100.0
    assert cache.get("long") is None


def test_bound() -> None:
    """A full cache gives up the answer that was not used for longest."""
    cache = Cache(max_entries=3)
    for number in range(3):
        cache.put(number, str(number), 60)
    assert cache.get(0) == "0"
    cache.put(3, "3", 60)
    assert [cache.get(number) for number in range(4)] == ["0", None, "2", "3"]
    for number in range(1000):
        cache.put(number, "x", 60)
    assert len(cache) == 3


def test_statistics() -> None:
    """The cache counts what it does."""
    clock = Clock()
    cache = Cache(max_entries=2, clock=clock)
    cache.put("a", 1, 5)
    cache.put("b", 2, 50, negative=True)
    cache.get("a")
    cache.get("b")
    cache.get("c")
    clock.now = 6
    cache.get("a")
    cache.put("d", 3, 50)
    cache.put("e", 4, 50)
    assert cache.statistics() == CacheStatistics(
        entries=2, max_entries=2, bytes=900, max_bytes=32 << 20, hits=2, negative_hits=1, misses=2, expired=1, evicted=1
    )
    assert repr(cache) == "<Cache entries=2/2>"
    cache.clear()
    assert cache.statistics().entries == 0


def test_nothing_kept() -> None:
    """A cache for 0 entries keeps nothing; less than 0 is refused."""
    cache = Cache(max_entries=0)
    cache.put("a", 1, 60)
    assert cache.get("a") is None
    assert cache
    with pytest.raises(ValueError, match="-1 entries"):
        Cache(max_entries=-1)


def test_threads() -> None:
    """Several threads may use it at the same time; the bound holds and the counts add up."""
    cache = Cache(max_entries=50)

    def use(seed: int) -> None:
        for number in range(2000):
            key = (number * seed) % 97
            if cache.get(key) is None:
                cache.put(key, key, 60)

    threads = [threading.Thread(target=use, args=(seed,)) for seed in (1, 3, 5, 7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    statistics = cache.statistics()
    assert statistics.entries <= 50
    assert statistics.hits + statistics.misses == 8000


def test_reinit() -> None:
    """In a child after a fork the lock is new and the answers are gone."""
    cache = Cache()
    cache.put("a", 1, 60)
    cache._lock.acquire()
    cache.reinit()
    assert cache.get("a") is None


def test_bytes() -> None:
    """Answers together take no more memory than allowed: the least recently used go first, a huge one is not kept."""
    cache = Cache(max_bytes=10_000)
    for number in range(100):
        cache.put(number, number, 60, size=1000)
        assert cache.statistics().bytes <= 10_000
    kept = cache.statistics()
    assert kept.entries == 6
    assert kept.bytes == 6 * 1450
    assert kept.evicted == 94
    cache.put("huge", 1, 60, size=20_000)
    assert cache.get("huge") is None
    assert len(cache) == 6
    cache.put(99, 1, 60, size=20_000)  # what was there is old now
    assert cache.get(99) is None
    cache.put(98, 1, 0)
    assert cache.get(98) is None
    cache.clear()
    assert cache.statistics().bytes == 0


def test_bytes_of_answers() -> None:
    """What is counted is what answers take: within a factor of two of what the interpreter allocates."""
    for count in (0, 1, 10, 4000):
        cache = Cache(max_entries=100_000, max_bytes=1 << 40)
        entries = 1000 if count < 100 else 10
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        for number in range(entries):
            answer = Answer((f"host{number}.test",), tuple(f"192.0.{n >> 8}.{n & 255}" for n in range(count)), 60.0)
            cache.put((cache, answer.chain[0], 1), answer, 60, size=answer.size())
        taken = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
        assert 0.5 < taken / cache.statistics().bytes < 2


def test_negative_bytes() -> None:
    """A cache of less than nothing is a ValueError."""
    with pytest.raises(ValueError, match="bytes"):
        Cache(max_bytes=-1)
