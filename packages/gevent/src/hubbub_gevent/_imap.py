"""gevent._imap on hubbub: iterators over results, which are themselves gevent's greenlets."""

from __future__ import annotations

from typing import Any

from hubbub import pool as _pool

from hubbub_gevent.greenlet import Greenlet as Greenlet
from hubbub_gevent.queue import UnboundQueue

__all__ = ["IMap", "IMapUnordered"]


class IMapUnordered(_pool.IMapUnordered[Any], Greenlet):
    """:class:`hubbub.pool.IMapUnordered`."""

    queue_class = UnboundQueue
    queue: Any = None
    finished: bool = False


class IMap(_pool.IMap[Any], IMapUnordered):
    """:class:`hubbub.pool.IMap`."""
