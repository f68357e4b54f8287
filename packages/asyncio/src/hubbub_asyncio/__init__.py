"""asyncio and greenlets in one thread: an event loop on the hub; greenlets wait for coroutines and vice versa."""

import typing

import hubbub.lowlevel

from hubbub_asyncio.bridge import as_future, await_, entered, in_greenlet, iterate, thread_loop
from hubbub_asyncio.loop import HubEventLoop
from hubbub_asyncio.running import new_event_loop, run

__all__ = [
    "HubEventLoop",
    "as_future",
    "await_",
    "entered",
    "in_greenlet",
    "iterate",
    "new_event_loop",
    "run",
    "thread_loop",
]

__version__: str
if not typing.TYPE_CHECKING:
    __getattr__ = hubbub.lowlevel.version_attribute(__name__, "hubbub-asyncio")
