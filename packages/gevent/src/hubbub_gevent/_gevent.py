"""gevent's top level, on hubbub."""

from __future__ import annotations

from importlib import import_module
from sys import getswitchinterval, setswitchinterval
from typing import Any, NamedTuple

from hubbub_gevent import event, exceptions  # noqa: F401  # there with "import gevent", not with "from gevent import *"
from hubbub_gevent._config import config
from hubbub_gevent.greenlet import Greenlet, GreenletExit, iwait, joinall, killall, wait
from hubbub_gevent.hub import get_hub, getcurrent, idle, kill, reinit, sleep, spawn_raw
from hubbub_gevent.hub import signal as signal_handler
from hubbub_gevent.installing import has_module, unknown_in
from hubbub_gevent.os import fork
from hubbub_gevent.timeout import Timeout, with_timeout

__all__ = [
    "Greenlet",
    "GreenletExit",
    "Timeout",
    "config",
    "fork",
    "get_hub",
    "getcurrent",
    "getswitchinterval",
    "idle",
    "iwait",
    "joinall",
    "kill",
    "killall",
    "reinit",
    "setswitchinterval",
    "signal_handler",
    "sleep",
    "spawn",
    "spawn_later",
    "spawn_raw",
    "wait",
    "with_timeout",
]

__version__ = "26.9.0"


class _VersionInfo(NamedTuple):
    major: int
    minor: int
    micro: int
    releaselevel: str
    serial: int


version_info = _VersionInfo(20, 0, 0, "dev", 0)
"""Never changes; gevent's does not either."""
__implementation__ = "hubbub"

spawn = Greenlet.spawn
spawn_later = Greenlet.spawn_later

_unknown = unknown_in(__name__)


def __getattr__(name: str) -> Any:
    """Any submodule, imported at its first access: instrumentation looks submodules up without importing them first.

    Not ``gevent.monkey``: many programs take its presence as a sign that something may be patched. Nor
    ``gevent.signal``: others call it first, as the function that it was before gevent 1.5, and look for an
    AttributeError.
    """
    if name not in ("monkey", "signal") and has_module(name):
        return import_module(f"{__name__}.{name}")
    return _unknown(name)
