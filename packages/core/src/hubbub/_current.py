"""Which hub a native thread has. It is made when the thread first needs one, and ended with the thread."""

from __future__ import annotations

import os
import sys
import weakref
from typing import TYPE_CHECKING

from hubbub import _config, plugins
from hubbub._originals import local
from hubbub._originals import sleep as _native_sleep
from hubbub._twins import known_to_c
from hubbub._weak import snapshot

if TYPE_CHECKING:
    from hubbub.hub import Hub

__all__ = [
    "all_hubs",
    "drop_foreign_hubs",
    "forget_hub",
    "get_hub",
    "get_hub_if_exists",
    "hub_class",
    "hubs",
    "make_way",
    "set_hub",
]


class _ThreadState(local):
    hub: Hub
    guard: _ThreadGuard
    making = False


class _ThreadGuard:
    """Lives in the thread's local storage, which the interpreter empties when the thread ends: so ends the hub."""

    def __init__(self, hub: Hub) -> None:
        self._hub: Hub | None = hub
        self._pid = os.getpid()

    def forget(self) -> None:
        self._hub = None

    def __del__(self) -> None:
        hub, self._hub = self._hub, None
        if hub is None or sys.is_finalizing():
            return
        if self._pid == os.getpid() and not hub.destroyed:
            hub.end()


_state = _ThreadState()
hub_class: list[type[Hub]] = []
"""The class of the hubs to come, as the one entry. :mod:`hubbub.hub` sets it."""
all_hubs: weakref.WeakSet[Hub] = weakref.WeakSet()
"""The hubs that have not ended. Each adds itself."""


@known_to_c
def get_hub() -> Hub:
    """The hub of this thread; made if there is none yet."""
    try:
        return _state.hub
    except AttributeError:
        return _make_hub()


def get_hub_if_exists() -> Hub | None:
    """The hub of this thread, or None."""
    return getattr(_state, "hub", None)


def set_hub(hub: Hub | None) -> None:
    """Make ``hub`` the hub of this thread. With None the thread has none any more; that one is not destroyed."""
    if hub is None:
        if get_hub_if_exists() is not None:
            _state.guard.forget()
            del _state.hub
        return
    _state.hub = hub
    _state.guard = _ThreadGuard(hub)


def forget_hub(hub: Hub) -> None:
    """If ``hub`` is the hub of this thread, the thread has none any more."""
    if get_hub_if_exists() is hub:
        set_hub(None)


def hubs() -> list[Hub]:
    """The hubs of all threads."""
    return snapshot(lambda: all_hubs)


def drop_foreign_hubs() -> Hub | None:
    """In the child after a fork: the hubs of the threads that are gone never run again. Returns this thread's hub."""
    mine = get_hub_if_exists()
    for other in hubs():
        if other is not mine:
            all_hubs.discard(other)
            other.loop.abandon()
    if mine is not None:
        _state.guard = _ThreadGuard(mine)
    return mine


def make_way() -> bool:
    """For locks: if this thread is only just making its hub, let native threads run for a moment.

    An import on the way may meet the lock of another thread's import, and there is no greenlet to switch to yet.

    :returns: whether it was so.
    """
    if _state.making:
        _native_sleep(0.001)
    return _state.making


def _make_hub() -> Hub:
    plugins.check_interpreter("a hub")
    _state.making = True
    try:
        _config.accelerate()
        hub = hub_class[0]()
        set_hub(hub)
        return hub
    finally:
        _state.making = False
