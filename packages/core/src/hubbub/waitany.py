"""Waiting for whichever of several things happens first."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hubbub._arguments import listed
from hubbub._waiter import Waiter
from hubbub.abc import READ
from hubbub.hub import get_hub

__all__ = ["wait_any"]


def wait_any(objects: Iterable[Any], timeout: float | None = None) -> Any:
    """Wait until one of ``objects`` is ready, and return it. The others lose nothing; nothing is taken from the one.

    :param objects: greenlets, events, results, semaphores, queues (anything with ``rawlink``), and sockets or other
        things with ``fileno()``, which are ready when they can be read.
    :param timeout: seconds, or None for no limit.
    :returns: the first that is ready, in the order given if several are; None when the time ran out first.
    :raises TypeError: one of them cannot be waited for.
    :raises ValueError: there are none.
    """
    candidates = listed(objects, "objects to wait for")
    if not candidates:
        raise ValueError("wait_any needs at least one object to wait for")
    for item in candidates:
        if not (hasattr(item, "rawlink") or hasattr(item, "fileno")):
            raise TypeError(f"cannot wait for {item!r}: it has neither rawlink() nor fileno()")
    for item in candidates:
        if hasattr(item, "rawlink") and item.ready():
            return item
    return _Race(candidates).run(timeout)


class _Race:
    def __init__(self, candidates: list[Any]) -> None:
        self._candidates = candidates
        self._waiter = Waiter()
        self._watchers: list[Any] = []

    def run(self, timeout: float | None) -> Any:
        linked: list[Any] = []
        try:
            for item in self._candidates:
                if hasattr(item, "rawlink"):
                    item.rawlink(self._won)
                    linked.append(item)
                else:
                    watcher = get_hub().loop.io(item.fileno(), READ)
                    self._watchers.append(watcher)
                    watcher.start(self._won, item)
            self._waiter.wait(timeout)
        finally:
            for item in linked:
                item.unlink(self._won)
            for watcher in self._watchers:
                watcher.close()
        winner, self._waiter.value = self._waiter.value, None  # the hub still has the waiter in its hands
        return winner

    def _won(self, item: Any) -> None:
        if not self._waiter.done:
            self._waiter.wake(item)
