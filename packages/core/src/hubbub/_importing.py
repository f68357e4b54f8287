"""Imports in the middle of other work, for which forks wait.

If one thread forks while another one imports a module, the child can never import that module: its lock stays held by
a thread that the child does not have. So imports at first use are made under :data:`importing`.
"""

from __future__ import annotations

from types import TracebackType

from hubbub._at_fork import at_fork
from hubbub._mutex import Mutex
from hubbub._originals import get_ident, monotonic, sleep

__all__ = ["Importing", "importing"]

_PAUSE = 0.001


class Importing:
    """A context for imports. Any number of threads may be in it, each several times; a fork waits for other threads.

    Threads that import never wait for each other here: they may do so in the import system already, in another order.
    """

    def __init__(self) -> None:
        self.patience: float = 5.0
        """Seconds that a fork waits at most: other threads may wait for an import that the forking thread is in."""
        self._changing = Mutex()
        """Held while threads are counted, and all through a fork. Re-entrant, because signal handlers may import."""
        self._threads: list[int] = []
        """The threads that are inside, once for each time that they entered."""

    def __enter__(self) -> None:
        with self._changing:
            self._threads.append(get_ident())

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        with self._changing:
            self._threads.remove(get_ident())

    def before_fork(self) -> None:
        """Wait until no other thread imports, and let none begin."""
        self._changing.acquire()
        end = monotonic() + self.patience
        while self._others() and monotonic() < end:
            self._changing.release()
            try:
                sleep(_PAUSE)
            finally:
                self._changing.acquire()

    def _others(self) -> bool:
        own = get_ident()
        return any(thread != own for thread in self._threads)

    def after_fork_in_parent(self) -> None:
        """Let others import again."""
        self._changing.release()

    def after_fork_in_child(self) -> None:
        """Forget the other threads, which the child does not have, and let imports begin again."""
        own = get_ident()
        self._threads = [thread for thread in self._threads if thread == own]
        self._changing.release()


importing: Importing = Importing()

at_fork(
    before=importing.before_fork,
    in_parent=importing.after_fork_in_parent,
    in_child=importing.after_fork_in_child,
)
