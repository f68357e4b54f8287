"""Room for another client: of descriptors, of memory, of places in a pool. Connections that are idle make it."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from operator import itemgetter
from typing import Any

import hubbub
from greenlet import greenlet

from hubbub_server.http.connection import Connection
from hubbub_server.stream import StreamServer

try:
    import resource
except ImportError:  # Windows has no such limits
    resource = None  # type: ignore[assignment]  # as above

__all__ = ["RoomyServer"]


class RoomyServer(StreamServer):
    """Knows the connections of its handlers, and closes those that are idle for longest when another client comes.

    The parameters are those of :class:`~hubbub_server.stream.StreamServer`.
    """

    _descriptor_mark = math.inf
    """The first descriptor that is kept for the application, as far as is known."""
    _enough = math.inf
    """With so many connections descriptors get scarce, as far as is known."""

    @property
    def connections(self) -> list[Connection]:
        """The connections that are open."""
        return [each for each in self.handlers.values() if each is not None and not each.is_stream]

    def _idle(self) -> Iterator[tuple[float, greenlet]]:
        yield from super()._idle()
        for handler, connection in self.handlers.items():
            if connection is not None and connection.idle:
                yield connection.since, handler

    def _dismiss(self, handler: greenlet) -> bool:
        connection = self.handlers.get(handler)
        return super()._dismiss(handler) if connection is None else connection.retire()

    def _wait_for_room(self) -> None:
        """The pool is full: close the connection that is idle for longest once a client wants its place."""
        self.socket.wait_readable()
        if not self._is_full():
            return
        if self.make_room():
            self.pool.wait_available(1.0)
        else:
            self.pool.wait_available(0.1)

    def do_read(self) -> tuple[Any, ...] | None:
        """Accept one connection. What the application needs descriptors for shall find some left."""
        accepted = self.socket.accept()
        descriptor = accepted[0].fileno()
        if descriptor >= self._descriptor_mark:
            # It was the lowest that is free, so all below are taken. The next get those that are given back, and do not
            # tell; so for a while the number of connections does.
            self._enough = len(self.handlers) - (descriptor - self._descriptor_mark)
        if len(self.handlers) >= self._enough:
            hubbub.spawn(self.make_room)
        return accepted

    def _set_descriptor_mark(self) -> None:
        if resource is not None:
            limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
            self._descriptor_mark = (
                math.inf if limit == resource.RLIM_INFINITY else limit - max(1, min(64, limit // 16))
            )

    def _look_at_memory(self, limit: int) -> None:
        """Close an eighth of the idle connections, the longest idle first, if more is in use than may be."""
        if _memory() <= limit:
            return
        idle = sorted(self._idle(), key=itemgetter(0))
        for _, handler in idle[: (len(idle) + 7) // 8]:
            self._dismiss(handler)

    def _forget_scarcity(self) -> None:
        """Descriptors may have been closed meanwhile."""
        self._enough = math.inf


def _memory() -> int:
    """Bytes of memory that the process has resident; 0 where that cannot be asked."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
