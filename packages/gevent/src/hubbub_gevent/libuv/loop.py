"""gevent.libuv.loop on hubbub: the loop class on libuv."""

from __future__ import annotations

from hubbub import plugins

from hubbub_gevent._loop import WatcherType as watcher
from hubbub_gevent._loop import loop_class

__all__ = ["loop", "watcher"]

loop = loop_class(plugins.load(plugins.LOOPS, "libuv"))
