"""Signals of the main thread: Python's own handlers, and the wake-up descriptor that ends a poll at once."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from greenlet import greenlet

from hubbub._originals import socket, socketpair
from hubbub._originals import write as _write

if TYPE_CHECKING:
    from hubbub.loop.watchers import Signal

__all__ = ["SignalTable", "Waker", "WakeupDescriptor", "waker_pair"]


# The originals: patching replaces some of them in their modules.
_signal = signal.signal
_getsignal = signal.getsignal
_set_wakeup_fd = signal.set_wakeup_fd
_ours: set[int] = set()
"""The descriptors that loops have set."""


class Waker(socket):
    """The end of a socket pair that other threads write to.

    No code closes it: it closes itself with its last reference, which a thread in the middle of a wake-up may hold. So
    that thread cannot write to another file that has got the number.
    """

    def __del__(self) -> None:
        self.close()


def waker_pair() -> tuple[socket, Waker]:
    """Two non-blocking sockets: bytes written to the second wake the loop that watches the first."""
    reader, writer = socketpair()
    reader.setblocking(False)
    writer.setblocking(False)
    return reader, Waker(writer.family, writer.type, writer.proto, writer.detach())


class SignalTable:
    """Which watchers want which signal. The previous handler comes back when the last watcher of a signal stops."""

    def __init__(self) -> None:
        self._watchers: dict[int, list[Signal]] = {}
        self._previous: dict[int, Any] = {}

    def add(self, number: int, watcher: Signal) -> None:
        """:raises ValueError: not in the main thread (:func:`signal.signal`)."""
        if number not in self._watchers:
            self._previous[number] = _signal(number, self._arrived)
            self._watchers[number] = []
        self._watchers[number].append(watcher)

    def remove(self, number: int, watcher: Signal) -> None:
        """Undo :meth:`add`."""
        watchers = self._watchers[number]
        watchers.remove(watcher)
        if not watchers:
            del self._watchers[number]
            previous = self._previous.pop(number)
            if _getsignal(number) == self._arrived:
                _signal(number, previous if previous is not None else signal.SIG_DFL)

    def clear(self) -> None:
        """In the child after ``fork``: the parent's watchers are gone, the previous handlers come back."""
        for number, watchers in list(self._watchers.items()):
            for watcher in list(watchers):
                self.remove(number, watcher)

    def _arrived(self, number: int, frame: object) -> None:
        # Runs between two bytecodes of the main thread. The wake-up descriptor has ended a poll already, if it is ours.
        for watcher in self._watchers.get(number, ()):
            watcher.feed()
            watcher.loop.wake()


class WakeupDescriptor:
    """Makes the interpreter write a byte to a socket of the loop whenever a signal arrives (signal.set_wakeup_fd).

    It forwards the bytes to a descriptor that other code had set before.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.installed: bool = False
        self.other: int = -1
        """The descriptor that other code has set; -1: none."""
        self._beside: WeakKeyDictionary[greenlet, tuple[int, tuple[int, int]]] = WeakKeyDictionary()

    def install(self) -> None:
        """Take over, if this is the main thread."""
        try:
            previous = _set_wakeup_fd(self._fd, warn_on_full_buffer=False)
        except ValueError:
            return  # not the main thread: it gets no signals
        self.installed = True
        if previous not in _ours:
            self.other = previous
        _ours.add(self._fd)

    def pass_on(self, data: bytes) -> None:
        """Forward the bytes from the interpreter. Zeros are from threads that wanted the poll to end."""
        numbers = data.replace(b"\0", b"")
        if not numbers:
            return
        for fd in (self.other, *self._others()):
            if fd >= 0:
                try:
                    _write(fd, numbers)
                except OSError:
                    pass  # full or closed: its owner does not read it

    def set_for(self, owner: greenlet, fd: int) -> int:
        """Forward the bytes to ``fd`` too, on behalf of ``owner``, until that greenlet ends; -1: no longer.

        :returns: the descriptor that the owner had set before, or -1.
        """
        before = self._beside.pop(owner, (-1, (0, 0)))[0]
        if fd >= 0:
            self._beside[owner] = fd, _file(fd)
        return before

    def _others(self) -> list[int]:
        """The descriptors of :meth:`set_for`, without closed ones, whose numbers other files may have by now."""
        return [fd for fd, file in list(self._beside.values()) if _file(fd) == file]

    def restore(self) -> None:
        """Set the previous descriptor again, unless other code has set another one since."""
        _ours.discard(self._fd)
        if not self.installed:
            return
        self.installed = False
        try:
            current = _set_wakeup_fd(self.other)
        except ValueError:
            return  # destroyed from another thread
        except OSError:
            self.other = -1  # its owner has closed it
            current = _set_wakeup_fd(-1)
        if current not in (self.other, self._fd):
            _set_wakeup_fd(current)


def _file(fd: int) -> tuple[int, int]:
    """Device and inode of a descriptor's file."""
    try:
        found = os.fstat(fd)
    except OSError:
        return -1, -1
    return found.st_dev, found.st_ino


class Wrapped:
    """What the interpreter calls in the place of a handler that the user has set."""

    __slots__ = ("handler",)

    def __init__(self, handler: Any) -> None:
        self.handler: Any = handler

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.handler!r}>"


class Bystander(Wrapped):
    """A handler that wakes no greenlet, such as a test runner's time limit: waiting for it alone is a deadlock."""

    __slots__ = ()

    def __call__(self, number: int, frame: Any) -> Any:
        """Call the handler."""
        return self.handler(number, frame)


def handlers_may_wake() -> bool:
    """Whether a handler in Python is set that could wake the main greenlet.

    Python's own handler of Ctrl-C, a :class:`Bystander` and the handler of the loop's watchers do not count; the
    watchers count by their ``ref``.
    """
    return any(_may_wake(_getsignal(number)) for number in range(1, signal.NSIG))


def _may_wake(handler: Any) -> bool:
    while isinstance(handler, Wrapped) and not isinstance(handler, Bystander):
        handler = handler.handler
    if handler is None or isinstance(handler, (int, Bystander)) or handler is signal.default_int_handler:
        return False  # nothing that could wake a greenlet; SIG_DFL and SIG_IGN are integers
    return not isinstance(getattr(handler, "__self__", None), SignalTable)
