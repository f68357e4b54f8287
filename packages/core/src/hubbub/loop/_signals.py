"""Signals of the main thread: Python's own handlers, and the wake-up descriptor that ends a poll at once."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hubbub.loop.watchers import Signal

__all__ = ["SignalTable", "WakeupDescriptor"]


class SignalTable:
    """Which watchers want which signal. The previous handler comes back when the last one stops."""

    def __init__(self) -> None:
        self._watchers: dict[int, list[Signal]] = {}
        self._previous: dict[int, Any] = {}

    def add(self, number: int, watcher: Signal) -> None:
        """:raises ValueError: not in the main thread (:func:`signal.signal`)."""
        if number not in self._watchers:
            self._previous[number] = signal.signal(number, self._arrived)
            self._watchers[number] = []
        self._watchers[number].append(watcher)

    def remove(self, number: int, watcher: Signal) -> None:
        """Undo :meth:`add`."""
        watchers = self._watchers[number]
        watchers.remove(watcher)
        if not watchers:
            del self._watchers[number]
            previous = self._previous.pop(number)
            if signal.getsignal(number) == self._arrived:
                signal.signal(number, previous if previous is not None else signal.SIG_DFL)

    def clear(self) -> None:
        """In the child after ``fork``: the parent's watchers are gone, the previous handlers come back."""
        for number, watchers in list(self._watchers.items()):
            for watcher in list(watchers):
                self.remove(number, watcher)

    def _arrived(self, number: int, frame: object) -> None:
        # Runs between two bytecodes of the main thread; the wake-up descriptor has ended a poll already.
        for watcher in self._watchers.get(number, ()):
            watcher.feed()


class WakeupDescriptor:
    """Has the interpreter write a byte to a socket of the loop whenever a signal arrives (signal.set_wakeup_fd)."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._installed = False

    def install(self) -> None:
        """Take over, if this is the main thread and nobody else has a descriptor there."""
        try:
            previous = signal.set_wakeup_fd(self._fd, warn_on_full_buffer=False)
        except ValueError:
            return  # not the main thread: it gets no signals
        if previous in (-1, self._fd):
            self._installed = True
        else:
            signal.set_wakeup_fd(previous)

    def restore(self) -> None:
        """Give it back, unless somebody has put another one there since."""
        if not self._installed:
            return
        self._installed = False
        try:
            current = signal.set_wakeup_fd(-1)
        except ValueError:
            return  # destroyed from another thread
        if current not in (-1, self._fd):
            signal.set_wakeup_fd(current)
