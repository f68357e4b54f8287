"""Resolvers start anew in the child of a fork, also those that no hub knows of.

A module that another thread is importing at the time of a fork can never be imported in the child: its lock stays held.
So what a look-up needs is imported with its resolver, and the rest under :data:`loading`, for which a fork waits.
"""

from __future__ import annotations

import os
from weakref import WeakSet

from hubbub.abc import Resolver
from hubbub.lowlevel import NativeRLock

__all__ = ["loading", "reinit_after_fork"]

loading = NativeRLock()
"""Held while modules are imported in the middle of a look-up. Nothing may wait meanwhile."""
"\xe4".encode("idna")  # the codec, and what it imports at its first use; the system's functions use it too

_resolvers: WeakSet[Resolver] = WeakSet()


def reinit_after_fork(resolver: Resolver) -> None:
    """Call ``resolver.reinit()`` in children of this process."""
    _resolvers.add(resolver)


def _reinit_all() -> None:
    for resolver in list(_resolvers):
        resolver.reinit()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=loading.acquire, after_in_parent=loading.release, after_in_child=loading.release)
    os.register_at_fork(after_in_child=_reinit_all)
