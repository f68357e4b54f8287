"""gevent.core on hubbub: the loop module."""

from __future__ import annotations

from time import time

from hubbub.abc import READ as READ
from hubbub.abc import WRITE as WRITE
from hubbub.lowlevel import ScheduledCall

from hubbub_gevent._config import config
from hubbub_gevent._watchers import WatcherType
from hubbub_gevent._watchers import async_ as async_
from hubbub_gevent._watchers import check as check
from hubbub_gevent._watchers import child as child
from hubbub_gevent._watchers import fork as fork
from hubbub_gevent._watchers import idle as idle
from hubbub_gevent._watchers import io as io
from hubbub_gevent._watchers import prepare as prepare
from hubbub_gevent._watchers import signal as signal
from hubbub_gevent._watchers import stat as stat
from hubbub_gevent._watchers import timer as timer

__all__ = [
    "embeddable_backends",
    "get_header_version",
    "get_version",
    "loop",
    "recommended_backends",
    "supported_backends",
    "time",
]

callback = ScheduledCall
watcher = WatcherType


def get_version() -> str:
    """The library behind the loop, such as ``libev-4.33``."""
    version = getattr(config.loop, "version", None)
    return f"{config.loop.name}-{version()}" if version is not None else config.loop.name


get_header_version = get_version


def supported_backends() -> list[str]:
    """The names of the system calls that the loop can use to poll."""
    names = getattr(config.loop, "backends", None)
    return list(names()) if names is not None else ["default"]


recommended_backends = supported_backends


def embeddable_backends() -> list[str]:
    """Always empty."""
    return []


loop = config.loop
