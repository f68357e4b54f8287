"""gevent._hub_primitives on hubbub."""

from __future__ import annotations

from hubbub_gevent.greenlet import iwait as iwait_on_objects
from hubbub_gevent.greenlet import wait as wait_on_objects
from hubbub_gevent.hub import Waiter, WaitOperationsGreenlet
from hubbub_gevent.socket import wait as wait_on_watcher
from hubbub_gevent.socket import wait_read, wait_readwrite, wait_write

__all__ = [
    "WaitOperationsGreenlet",
    "Waiter",
    "iwait_on_objects",
    "wait_on_objects",
    "wait_on_watcher",
    "wait_read",
    "wait_readwrite",
    "wait_write",
]
