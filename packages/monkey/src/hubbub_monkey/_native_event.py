"""Events that block the native thread, with all its greenlets, which is what debuggers need."""

from __future__ import annotations

import queue

try:
    from _queue import SimpleQueue
except ImportError:  # PyPy's is written in Python
    from queue import SimpleQueue

__all__ = ["NativeEvent"]


class NativeEvent:
    """What a debugger needs of :class:`threading.Event`. Its ``wait`` blocks the native thread with all greenlets."""

    def __init__(self) -> None:
        self._flag: SimpleQueue[None] = SimpleQueue()  # an item, or several, while it is set

    def _at_fork_reinit(self) -> None:
        """In the child after a fork: there are no waiters."""
        NativeEvent.__init__(self)

    def is_set(self) -> bool:
        """Whether it is set."""
        return not self._flag.empty()

    isSet = is_set  # as threading.Event calls it too

    def set(self) -> None:
        """Set it, and wake all that wait."""
        if self._flag.empty():
            self._flag.put(None)

    def clear(self) -> None:
        """Make later calls of :meth:`wait` wait for the next :meth:`set`."""
        while not self._flag.empty():
            self._take(0.0)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set, at most ``timeout`` seconds. Returns whether it is."""
        if not self._take(timeout):
            return False
        self._flag.put(None)
        return True

    def _take(self, timeout: float | None) -> bool:
        try:
            self._flag.get(timeout=timeout)
        except queue.Empty:
            return False
        return True
