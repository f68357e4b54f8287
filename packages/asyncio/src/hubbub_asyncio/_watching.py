"""The descriptors that an event loop watches, by watchers of the hub's loop."""

from __future__ import annotations

import selectors
from asyncio import events
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

__all__ = ["NoSelector", "Watches"]


class NoSelector(selectors.BaseSelector):
    """What asyncio's event loop holds in place of a selector. It has no descriptors and never waits."""

    def register(self, fileobj: Any, events: int, data: Any = None) -> NoReturn:
        """Refuse: the event loop uses watchers."""
        raise NotImplementedError("descriptors are watched by the hub: use add_reader and add_writer")

    def unregister(self, fileobj: Any) -> NoReturn:
        """Refuse: nothing is registered."""
        raise KeyError(f"{fileobj!r} is not registered")

    def select(self, timeout: float | None = None) -> list[Any]:
        """Nothing."""
        return []

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        """Nothing."""
        return {}


class Watches:
    """At most one reader and one writer for each descriptor.

    :param loop: the hub's loop.
    :param fired: called with a handle at each event.
    """

    def __init__(self, loop: Any, fired: Callable[[events.Handle], None]) -> None:
        self._loop = loop
        self._fired = fired
        self._watchers: dict[tuple[int, int], tuple[Any, events.Handle]] = {}

    def add(self, fileobj: Any, event: int, handle: events.Handle) -> events.Handle:
        """Call ``handle`` at each ``event`` (READ or WRITE), in place of the one that was there."""
        key = _number(fileobj), event
        before = self._watchers.get(key)
        if before is not None:
            watcher = before[0]
            before[1].cancel()
            watcher.stop()
        else:
            watcher = self._loop.io(*key)
        watcher.start(self._fired, handle)
        self._watchers[key] = watcher, handle
        return handle

    def remove(self, fileobj: Any, event: int) -> bool:
        """Stop watching.

        :returns: whether it was watched.
        """
        found = self._watchers.pop((_number(fileobj), event), None)
        if found is None:
            return False
        watcher, handle = found
        watcher.close()
        handle.cancel()
        return True

    def close(self) -> None:
        """Stop watching everything."""
        while self._watchers:
            _, (watcher, handle) = self._watchers.popitem()
            watcher.close()
            handle.cancel()


def _number(fileobj: Any) -> int:
    """The descriptor of a file object, as :mod:`selectors` finds it.

    :raises ValueError: it has none.
    """
    if isinstance(fileobj, int):
        fd = fileobj
    else:
        try:
            fd = int(fileobj.fileno())
        except (AttributeError, TypeError, ValueError):
            raise ValueError(f"Invalid file object: {fileobj!r}") from None
    if fd < 0:
        raise ValueError(f"Invalid file descriptor: {fd}")
    return fd
