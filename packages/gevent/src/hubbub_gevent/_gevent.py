"""gevent's top level, on hubbub."""

from __future__ import annotations

from sys import getswitchinterval, setswitchinterval

from greenlet import GreenletExit, getcurrent
from hubbub.greenlet import Greenlet, iwait, joinall, kill, killall, spawn, spawn_later, wait
from hubbub.hub import get_hub, idle, reinit, sleep, spawn_raw
from hubbub.timeout import Timeout, with_timeout

__all__ = [
    "Greenlet",
    "GreenletExit",
    "Timeout",
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
    "sleep",
    "spawn",
    "spawn_later",
    "spawn_raw",
    "wait",
    "with_timeout",
]

__version__ = "26.9.0"
__implementation__ = "hubbub"
