"""Answers of name servers, kept as long as the servers allow."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

from hubbub.lowlevel import allocate_native_lock, at_fork, monotonic

__all__ = ["Cache", "CacheStatistics", "shared_cache"]


_OVERHEAD = 450
"""Bytes that an entry takes: its key, its place in the order, and an answer without addresses."""


@dataclass(frozen=True, slots=True)
class CacheStatistics:
    """What a cache holds and has done so far."""

    entries: int
    """How many answers the cache holds. Expired ones count until they are asked for."""
    max_entries: int
    bytes: int
    """About how much memory these answers take."""
    max_bytes: int
    hits: int
    """Questions that the cache has answered; negative answers included."""
    negative_hits: int
    """Hits whose answer was that there is nothing."""
    misses: int
    """Questions that the cache could not answer."""
    expired: int
    """Answers dropped because their time was over."""
    evicted: int
    """Answers dropped to make room."""


class Cache:
    """A bounded store of answers; the least recently used one is dropped first. Several threads may use it.

    :param max_entries: how many answers to keep at most; 0 keeps nothing.
    :param max_bytes: about how much memory they may take at most. An answer that alone takes more is not kept.
    :param max_ttl: seconds to keep an answer at most, whatever its server allows (RFC 8767 asks for a limit).
    :param max_negative_ttl: the same for the answer that there is nothing (RFC 2308, section 5: at most 3 hours).
    :param clock: returns seconds that never go back.
    """

    def __init__(
        self,
        max_entries: int = 10_000,
        max_bytes: int = 32 << 20,
        max_ttl: float = 86_400.0,
        max_negative_ttl: float = 900.0,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        if max_entries < 0:
            raise ValueError(f"a cache cannot hold {max_entries!r} entries")
        if max_bytes < 0:
            raise ValueError(f"a cache cannot hold {max_bytes!r} bytes")
        self.max_entries = max_entries
        self.max_bytes = max_bytes
        self.max_ttl = max_ttl
        self.max_negative_ttl = max_negative_ttl
        self._clock = clock
        self._start_afresh()

    def _start_afresh(self) -> None:
        self._lock = allocate_native_lock()
        self._entries: OrderedDict[Hashable, tuple[float, bool, Any, int]] = OrderedDict()
        self._bytes = 0
        self._hits = self._negative_hits = self._misses = self._expired = self._evicted = 0

    def __repr__(self) -> str:
        return f"<{type(self).__name__} entries={len(self._entries)}/{self.max_entries}>"

    def __len__(self) -> int:
        """How many answers there are."""
        return len(self._entries)

    def __bool__(self) -> bool:
        return True

    def get(self, key: Hashable) -> Any:
        """The answer, or None."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                self._misses += 1
                return None
            until, negative, answer, size = entry
            if until <= self._clock():
                del self._entries[key]
                self._bytes -= size
                self._expired += 1
                self._misses += 1
                return None
            self._entries.move_to_end(key)
            self._hits += 1
            self._negative_hits += negative
            return answer

    def put(self, key: Hashable, answer: Any, ttl: float, negative: bool = False, size: int = 0) -> None:
        """Keep an answer for ``ttl`` seconds; 0 or less does not keep it.

        :param size: bytes that the answer takes, beyond those of each entry.
        """
        ttl = min(ttl, self.max_negative_ttl if negative else self.max_ttl)
        size += _OVERHEAD
        with self._lock:
            self._drop(key)
            if ttl <= 0 or not self.max_entries or size > self.max_bytes:
                return
            self._entries[key] = (self._clock() + ttl, negative, answer, size)
            self._bytes += size
            while len(self._entries) > self.max_entries or self._bytes > self.max_bytes:
                self._bytes -= self._entries.popitem(last=False)[1][3]
                self._evicted += 1

    def _drop(self, key: Hashable) -> None:
        """Drop the old answer for a key: a newer one has come, even if that is not kept."""
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._bytes -= entry[3]

    def clear(self) -> None:
        """Forget all answers."""
        with self._lock:
            self._entries.clear()
            self._bytes = 0

    def statistics(self) -> CacheStatistics:
        """What the cache holds and has done so far."""
        with self._lock:
            return CacheStatistics(
                entries=len(self._entries),
                max_entries=self.max_entries,
                bytes=self._bytes,
                max_bytes=self.max_bytes,
                hits=self._hits,
                negative_hits=self._negative_hits,
                misses=self._misses,
                expired=self._expired,
                evicted=self._evicted,
            )

    def reinit(self) -> None:
        """In the child after ``fork``: drop the answers, and the lock, which another thread of the parent may hold."""
        self._start_afresh()


_shared = Cache()
at_fork(in_child=_shared.reinit)


def shared_cache() -> Cache | None:
    """The cache that this process's resolvers share; None where ``HUBBUB_DNS_CACHE=0`` turns it off."""
    return None if os.environ.get("HUBBUB_DNS_CACHE") == "0" else _shared
