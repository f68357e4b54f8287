"""gevent.baseserver on hubbub."""

from __future__ import annotations

from hubbub_server.baseserver import BaseServer

__all__ = ["BaseServer"]
