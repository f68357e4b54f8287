"""Starting resolvers anew in the child of a fork, also those that no hub knows of.

A module that another thread is importing at the time of a fork can never be imported in the child. So the modules that
a lookup needs are imported with its resolver, and the rest under :data:`hubbub.plugins.importing`, for which a fork
waits.
"""

from __future__ import annotations

from weakref import WeakSet

from hubbub.abc import Resolver
from hubbub.lowlevel import at_fork

__all__ = ["reinit_after_fork"]

"\xe4".encode("idna")  # the codec, and what it imports at its first use; the system's functions use it too

_resolvers: WeakSet[Resolver] = WeakSet()


def reinit_after_fork(resolver: Resolver) -> None:
    """Call ``resolver.reinit()`` in children of this process."""
    _resolvers.add(resolver)


def _reinit_all() -> None:
    for resolver in list(_resolvers):
        resolver.reinit()


at_fork(in_child=_reinit_all)
