"""Mutexes for what native threads share."""

from __future__ import annotations

import sys
from typing import ClassVar

from hubbub._at_fork import at_fork
from hubbub._identity import Reduce, refuse_copies
from hubbub._originals import RLock

__all__ = ["Mutex", "module_mutex"]

if sys.version_info[:2] == (3, 14):

    class Mutex(RLock):  # type: ignore[misc]  # typeshed says that it is final
        """A native RLock that a signal handler that raises never leaves held.

        CPython 3.14 runs signal handlers after the call of an ``__enter__`` written in C and before the block begins.
        What a handler raises there would leave the lock held for ever, and every other thread would wait for it.
        """

        __slots__ = ()
        __reduce_ex__: ClassVar[Reduce] = refuse_copies

        def __enter__(self) -> bool:  # type: ignore[override]  # typeshed takes it for acquire
            for _ in iter(self.acquire, None):  # a step of an iterator: nothing runs between it and the return
                break
            return True

else:
    Mutex = RLock


def module_mutex() -> Mutex:
    """A mutex for a module. In the child after a fork nobody holds it but, perhaps, the thread that forked."""
    made = Mutex()

    def after_fork_in_child() -> None:
        if not made._is_owned():  # type: ignore[attr-defined]  # typeshed has it not
            made._at_fork_reinit()  # type: ignore[attr-defined]  # typeshed has it not

    at_fork(in_child=after_fork_in_child)
    return made
