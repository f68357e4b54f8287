"""Native threads that run greenlets while the interpreter ends.

Before version 3.14 CPython ends a daemon thread that asks for the GIL then by pthread_exit(3). That unwinds the C stack
of the thread through the frames of greenlets, which give back references without the GIL: the heap is in disorder, and
the process crashes. So such threads are made to stand still before, as later versions do it to all daemon threads.

Not before the exit functions, which may wait for a thread: one of them joins that of a queue of multiprocessing. When
all have been called, :mod:`atexit` drops their arguments, and only then the interpreter begins to refuse the GIL. So it
is done by the destructor of an argument.
"""

from __future__ import annotations

import atexit
import contextlib
import sys
from typing import TYPE_CHECKING

from hubbub._current import get_hub_if_exists, hubs
from hubbub._originals import allocate_lock, monotonic, sleep
from hubbub.exceptions import LoopDestroyed

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE = 0.05
"""For how many seconds the end waits for threads that compute, or that wait for something other than their hub."""
FOR_EVER = 10 * 365 * 86400
"""Longer than a process lives: seconds, which every system's sleep takes."""


def _stand_still(arrive: Callable[[], None]) -> None:
    """Runs in the hub of another thread, and never returns."""
    arrive()
    sleep(FOR_EVER)


def still_others() -> None:
    """Have the hubs of all other threads stand still."""
    mine = get_hub_if_exists()
    waited_for = []
    for hub in hubs():
        if hub is not mine and "loop" in hub.__dict__:  # else it is being made
            arrived = allocate_lock()
            arrived.acquire()
            with contextlib.suppress(LoopDestroyed):
                hub.loop.run_callback_threadsafe(_stand_still, arrived.release)
                waited_for.append(arrived)
    limit = monotonic() + PATIENCE
    for arrived in waited_for:
        arrived.acquire(timeout=max(0.0, limit - monotonic()))


class _LastOfAll:
    """The argument of an exit function."""

    def __del__(self) -> None:
        # Code that clears the exit functions, or calls them early as a child of multiprocessing does, calls this too.
        if sys._getframe().f_back is None:
            still_others()


def _nothing(_: _LastOfAll) -> None:
    """The exit function: what is done comes after it."""


if sys.version_info < (3, 14):
    atexit.register(_nothing, _LastOfAll())
