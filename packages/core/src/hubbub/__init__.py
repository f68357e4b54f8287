"""Hubbub: greenlets on a fast event loop, so that plain blocking code serves many at once."""

import typing

from greenlet import getcurrent

import hubbub._ending  # has the threads of hubs stand still when the interpreter ends
import hubbub._environment  # what HUBBUB_CONTROL and its kin ask for
import hubbub._instrumentation  # before any of our code runs in greenlets
import hubbub._originals  # before anything can be patched
import hubbub._python  # warns of what does not work on this Python
import hubbub._resolver  # takes the originals of the socket module before they can be patched
import hubbub._version
import hubbub.inspect  # gives LoopExit its report of what greenlets wait for
import hubbub.io  # takes originals of the socket and select modules too
from hubbub._config import configure
from hubbub.event import AsyncResult, Event
from hubbub.exceptions import GreenletExit, LoopExit
from hubbub.greenlet import Greenlet, kill, spawn, spawn_later
from hubbub.hub import Hub, get_hub, idle, reinit, sleep, spawn_raw
from hubbub.lock import BoundedSemaphore, Condition, RLock, Semaphore
from hubbub.queue import Queue
from hubbub.scope import Cancelled, CancelScope, fail_after, move_on_after, shield
from hubbub.taskgroup import TaskGroup
from hubbub.threadpool import to_thread
from hubbub.timeout import Timeout, with_timeout
from hubbub.waiting import iwait, joinall, killall, wait, wait_any

__all__ = [
    "AsyncResult",
    "BoundedSemaphore",
    "CancelScope",
    "Cancelled",
    "Condition",
    "Event",
    "Greenlet",
    "GreenletExit",
    "Hub",
    "LoopExit",
    "Queue",
    "RLock",
    "Semaphore",
    "TaskGroup",
    "Timeout",
    "configure",
    "fail_after",
    "get_hub",
    "getcurrent",
    "idle",
    "iwait",
    "joinall",
    "kill",
    "killall",
    "move_on_after",
    "reinit",
    "shield",
    "sleep",
    "spawn",
    "spawn_later",
    "spawn_raw",
    "to_thread",
    "wait",
    "wait_any",
    "with_timeout",
]

__version__: str
if not typing.TYPE_CHECKING:
    __getattr__ = hubbub._version.version_attribute(__name__, "hubbub")
