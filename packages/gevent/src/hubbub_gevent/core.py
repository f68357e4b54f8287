"""gevent.core on hubbub: the loop module."""

from __future__ import annotations

from time import time

from hubbub.abc import READ, WRITE
from hubbub.lowlevel import ScheduledCall as callback

from hubbub_gevent._config import config
from hubbub_gevent._watchers import WatcherType as watcher
from hubbub_gevent._watchers import async_, check, child, fork, idle, io, prepare, signal, stat, timer

__all__ = [
    "READ",
    "WRITE",
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
    "loop",
    "prepare",
    "recommended_backends",
    "signal",
    "stat",
    "supported_backends",
    "time",
    "timer",
    "watcher",
]


def get_version() -> str:
    """The library behind the loop, such as ``libev-4.33``."""
    version = getattr(config.loop, "version", None)
    return f"{config.loop.name}-{version()}" if version is not None else config.loop.name


get_header_version = get_version


def supported_backends() -> list[str]:
    """What the loop could ask the kernel with."""
    names = getattr(config.loop, "backends", None)
    return list(names()) if names is not None else ["default"]


recommended_backends = supported_backends


def embeddable_backends() -> list[str]:
    """None."""
    return []


loop = config.loop
