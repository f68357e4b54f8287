"""Native threads that run greenlets while the interpreter ends.

Before version 3.14 CPython ends a daemon thread that asks for the GIL then by pthread_exit(3). That unwinds the C stack
of the thread through the frames of greenlets, which give back references without the GIL: the heap is in disorder, and
the process crashes. So such threads are made to stand still before, as later versions do it to all daemon threads.
"""

from __future__ import annotations

import atexit
import contextlib
import sys
from time import monotonic
from typing import TYPE_CHECKING

from hubbub._current import get_hub_if_exists, hubs
from hubbub._originals import allocate_lock, sleep
from hubbub.exceptions import LoopDestroyed

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE = 0.05
"""For how many seconds the end waits for threads that compute, or that wait for something other than their hub."""
FOR_EVER = 10 * 365 * 86400
"""Longer than a process lives: seconds, which every system's sleep takes."""


def _stand_still(arrive: Callable[[], object]) -> None:
    """Runs in the hub of another thread, and never returns."""
    arrive()
    sleep(FOR_EVER)


def still_others() -> None:
    """Have the hubs of all other threads stand still.

    Not in a child of multiprocessing: it calls exit functions early, goes on with its threads, and ends without more.
    """
    processes = sys.modules.get("multiprocessing.process")
    if processes is not None and processes.parent_process() is not None:
        return
    mine = get_hub_if_exists()
    waited_for = []
    for hub in hubs():
        if hub is not mine:
            arrived = allocate_lock()
            arrived.acquire()
            with contextlib.suppress(LoopDestroyed):
                hub.loop.run_callback_threadsafe(_stand_still, arrived.release)
                waited_for.append(arrived)
    limit = monotonic() + PATIENCE
    for arrived in waited_for:
        arrived.acquire(timeout=max(0.0, limit - monotonic()))


if sys.version_info < (3, 14):
    atexit.register(still_others)  # among the first to be registered, hence among the last to be called
