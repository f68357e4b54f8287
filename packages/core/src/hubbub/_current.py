"""The hub of each native thread. It is made when the thread first needs one, and ends with the thread."""

from __future__ import annotations

import gc
import os
import sys
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING

from hubbub import _config, plugins
from hubbub._originals import get_ident, local
from hubbub._originals import sleep as _native_sleep
from hubbub._twins import known_to_c
from hubbub._weak import snapshot
from hubbub.exceptions import HubDestroyed

if TYPE_CHECKING:
    from hubbub.hub import Hub

__all__ = [
    "all_hubs",
    "drop_foreign_hubs",
    "forget_hub",
    "get_hub",
    "get_hub_if_exists",
    "hub_class",
    "hub_made",
    "hubs",
    "make_way",
    "set_hub",
]


class _ThreadState(local):
    hub: Hub
    guard: _ThreadGuard
    making = False


class _ThreadGuard:
    """Ends the hub with its thread.

    The interpreter drops the thread's sentinel then, an object of :func:`_sentinel`, and calls what watches it in that
    very thread. The guard itself, or the dict of local storage that it lives in, would not do: a list of all objects
    (:func:`gc.get_objects`) that another thread made just then would keep it, and end the hub in that thread later,
    where greenlets of the ended one can not be unwound any more.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub: Hub | None = hub
        self._pid = os.getpid()
        self._storage = local()  # where the interpreter has a sentinel for each local storage, it goes with this one
        self._watch: weakref.ref[object] | None = None
        if (sentinel := _sentinel(self._storage)) is not None:
            self._watch = weakref.ref(sentinel, self._thread_ends)
            _guards.add(self)

    def forget(self) -> None:
        self._hub = self._watch = None
        _guards.discard(self)

    def _thread_ends(self, _: object) -> None:
        hub = self._hub
        self.forget()
        if hub is None or sys.is_finalizing():
            return
        if self._pid == os.getpid() and not hub.destroyed:
            thread = (self._pid, get_ident())
            _ending.add(thread)
            try:
                hub.end()
            finally:
                _ending.discard(thread)

    def __del__(self) -> None:
        if self._watch is None and self._hub is not None:  # this interpreter shows no sentinel
            self._thread_ends(None)


def _sentinel(storage: local) -> object | None:
    """What stands for this thread in ``storage``, new and of this thread alone: the interpreter drops it as the thread
    ends, and lists it nowhere. None if this interpreter has nothing of the kind."""
    for part in gc.get_referents(storage):
        if isinstance(part, dict | set):
            for entry in part:
                if isinstance(entry, weakref.ref):
                    return entry()
    return None


_state = _ThreadState()
hub_class: list[type[Hub]] = []
"""Its one entry is the class of hubs made from now on. :mod:`hubbub.hub` sets it."""
hub_made: list[Callable[[Hub], object]] = []
"""Called with each hub that a thread gets from :func:`get_hub`."""
_guards: set[_ThreadGuard] = set()
"""The guards that watch a sentinel."""
_ending: set[tuple[int, int]] = set()
"""The threads whose hubs their guards are ending: another hub would have no guard that ends it. With their process: in
the child of a fork the number of such a thread may be that of a new one."""
all_hubs: weakref.WeakSet[Hub] = weakref.WeakSet()
"""The hubs that have not ended. Each hub adds itself."""


@known_to_c
def get_hub() -> Hub:
    """The hub of this thread; made if there is none yet.

    :raises HubDestroyed: the thread is ending, and its hub with it.
    """
    try:
        return _state.hub
    except AttributeError:
        pass
    return _make_hub()  # out here, so that its errors do not tell of the AttributeError


def get_hub_if_exists() -> Hub | None:
    """The hub of this thread, or None."""
    return getattr(_state, "hub", None)


def set_hub(hub: Hub | None) -> None:
    """Make ``hub`` the hub of this thread, or leave the thread without one.

    The hub that it had is not destroyed, not even when the thread ends: that is the caller's now.
    """
    if get_hub_if_exists() is not None:
        _state.guard.forget()
        del _state.hub
    if hub is not None:
        _state.hub = hub
        _state.guard = _ThreadGuard(hub)


def forget_hub(hub: Hub) -> None:
    """If ``hub`` is the hub of this thread, leave the thread without one."""
    if get_hub_if_exists() is hub:
        set_hub(None)


def hubs() -> list[Hub]:
    """The hubs of all threads."""
    return snapshot(lambda: all_hubs)


def drop_foreign_hubs() -> Hub | None:
    """In the child after a fork: abandon the hubs of the other threads, which are gone. Returns this thread's hub."""
    mine = get_hub_if_exists()
    for other in hubs():
        if other is not mine:
            all_hubs.discard(other)
            other.loop.abandon()
    if mine is not None:
        _state.guard.forget()
        _state.guard = _ThreadGuard(mine)
    return mine


@known_to_c
def make_way() -> bool:
    """For locks: if this thread is in the middle of making its hub, let other native threads run for a moment.

    Making a hub imports modules. Such an import may need a lock that another thread's import holds, and there is no
    hub to switch to yet.

    :returns: whether this thread is making its hub.
    """
    if _state.making:
        _native_sleep(0.001)
    return _state.making


def _make_hub() -> Hub:
    plugins.check_interpreter("a hub")
    if (os.getpid(), get_ident()) in _ending:
        raise HubDestroyed("the thread is ending, and its hub with it: it can have no other")
    _state.making = True
    try:
        _config.accelerate()
        hub = hub_class[0]()
        set_hub(hub)
        for told in hub_made:
            told(hub)
        return hub
    finally:
        _state.making = False
