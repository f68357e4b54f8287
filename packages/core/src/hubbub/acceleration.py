"""The door for native accelerators: which of core's methods have a twin in C, and how the twins are set in their place.

The classes and slots that the twins work on are private to core; they change together with :data:`LAYOUT`. An
accelerator made for another layout is refused, and core goes on in Python.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from hubbub._latch import Latch
from hubbub._waiter import Waiter
from hubbub.hub import Hub, get_hub
from hubbub.io import Socket
from hubbub.lock import RLock, Semaphore
from hubbub.loop.base import BaseLoop
from hubbub.loop.readiness import Direction, Readiness, closed_error
from hubbub.loop.ring import RingLoop
from hubbub.loop.timers import Timers
from hubbub.queue import SimpleQueue
from hubbub.thread import LockType
from hubbub.thread import RLock as ThreadRLock
from hubbub.timeout import Timeout

__all__ = ["LAYOUT", "PARTS", "replace_methods"]

LAYOUT = 5
"""The number of the present arrangement of slots and of what the methods promise one another."""

PARTS: Mapping[str, Any] = {
    "BaseLoop": BaseLoop,
    "Direction": Direction,
    "Hub": Hub,
    "Latch": Latch,
    "LockType": LockType,
    "RLock": RLock,
    "Readiness": Readiness,
    "Socket": Socket,
    "Semaphore": Semaphore,
    "SimpleQueue": SimpleQueue,
    "ThreadRLock": ThreadRLock,
    "Timeout": Timeout,
    "Timers": Timers,
    "Waiter": Waiter,
    "closed_error": closed_error,
    "get_hub": get_hub,
    "ring_poll": RingLoop.poll,
}
"""What an accelerator has to know, by name."""


def replace_methods(methods: Mapping[tuple[type, str], Any]) -> Callable[[], None]:
    """Set each method on its class. At any time, in any thread: a method and its twin work on the same objects.

    :returns: a function that sets the methods back that were there before.
    :raises AttributeError: a class has no method of that name; then nothing is changed.
    """
    before = {(cls, name): cls.__dict__[name] for cls, name in methods if name in cls.__dict__}
    for cls, name in methods:
        if (cls, name) not in before:
            raise AttributeError(f"{cls.__name__} has no method {name!r} to replace")
    _set(methods)
    return lambda: _set(before)


def _set(methods: Mapping[tuple[type, str], Any]) -> None:
    for (cls, name), method in methods.items():
        setattr(cls, name, method)
