"""Mutexes that belong to a module."""

from __future__ import annotations

from hubbub._at_fork import at_fork
from hubbub._originals import RLock

__all__ = ["module_mutex"]


def module_mutex() -> RLock:
    """A mutex for a module. In the child after a fork nobody holds it but, perhaps, the thread that forked."""
    made = RLock()

    def after_fork_in_child() -> None:
        if not made._is_owned():  # type: ignore[attr-defined]  # typeshed has it not
            made._at_fork_reinit()  # type: ignore[attr-defined]  # typeshed has it not

    at_fork(in_child=after_fork_in_child)
    return made
