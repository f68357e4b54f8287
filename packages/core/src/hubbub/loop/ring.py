"""The Python half of the native loops: drives the dozen C functions that every ring backend implements.

C never calls Python. Its callbacks append pairs of integers (key, events) to a ring in C memory, and ``poll`` hands the
ring over when the call has returned: one crossing a turn, however many events there are.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any, ClassVar

from hubbub.loop.base import BaseLoop

__all__ = ["RingLoop"]

_TIMER = 4
_STAT = 8


class RingLoop(BaseLoop):
    """A loop whose backend is a C table. A backend package sets ``ffi`` and ``lib``, and may choose ``flags``."""

    ffi: ClassVar[Any]
    lib: ClassVar[Any]

    def __init__(self, default: bool = False, flags: int = 0) -> None:
        self.flags = flags
        super().__init__(default)

    def _open(self) -> None:
        error = self.ffi.new("int *")
        loop = self.lib.hb_create(self.flags, error)
        if not loop:
            raise OSError(error[0], f"cannot create a {self.name} loop: {os.strerror(error[0])}")
        self._loop = loop
        self._hb_poll = self.lib.hb_poll
        self._hb_fired = self.lib.hb_fired
        self._unpack = self.ffi.unpack
        self._waiting = False

    def _close(self, forked: bool) -> None:
        loop, self._loop = self._loop, self.ffi.NULL
        if forked:
            self.lib.hb_fork(loop)
        self._check(self.lib.hb_destroy(loop))

    def _check(self, result: int) -> None:
        if result < 0:
            raise OSError(-result, os.strerror(-result))

    def poll(self, block: bool) -> Iterable[tuple[int, int]]:
        """See :meth:`hubbub.abc.Loop.poll`."""
        if block:
            self._waiting = True
            if self.ready:
                block = False
        count = self._hb_poll(self._loop, block)
        self._waiting = False
        if not count:
            return ()
        if count < 0:
            self._check(count)
        ring = self._unpack(self._hb_fired(self._loop), 2 * count)
        numbers = iter(ring)
        pairs = zip(numbers, numbers, strict=True)
        if max(ring[1::2]) < _TIMER:
            return pairs
        events = []
        due = []
        for key, bits in pairs:
            if bits == _TIMER:
                due.append(key)
            else:
                events.append((key, bits))
        self.due = due
        return events

    def arm(self, fd: int, events: int) -> None:
        """See :meth:`hubbub.abc.Loop.arm`."""
        result = self.lib.hb_arm(self._loop, fd, events)
        if result < 0:
            self._check(result)

    def forget(self, fd: int) -> None:
        """See :meth:`hubbub.abc.Loop.forget`."""
        self.lib.hb_forget(self._loop, fd)

    def timer_start(self, key: int, after: float, repeat: float) -> None:
        """See :meth:`hubbub.abc.Loop.timer_start`."""
        result = self.lib.hb_timer_start(self._loop, key, after, repeat)
        if result < 0:
            self._check(result)

    def timer_stop(self, key: int) -> None:
        """See :meth:`hubbub.abc.Loop.timer_stop`."""
        self.lib.hb_timer_stop(self._loop, key)

    def wake(self) -> None:
        """End a waiting poll. From any thread."""
        if self._waiting:
            self._waiting = False
            self.lib.hb_wake(self._loop)

    def now(self) -> float:
        """The time of the last poll or :meth:`update_now`, in seconds of :func:`time.monotonic`."""
        return float(self.lib.hb_now(self._loop))

    def update_now(self) -> float:
        """Read the clock."""
        return float(self.lib.hb_update_now(self._loop))

    @property
    def backend(self) -> str:
        """The kernel interface in use, for instance ``epoll``."""
        return bytes(self.ffi.string(self.lib.hb_backend(self._loop))).decode()

    def fileno(self) -> int:
        """The descriptor of the kernel interface, or -1."""
        return int(self.lib.hb_backend_fd(self._loop))
