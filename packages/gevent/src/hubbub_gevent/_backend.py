"""What the modules of gevent's loops contain besides the loop itself."""

from __future__ import annotations

from hubbub import plugins

from hubbub_gevent._loop import loop_class
from hubbub_gevent.core import (
    async_,
    callback,
    check,
    child,
    embeddable_backends,
    fork,
    get_header_version,
    get_version,
    idle,
    io,
    prepare,
    recommended_backends,
    signal,
    stat,
    supported_backends,
    time,
    timer,
    watcher,
)

__all__ = [
    "async_",
    "callback",
    "check",
    "child",
    "embeddable_backends",
    "fork",
    "get_header_version",
    "get_version",
    "idle",
    "io",
    "loop_on",
    "prepare",
    "recommended_backends",
    "signal",
    "stat",
    "supported_backends",
    "time",
    "timer",
    "watcher",
]


def loop_on(library: str) -> type:
    """The loop class on ``"libev"`` or ``"libuv"``.

    :raises hubbub.exceptions.PluginError: its package is not installed.
    """
    found: type = loop_class(plugins.load(plugins.LOOPS, library))
    return found
