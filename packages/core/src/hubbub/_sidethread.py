"""Native threads that only look on: they wake no greenlet, so no hub waits for them, and a deadlock stays a LoopExit.

They run no code of the program's and use nothing that patching replaces.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from hubbub._originals import allocate_lock, start_new_thread
from hubbub._reports import complain
from hubbub._workers import side_threads

__all__ = ["SideThread"]


class SideThread:
    """A native thread that runs ``function`` until that returns. It never keeps the process from ending.

    :param name: for the report if ``function`` fails.
    """

    def __init__(self, function: Callable[[], object], name: str) -> None:
        self._function = function
        self._name = name
        self._pid = os.getpid()
        self.stopping = False
        """Whether it was told to stop."""
        self._stop = allocate_lock()  # held until then
        self._stop.acquire()
        self._ended = allocate_lock()  # held while it runs
        self._started = False

    def start(self) -> None:
        """Begin. Once.

        :raises RuntimeError: the system refuses a thread.
        """
        self._ended.acquire()
        start_new_thread(self._run, ())
        self._started = True

    def _run(self) -> None:
        # Counted from here until its end: a hub that looks too early or too late waits a moment longer, and no less.
        side_threads.add(self)
        try:
            self._function()
        except BaseException as error:
            complain(self._name, error)
        finally:
            side_threads.discard(self)
            self._ended.release()

    def pause(self, seconds: float) -> bool:
        """Called by the function: wait.

        :returns: False at once when it is told to stop.
        """
        return not (self.stopping or self._stop.acquire(True, seconds))

    def stop(self, wait: bool = True) -> None:
        """Tell it to stop, and wait for its end. Harmless if it has ended, and in the child of a fork, where it is not.

        :param wait: False: do not wait for its end. For code that runs in the thread itself.
        """
        if not self.stopping:
            self.stopping = True
            self._stop.release()
        if wait and self._started and self._pid == os.getpid():
            with self._ended:
                pass
