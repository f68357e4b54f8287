"""The Python half of the native loops: drives the dozen C functions that every ring backend implements.

C never calls Python. Its callbacks append pairs of integers (key, events) to a ring in C memory, and ``poll`` hands the
ring over when the call has returned: one crossing a turn, however many events there are.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from hubbub.loop.base import BaseLoop

__all__ = ["RingLoop"]

_TIMER = 4


class RingLoop(BaseLoop):
    """A loop whose backend is a C table. A backend package sets ``ffi`` and ``lib``, and may choose ``flags``."""

    ffi: ClassVar[Any]
    lib: ClassVar[Any]

    _callbacks: list[Callable[[], Any] | None] = []  # noqa: RUF012  # what _open finds at first; never changed

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
        self._hb_timer_start = self.lib.hb_timer_start
        self._hb_timer_stop = self.lib.hb_timer_stop
        # After a fork slots keep their numbers, so that a key from before it names no timer at all.
        self._callbacks = [None] * len(self._callbacks)
        self._free: list[int] = list(range(len(self._callbacks)))
        self._repeating: set[int] = set()
        self._unref_slots: set[int] = set()

    def _close(self, forked: bool) -> None:
        loop, self._loop = self._loop, self.ffi.NULL
        if forked:
            self.lib.hb_fork(loop)
        self._check(self.lib.hb_destroy(loop))
        self._callbacks = [None] * len(self._callbacks)  # nobody may stop a timer of a loop that is gone

    def _leave(self) -> None:
        # The library may have been in the middle of anything: what it holds is left alone.
        self._loop = self.ffi.NULL
        self._callbacks = [None] * len(self._callbacks)

    def _check(self, result: int) -> None:
        if result < 0:
            raise OSError(-result, os.strerror(-result))

    def poll(self, timeout: float) -> Iterable[tuple[int, int]]:
        """See :meth:`hubbub.abc.Loop.poll`. The library knows its timers: it waits for them, or not at all."""
        count = self.lib.hb_poll_for(self._loop, timeout) if timeout > 0.0 else self._hb_poll(self._loop, timeout < 0.0)
        if not count:
            return ()
        if count < 0:
            self._check(count)
        ring = self._unpack(self._hb_fired(self._loop), 2 * count)
        numbers = iter(ring)
        pairs = zip(numbers, numbers)  # noqa: B905  # strict costs, and the ring holds pairs
        if not self._callbacks:
            return pairs
        events = []
        for key, bits in pairs:
            if bits == _TIMER:
                self._timer_fired(key)
            else:
                events.append((key, bits))
        return events

    # Timers: the keys are slots of the C table, their callbacks are kept here ---------------------------------------

    def call_later(self, after: float, callback: Callable[[], Any], repeat: float = 0.0, ref: bool = True) -> Any:
        """See :meth:`hubbub.loop.base.BaseLoop.call_later`."""
        free = self._free
        slot = free.pop() if free else len(self._callbacks)
        result = self._hb_timer_start(self._loop, slot, after, repeat)
        if result < 0:
            if slot < len(self._callbacks):
                free.append(slot)
            self._check(result)
        if slot == len(self._callbacks):
            self._callbacks.append(callback)
        else:
            self._callbacks[slot] = callback
        if repeat:
            self._repeating.add(slot)
        if not ref:
            self._unref_slots.add(slot)
        return slot

    def cancel_later(self, key: Any, callback: Callable[[], Any]) -> None:
        """See :meth:`hubbub.loop.base.BaseLoop.cancel_later`."""
        if self._callbacks[key] is callback:
            self._hb_timer_stop(self._loop, key)
            self._release(key)
        elif self.ready:
            self.unschedule(callback)

    def timer_runs(self, key: Any, callback: Callable[[], Any]) -> bool:
        """Whether the timer that was started with ``callback`` is still running."""
        return self._callbacks[key] is callback

    def ref_timer(self, key: Any, ref: bool) -> None:
        """Let a running timer count, or not, as a reason to go on."""
        if ref:
            self._unref_slots.discard(key)
        else:
            self._unref_slots.add(key)

    def _timer_fired(self, slot: int) -> None:
        callback = self._callbacks[slot]
        if callback is not None:
            self.ready.append(callback)
            if slot not in self._repeating:
                self._release(slot)

    def _release(self, slot: int) -> None:
        self._callbacks[slot] = None
        self._free.append(slot)
        if self._repeating:
            self._repeating.discard(slot)
        if self._unref_slots:
            self._unref_slots.discard(slot)

    def timer_count(self) -> int:
        """How many timers are running."""
        return len(self._callbacks) - len(self._free)

    def _timers_alive(self) -> bool:
        return self.timer_count() > len(self._unref_slots)

    def arm(self, fd: int, events: int) -> None:
        """See :meth:`hubbub.abc.Loop.arm`."""
        result = self.lib.hb_arm(self._loop, fd, events)
        if result < 0:
            self._check(result)

    def forget(self, fd: int) -> None:
        """See :meth:`hubbub.abc.Loop.forget`."""
        self.lib.hb_forget(self._loop, fd)

    def wake(self) -> None:
        """End a waiting poll. From any thread."""
        if self._waiting:
            self._waiting = False
            self.lib.hb_wake(self._loop)

    @property
    def backend(self) -> str:
        """The kernel interface in use, for instance ``epoll``."""
        return bytes(self.ffi.string(self.lib.hb_backend(self._loop))).decode()

    def fileno(self) -> int:
        """The descriptor of the kernel interface, or -1."""
        return int(self.lib.hb_backend_fd(self._loop))
