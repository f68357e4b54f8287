"""gevent.libuv.loop on hubbub: the loop class on libuv."""

from __future__ import annotations

from hubbub import plugins

from hubbub_gevent._loop import WatcherType as watcher
from hubbub_gevent._loop import loop_class
from hubbub_gevent.core import (
    embeddable_backends,
    get_header_version,
    get_version,
    recommended_backends,
    supported_backends,
    time,
)

__all__ = [
    "embeddable_backends",
    "get_header_version",
    "get_version",
    "loop",
    "recommended_backends",
    "supported_backends",
    "time",
    "watcher",
]

loop = loop_class(plugins.load(plugins.LOOPS, "libuv"))
