"""gevent._imap on hubbub."""

from __future__ import annotations

from hubbub.pool import IMap, IMapUnordered

from hubbub_gevent.greenlet import Greenlet

__all__ = ["Greenlet", "IMap", "IMapUnordered"]
