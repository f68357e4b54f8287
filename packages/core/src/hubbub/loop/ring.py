"""The Python half of the native loops: drives the dozen C functions that every ring backend implements.

C never calls Python. Its callbacks append pairs of integers (descriptor, events) to a ring in C memory, and ``poll``
hands the ring over when the call has returned: one crossing a turn, however many events there are.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable
from struct import Struct
from typing import Any, ClassVar

from hubbub._twins import known_to_c, mirrored
from hubbub.abc import Backend
from hubbub.exceptions import InvalidThreadUseError, LoopDestroyed

__all__ = ["RingBackend"]

_PAIR = Struct("ii")
_first_pair: Callable[[Any], Any] = _PAIR.unpack_from


@known_to_c
class RingBackend(Backend):
    """A backend that is a table of C functions. A package that has one sets ``ffi`` and ``lib``, perhaps ``flags``."""

    __slots__ = ("native",)

    ffi: ClassVar[Any]
    lib: ClassVar[Any]

    def __init__(self, flags: int = 0) -> None:
        self.flags = flags
        self._loop = self.ffi.NULL
        self.native: tuple[int, int, int, int, object] | None = None
        """The loop, its ``hb_poll``, ``hb_fired`` and ``hb_wake``, as addresses, for accelerators; and the object that
        keeps the loop's memory while a call may be under way. None while the backend is closed."""

    def open(self) -> None:
        """See :meth:`hubbub.abc.Backend.open`."""
        error = self.ffi.new("int *")
        loop = self.lib.hb_create(self.flags, error)
        if not loop:
            raise OSError(error[0], f"cannot create a {self.name} loop: {os.strerror(error[0])}")
        # Its memory is freed with the last reference, which a call in another thread may hold.
        self._loop = self.ffi.gc(loop, self.lib.hb_free)
        self._hb_poll = self.lib.hb_poll
        self._hb_arm = self.lib.hb_arm
        self._find_ring()
        poll, fired, wake = (self.ffi.addressof(self.lib, name) for name in ("hb_poll", "hb_fired", "hb_wake"))
        self.native = (self._address(loop), *map(self._address, (poll, fired, wake)), self._loop)

    def _address(self, pointer: Any) -> int:
        return int(self.ffi.cast("uintptr_t", pointer))

    def _find_ring(self) -> None:
        self._ring = self.lib.hb_fired(self._loop)
        self._first = self.ffi.buffer(self._ring, _PAIR.size) if self._ring else b""

    def close(self, forked: bool) -> None:
        """See :meth:`hubbub.abc.Backend.close`."""
        loop, self._loop = self._loop, self.ffi.NULL
        self.native = None
        if forked:
            if self.lib.hb_own(loop) == -errno.EBUSY:
                return  # its thread has vanished in the middle of a call: hb_free leaves alone what is the library's
            self.lib.hb_fork(loop)
        self._check(self.lib.hb_destroy(loop))

    def take_over(self) -> None:
        """See :meth:`hubbub.abc.Backend.take_over`."""
        self._check(self.lib.hb_own(self._loop))

    def _check(self, result: int) -> None:
        """Turn an error of the C table into an exception."""
        if result >= 0:
            return
        if not self._loop:
            raise LoopDestroyed(f"the {self.name} loop was destroyed")
        if result in (-errno.EPROTO, -errno.EBUSY):
            raise InvalidThreadUseError(f"the {self.name} loop belongs to another thread")
        raise OSError(-result, os.strerror(-result))

    @mirrored("turn.c")
    def poll(self, timeout: float) -> Iterable[tuple[int, int]]:
        """See :meth:`hubbub.abc.Backend.poll`."""
        count = self._hb_poll(self._loop, timeout)
        if count == 1:
            return (_first_pair(self._first),)
        if count > 0:
            # A copy: a signal handler may arm a descriptor, and the ring move, while somebody is still reading.
            pairs: Iterable[tuple[int, int]] = _PAIR.iter_unpack(bytes(self.ffi.buffer(self._ring, _PAIR.size * count)))
            return pairs
        if count:
            self._check(count)
        return ()

    def arm(self, fd: int, events: int) -> None:
        """See :meth:`hubbub.abc.Backend.arm`."""
        result = self._hb_arm(self._loop, fd, events)
        if result:
            self._find_ring()  # it may have moved, to have room for one more
            self._check(result)

    def forget(self, fd: int) -> None:
        """See :meth:`hubbub.abc.Backend.forget`."""
        result = self.lib.hb_forget(self._loop, fd)
        if result and result != -errno.ENOENT:
            self._check(result)

    def wake(self) -> bool:
        """See :meth:`hubbub.abc.Backend.wake`."""
        self.lib.hb_wake(self._loop)
        return True

    @property
    def interface(self) -> str:
        """The kernel interface in use, for instance ``epoll``.

        :raises LoopDestroyed: the backend is closed.
        """
        if not self._loop:
            raise LoopDestroyed(f"the {self.name} loop was destroyed")
        return bytes(self.ffi.string(self.lib.hb_backend(self._loop))).decode()

    def fileno(self) -> int:
        """The descriptor of the kernel interface, or -1."""
        return int(self.lib.hb_backend_fd(self._loop))

    def verify(self) -> None:
        """Check that the structures of the loop agree with one another; libev ends the process if its own do not.

        :raises LoopDestroyed: the backend is closed.
        :raises OSError: EFAULT: the structures of the C table do not agree.
        """
        self._check(self.lib.hb_verify(self._loop))
