"""gevent.core on hubbub: the loop module."""

from __future__ import annotations

from time import time

from hubbub.abc import READ, WRITE
from hubbub.lowlevel import ScheduledCall as callback

from hubbub_gevent._config import config

__all__ = [
    "READ",
    "WRITE",
    "callback",
    "embeddable_backends",
    "get_header_version",
    "get_version",
    "loop",
    "recommended_backends",
    "supported_backends",
    "time",
]


def get_version() -> str:
    """The library behind the loop."""
    return str(getattr(config.loop, "version", config.loop.name))


get_header_version = get_version


def supported_backends() -> list[str]:
    """What the loop could use."""
    return ["epoll", "poll", "select"]


recommended_backends = supported_backends


def embeddable_backends() -> list[str]:
    """None."""
    return []


loop = config.loop
