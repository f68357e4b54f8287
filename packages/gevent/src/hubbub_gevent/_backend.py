"""What the modules of gevent's loops have beside the loop itself."""

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
    "loop_on",
    "recommended_backends",
    "supported_backends",
    "time",
    "watcher",
]


def loop_on(library: str) -> type:
    """The loop class on ``"libev"`` or ``"libuv"``.

    :raises hubbub.exceptions.PluginError: its package is not installed.
    """
    found: type = loop_class(plugins.load(plugins.LOOPS, library))
    return found
