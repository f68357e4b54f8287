"""gevent's top level, on hubbub."""

from __future__ import annotations

from sys import getswitchinterval, setswitchinterval

from hubbub_gevent import event, exceptions  # noqa: F401  # there with "import gevent", not with "from gevent import *"
from hubbub_gevent._config import config
from hubbub_gevent.greenlet import Greenlet, GreenletExit, iwait, joinall, killall, wait
from hubbub_gevent.hub import get_hub, getcurrent, idle, kill, reinit, sleep, spawn_raw
from hubbub_gevent.hub import signal as signal_handler
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
version_info = (20, 0, 0, "dev", 0)
__implementation__ = "hubbub"

spawn = Greenlet.spawn
spawn_later = Greenlet.spawn_later
