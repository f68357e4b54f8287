"""Cooperative sockets with numeric addresses, and waiting for the readiness of any descriptor.

:class:`Socket` is a :class:`socket.socket`: non-blocking inside, waiting like a blocking one outside. It does no
lookups: addresses are numeric. ``hubbub_net.socket`` adds names, and the rest of the module.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from operator import index
from typing import TYPE_CHECKING, Any, TypeVar

from hubbub._looking import is_ready
from hubbub._originals import get_ident, monotonic
from hubbub._twins import mirrored, twin
from hubbub.abc import WRITE, Address
from hubbub.exceptions import LoopDestroyed
from hubbub.hub import get_hub, get_hub_if_exists, hubs, sleep
from hubbub.loop.base import BaseLoop
from hubbub.loop.readiness import Direction, Readiness

if TYPE_CHECKING:
    from typing import Self

    from _typeshed import ReadableBuffer, WriteableBuffer

__all__ = ["Socket", "close", "closing", "wait_readable", "wait_writable"]

T = TypeVar("T")
_OWN: Any = object()
_DONTWAIT = int(getattr(socket, "MSG_DONTWAIT", 0))  # the constant itself is an enum, whose & takes 3 us in Python
_WAITALL = int(getattr(socket, "MSG_WAITALL", 0))
_TOO_LONG = 2.0**63 / 1e9
"""Seconds: CPython counts a time limit in nanoseconds, of which it has 63 bits."""
_PEEK = int(getattr(socket, "MSG_PEEK", 0))
_NONBLOCK = int(getattr(socket, "SOCK_NONBLOCK", 0))
# The originals: patching replaces them in their modules.
_Base = socket.socket
_os_close = os.close
_recv = _Base.recv
_recv_into = _Base.recv_into
_recvfrom = _Base.recvfrom
_send = _Base.send
_sendto: Callable[..., int] = _Base.sendto
_IN_BULK = 1 << 14
"""Bytes: of a stream of which so many have come at once, more comes while they are read. With a small window it comes
because they are read: each read lets the peer send, so that none gets all it asks for."""
_MOST_SKIPS = 15
"""After a read of a datagram found nothing: how many reads at most wait first before one tries at once again."""
_INTERNET = frozenset({int(socket.AF_INET), int(socket.AF_INET6)})
_EXPIRED = -1
_IN_PROGRESS = frozenset({errno.EINPROGRESS, errno.EALREADY, errno.EWOULDBLOCK, errno.EINTR})


class Socket(socket.socket):
    """A socket whose calls let other greenlets run while they wait. Arguments, results and errors are those of
    :class:`socket.socket`.

    Several greenlets may wait on one socket; ``close`` wakes all of them with EBADF. It may be used from the threads
    of several hubs.

    After a stream has returned less than was asked for, its receive buffer is empty, so the next ``recv`` waits first
    and reads then. That is not so when a hang-up or urgent data was seen, nor in bulk. A UNIX socket also returns less
    where ancillary data begins, and a datagram does not tell whether another is there: so both are watched
    level-triggered, and after a datagram the socket guesses from earlier reads whether to read or to wait first.
    """

    __slots__ = ("_limit", "_read", "_shortens", "_skip", "_skips", "_to_block", "_write")

    def __init__(self, family: int = -1, type: int = -1, proto: int = -1, fileno: int | None = None) -> None:
        self._read: Direction | None = None
        self._write: Direction | None = None
        super().__init__(family, type, proto, fileno)
        self._limit: float | None = 0.0 if type > 0 and type & _NONBLOCK else socket.getdefaulttimeout()
        super().setblocking(False)
        self._to_block = False
        self._shortens = _kind(self) == socket.SOCK_STREAM
        self._skip = self._skips = 0

    # Time limits ----------------------------------------------------------------------------------------------------

    def settimeout(self, value: float | None) -> None:
        """:meth:`socket.socket.settimeout`: None waits for ever, 0 never waits.

        :raises TypeError: ``value`` is no number.
        :raises ValueError: ``value`` is negative, or a NaN.
        :raises OverflowError: ``value`` is infinite, or above some 292 years.
        :raises OSError: EBADF, the socket is closed.
        """
        if value is not None:
            value = _as_limit(value)
        if self.fileno() < 0:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        self._limit = value

    def gettimeout(self) -> float | None:
        """Seconds, or None for no limit."""
        return self._limit

    @property
    def timeout(self) -> float | None:
        """Seconds, or None for no limit."""
        return self._limit

    def setblocking(self, flag: bool) -> None:
        """:meth:`socket.socket.setblocking`: whether calls wait."""
        super().setblocking(False)  # EBADF, if it is closed
        self._limit = None if flag else 0.0
        self._to_block = bool(flag)

    def getblocking(self) -> bool:
        """Whether calls wait."""
        return self._limit != 0.0

    # Waiting --------------------------------------------------------------------------------------------------------

    def wait_readable(self, timeout: float | None = _OWN) -> None:
        """Wait until an attempt to read is worth while. Returns at once if it is already.

        :param timeout: seconds, or None for no limit; the socket's own limit if not given.
        :raises TimeoutError: the time has run out.
        :raises OSError: EBADF, the socket was closed.
        """
        self._wait(self._read or self._open().read, self._limit if timeout is _OWN else timeout)

    def wait_writable(self, timeout: float | None = _OWN) -> None:
        """Wait until an attempt to write is worth while; as :meth:`wait_readable`."""
        self._wait(self._writer(), self._limit if timeout is _OWN else timeout)

    def readiness(self) -> Readiness:
        """The descriptor on the loop that this socket waits on, registered for reading from now on.

        For callers that wait for many descriptors at a time. The first wait decides which thread's loop it is.

        :raises OSError: EBADF, the socket was closed.
        """
        direction = self._read or self._open().read
        if not direction.armed:
            direction.loop.arm_direction(direction)
        return direction.handle

    def _wait(self, direction: Direction, timeout: float | None) -> None:
        """Wait for a caller that may not have tried to read or write before, and may not do so afterwards."""
        if not _is_ready_now(direction) and not direction.wait(timeout):
            raise TimeoutError("timed out")
        direction.ready = True

    def _await_read(self) -> None:
        """Wait after an attempt that found nothing."""
        if not (self._read or self._open().read).wait(self._limit):
            raise TimeoutError("timed out")

    def _await_write(self, timeout: float | None) -> None:
        if not self._writer().wait(timeout):
            raise TimeoutError("timed out")

    def _open(self) -> Readiness:
        """At the first wait: the descriptor on this thread's loop, which the socket waits on from now on."""
        fd = self.fileno()
        if fd < 0:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        handle = get_hub().loop.handle(fd)
        if not self._shortens or _family(self) not in _INTERNET:
            handle.always_level = True
        handle.adopt()
        self._read = handle.read
        return handle

    def _writer(self) -> Direction:
        if self._write is None:
            self._write = self._open().write if self._read is None else self._read.handle.write
        return self._write

    @mirrored("socket.c")
    def _after_read(self, read: Direction, short: bool) -> None:
        """Set whether the next read may try at once.

        :param short: the read returned something, but less than was asked for, and not in bulk.
        """
        if self._shortens:
            read.ready = not short or read.handle.sticky
        elif read.ready:  # it did not wait
            self._skips = 0
        elif self._skip:
            self._skip -= 1
            read.ready = not read.handle.level
        else:
            read.ready = True
        if read.ready and read.waiter is not None and not read.handle.level:
            read.fire()  # there may be something left for the waiter

    def _found_nothing(self) -> None:
        """After a read that did not wait has found nothing: the next reads wait first, more of them each time."""
        read = self._read
        if read is not None and read.ready:
            read.ready = False
            self._skips = self._skip = min(2 * self._skips + 1, _MOST_SKIPS)

    def _reading(self, call: Callable[..., T], *args: Any, flags: int = 0) -> T:
        """Make ``call``, and wait, until it succeeds; make it only once if ``flags`` have MSG_DONTWAIT."""
        while True:
            try:
                return call(self, *args)
            except BlockingIOError:
                if self._limit == 0.0 or flags & _DONTWAIT:
                    raise
            self._await_read()

    def _writing(self, call: Callable[..., T], *args: Any, flags: int = 0) -> T:
        while True:
            try:
                return call(self, *args)
            except BlockingIOError:
                if self._limit == 0.0 or flags & _DONTWAIT:
                    raise
            self._await_write(self._limit)

    def _waits_for_all(self, flags: int) -> bool:
        """Whether a read with ``flags`` waits until it has all that was asked for, as only blocking sockets do."""
        return (
            flags & (_WAITALL | _PEEK | _DONTWAIT) == _WAITALL
            and self._limit is None
            and self._shortens
            and _WAITALL > 0
        )

    def _receive_all(self, view: memoryview, flags: int) -> int:
        """Fill ``view``; less only at the end of the stream, or at an error after something has come (recv(2))."""
        flags &= ~_WAITALL
        count = self.recv_into(view, 0, flags) if len(view) else 0
        return count + self._receive_rest(view[count:], flags) if count else 0

    def _receive_rest(self, view: memoryview, flags: int) -> int:
        """After something has come: fill ``view``. Returns how many bytes came; less only as :meth:`_receive_all`."""
        count = 0
        while count < len(view):
            try:
                got = self.recv_into(view[count:], 0, flags)
            except OSError:
                break
            if not got:
                break
            count += got
        return count

    # Receiving ------------------------------------------------------------------------------------------------------
    # recv, recv_into and recvfrom repeat the same lines: a call of a helper would cost every read a frame.

    @twin("socket.c")
    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        """:meth:`socket.socket.recv`."""
        if flags and self._waits_for_all(flags):
            whole = bytearray(bufsize)
            return bytes(memoryview(whole)[: self._receive_all(memoryview(whole), flags)])
        read = self._read
        limit = self._limit
        if (
            read is not None
            and (not read.ready or read.waiter is not None)
            and limit != 0.0
            and not flags & _DONTWAIT
            and not read.wait(limit)
        ):
            raise TimeoutError("timed out")
        while True:
            try:
                data = _recv(self, bufsize, flags)
            except BlockingIOError:
                if self._limit == 0.0 or flags & _DONTWAIT:
                    raise
            else:
                if read is not None:
                    self._after_read(read, 0 < len(data) < bufsize and len(data) < _IN_BULK and not flags)
                return data
            self._found_nothing()
            self._await_read()
            read = self._read

    def recv_into(self, buffer: WriteableBuffer, nbytes: int = 0, flags: int = 0) -> int:
        """:meth:`socket.socket.recv_into`."""
        if flags and self._waits_for_all(flags):
            view = memoryview(buffer).cast("B")
            if 0 <= nbytes <= len(view):
                return self._receive_all(view[: nbytes or None], flags)
        read = self._read
        limit = self._limit
        if (
            read is not None
            and (not read.ready or read.waiter is not None)
            and limit != 0.0
            and not flags & _DONTWAIT
            and not read.wait(limit)
        ):
            raise TimeoutError("timed out")
        while True:
            try:
                count = _recv_into(self, buffer, nbytes, flags)
            except BlockingIOError:
                if self._limit == 0.0 or flags & _DONTWAIT:
                    raise
            else:
                if read is not None:
                    full = nbytes or memoryview(buffer).nbytes
                    self._after_read(read, 0 < count < full and count < _IN_BULK and not flags)
                return count
            self._found_nothing()
            self._await_read()
            read = self._read

    @twin("datagram.c")
    def recvfrom(self, bufsize: int, flags: int = 0, /) -> tuple[bytes, Address]:
        """:meth:`socket.socket.recvfrom`."""
        if flags and self._waits_for_all(flags):
            whole = memoryview(bytearray(bufsize))
            count, address = self.recvfrom_into(whole, 0, flags)
            return bytes(whole[:count]), address
        read = self._read
        limit = self._limit
        if (
            read is not None
            and (not read.ready or read.waiter is not None)
            and limit != 0.0
            and not flags & _DONTWAIT
            and not read.wait(limit)
        ):
            raise TimeoutError("timed out")
        while True:
            try:
                result = _recvfrom(self, bufsize, flags)
            except BlockingIOError:
                if self._limit == 0.0 or flags & _DONTWAIT:
                    raise
            else:
                if read is not None:
                    self._after_read(read, 0 < len(result[0]) < bufsize and len(result[0]) < _IN_BULK and not flags)
                return result
            self._found_nothing()
            self._await_read()
            read = self._read

    def recvfrom_into(self, buffer: WriteableBuffer, nbytes: int = 0, flags: int = 0) -> tuple[int, Address]:
        """:meth:`socket.socket.recvfrom_into`."""
        waits_for_all = flags and self._waits_for_all(flags)
        if waits_for_all:
            flags &= ~_WAITALL
        found: tuple[int, Address] = self._reading(_Base.recvfrom_into, buffer, nbytes, flags, flags=flags)
        if waits_for_all and found[0]:
            view = memoryview(buffer).cast("B")
            found = found[0] + self._receive_rest(view[found[0] : nbytes or None], flags), found[1]
        return found

    def recvmsg(self, bufsize: int, ancbufsize: int = 0, flags: int = 0, /) -> Any:
        """:meth:`socket.socket.recvmsg`."""
        if flags and self._waits_for_all(flags):
            whole = memoryview(bytearray(bufsize))
            count, *rest = self.recvmsg_into([whole], ancbufsize, flags)
            return bytes(whole[:count]), *rest
        return self._reading(_Base.recvmsg, bufsize, ancbufsize, flags, flags=flags)

    def recvmsg_into(self, buffers: Any, ancbufsize: int = 0, flags: int = 0, /) -> Any:
        """:meth:`socket.socket.recvmsg_into`."""
        buffers = list(buffers)
        waits_for_all = flags and self._waits_for_all(flags)
        if waits_for_all:
            flags &= ~_WAITALL
        count, ancillary, *rest = self._reading(_Base.recvmsg_into, buffers, ancbufsize, flags, flags=flags)
        if waits_for_all and count:
            # What ancillary data belongs to is never joined to what comes after it.
            left = _after([memoryview(buffer).cast("B") for buffer in buffers], count)
            while left and not ancillary:
                try:
                    got, ancillary, *rest = self._reading(_Base.recvmsg_into, left, ancbufsize, flags, flags=flags)
                except OSError:
                    break
                if not got:
                    break
                count += got
                left = _after(left, got)
        return count, ancillary, *rest

    # Sending --------------------------------------------------------------------------------------------------------

    def send(self, data: ReadableBuffer, flags: int = 0, /) -> int:
        """:meth:`socket.socket.send`."""
        try:
            return _send(self, data, flags)
        except BlockingIOError:
            if self._limit == 0.0 or flags & _DONTWAIT:
                raise
        self._await_write(self._limit)
        return self._writing(_send, data, flags)

    @twin("socket.c")
    def sendall(self, data: ReadableBuffer, flags: int = 0, /) -> None:
        """:meth:`socket.socket.sendall`; the time limit is for the whole."""
        view = memoryview(data).cast("B") if not isinstance(data, bytes) else data
        size = len(view)
        sent = 0
        try:
            sent = _send(self, view, flags)
            if sent == size:
                return
        except BlockingIOError:
            if self._limit == 0.0 or flags & _DONTWAIT:
                raise
        self._send_rest(memoryview(view), sent, flags)

    def _send_rest(self, view: memoryview, sent: int, flags: int) -> None:
        limit = self._limit
        deadline = None if limit is None else monotonic() + limit
        while True:
            try:
                sent += _send(self, view[sent:], flags | _DONTWAIT)
            except BlockingIOError:
                if limit == 0.0 or flags & _DONTWAIT:
                    raise
            if sent >= len(view):
                return
            self._await_write(None if deadline is None else max(deadline - monotonic(), 0.0))

    @twin("datagram.c")
    def sendto(self, *args: Any) -> int:
        """:meth:`socket.socket.sendto`: ``sendto(data, address)`` or ``sendto(data, flags, address)``."""
        if len(args) > 1:
            args = (*args[:-1], self.numeric_address(args[-1]))
        try:
            return _sendto(self, *args)
        except BlockingIOError:
            if self._limit == 0.0 or (len(args) > 2 and args[1] & _DONTWAIT):
                raise
        self._await_write(self._limit)
        return self._writing(_sendto, *args, flags=args[1] if len(args) > 2 else 0)

    def sendmsg(self, *args: Any) -> int:
        """:meth:`socket.socket.sendmsg`."""
        if args and not isinstance(args[0], (list, tuple)):
            args = (list(args[0]), *args[1:])  # an iterator would be empty at the second attempt
        return self._writing(_Base.sendmsg, *args, flags=args[2] if len(args) > 2 else 0)

    def numeric_address(self, address: Address) -> Address:
        """The numeric address that ``sendto`` sends to: ``address`` itself. A subclass may look up names here.

        It need not be asked if ``address`` is numeric already.
        """
        return address

    # Connecting -----------------------------------------------------------------------------------------------------

    def accept(self) -> tuple[Self, Address]:
        """:meth:`socket.socket.accept`. The new socket is of the same class."""
        fd, address = self._reading(_Base._accept)  # type: ignore[attr-defined]  # as the standard library does
        new = self._adopt(fd)
        return new, address

    def _adopt(self, fd: int) -> Self:
        try:
            return type(self)(_family(self), _kind(self), self.proto, fileno=fd)
        except BaseException:
            _os_close(fd)
            raise

    def connect(self, address: Address, /) -> None:
        """:meth:`socket.socket.connect`; ``address`` is numeric."""
        error = self._connect(address)
        if error == _EXPIRED:
            raise TimeoutError("timed out")
        if error:
            raise OSError(error, os.strerror(error))

    def connect_ex(self, address: Address, /) -> int:
        """:meth:`socket.socket.connect_ex`: the error's number, or 0; EAGAIN when the time has run out."""
        error = self._connect(address)
        return errno.EAGAIN if error == _EXPIRED else error

    def _connect(self, address: Address) -> int:
        """Connect and return the error's number, 0, or ``_EXPIRED``. Raises only what is no error of the connection."""
        limit = self._limit
        deadline = None if limit is None else monotonic() + limit
        error = _Base.connect_ex(self, address)
        pause = 0.001
        while error == errno.EAGAIN and _family(self) == getattr(socket, "AF_UNIX", None) and limit != 0.0:
            # The listener's queue is full, and no event tells when there is room again (connect(2)).
            if deadline is not None and monotonic() + pause > deadline:
                return _EXPIRED
            sleep(pause)
            pause = min(pause * 2, 0.1)
            error = _Base.connect_ex(self, address)
        if error not in _IN_PROGRESS or limit == 0.0:
            return error
        direction = self._writer()
        try:
            if not direction.wait(None if deadline is None else max(deadline - monotonic(), 0.0)):
                return _EXPIRED
            return self._outcome(address)
        except OSError as raised:
            if raised.errno == errno.EBADF and self.fileno() < 0:
                return errno.EBADF  # closed meanwhile
            raise

    def _outcome(self, address: Address) -> int:
        """What has become of a connection that was under way: the error's number, or 0.

        Linux says so at a second connect(2), and counts the attempt as ended only then: without one, the next attempt
        of a socket that was refused fails with ECONNABORTED, and one of a connected socket does not fail.
        """
        if sys.platform == "linux":
            error = _Base.connect_ex(self, address)
            if error == errno.EISCONN:
                return 0
            if error not in _IN_PROGRESS:
                return error
        return self.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)

    def dup(self) -> Self:
        """:meth:`socket.socket.dup`."""
        new = self._adopt(os.dup(self.fileno()))
        new._limit = self._limit
        return new

    # The end --------------------------------------------------------------------------------------------------------

    # The defaults are what the interpreter's end may have taken out of this module.
    def _real_close(
        self,
        _ss: Any = _Base.__mro__[1],  # the class in C, by the name that the standard library's has
        _close: Callable[[int], None] = socket.close,
    ) -> None:
        # Called by close() when no file made by makefile() is left. Of several threads that close at once one gets the
        # number, and nobody else closes it.
        read, self._read, self._write = self._read, None, None
        fd: int = _ss.detach(self)
        if fd >= 0 and not _forget(fd, read):
            _close(fd)

    def detach(self) -> int:
        """:meth:`socket.socket.detach`. Greenlets that wait get EBADF.

        After ``setblocking(True)`` the descriptor is a blocking one: its next user (multiprocessing) relies on that.
        """
        fd = self.fileno()
        if fd >= 0 and self._read is not None:
            closing(fd)
            self._read = self._write = None
        if fd >= 0 and self._to_block:
            super().setblocking(True)
        return super().detach()

    def __del__(self) -> None:
        if getattr(self, "_read", None) is not None and self.fileno() >= 0:
            try:
                warnings.warn(f"unclosed {self!r}", ResourceWarning, stacklevel=2, source=self)
            finally:
                self._real_close()
        elif _FINALIZED_IN_PYTHON:
            super().__del__()  # type: ignore[misc]  # closes, with a ResourceWarning


def _as_limit(value: Any) -> float:
    seconds = float(value if isinstance(value, float) else index(value))
    if abs(seconds) >= _TOO_LONG:
        raise OverflowError(f"Timeout value out of range: {value!r} seconds")
    if not seconds >= 0.0:
        raise ValueError(f"Timeout value out of range: {value!r} seconds")
    return seconds


_FINALIZED_IN_PYTHON = hasattr(_Base, "__del__")  # PyPy does it by itself
_family: Callable[[Any], int] = _Base.__mro__[1].__dict__["family"].__get__
_kind: Callable[[Any], int] = _Base.__mro__[1].__dict__["type"].__get__


def _after(views: list[memoryview], count: int) -> list[memoryview]:
    """What is left of ``views`` after their first ``count`` bytes."""
    left = []
    for view in views:
        if count < len(view):
            left.append(view[count:])
        count = max(count - len(view), 0)
    return left


def _forget(fd: int, read: Direction | None) -> bool:
    """Have the loops forget a descriptor that is about to be closed.

    :param read: the direction of the socket that had it, if it has waited.
    :returns: True: the loop of another thread closes it.
    """
    if read is None:
        hub = get_hub_if_exists()
        if hub is not None and fd in hub.loop.handles:  # a greenlet waits for the number, not through a Socket
            hub.loop.descriptor_closing(fd)
        return False
    loop = read.loop
    if not read.handle.shared and (loop.destroyed or loop.hub is get_hub_if_exists()):
        read.handle.close()
        return False
    return _close_elsewhere(fd)


class _Closing:
    """A descriptor that is about to be closed. Each loop that watches it holds this until it has forgotten it: the
    kernel must not give the number away before. A loop that is destroyed lets go of it, too."""

    __slots__ = ("fd",)

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __del__(self, _os_close: Callable[[int], None] = os.close) -> None:
        _os_close(self.fd)


def _close_elsewhere(fd: int) -> bool:
    """Wake the waiters of ``fd`` on all loops. True: it is closed when the loops of other threads have forgotten it."""
    mine = get_hub_if_exists()
    closing = None
    for hub in hubs():
        loop = hub.loop
        if loop.destroyed or fd not in loop.handles:
            continue
        if hub is mine or hub.thread_ident == get_ident():
            loop.descriptor_closing(fd)
            continue
        closing = closing or _Closing(fd)
        with suppress(LoopDestroyed):  # just now
            loop.run_callback_threadsafe(_close_here, loop, closing)
    return closing is not None


def _close_here(loop: BaseLoop, closing: _Closing) -> None:
    loop.descriptor_closing(closing.fd)


def close(fd: int) -> None:
    """:func:`os.close` for a descriptor that greenlets may wait for: they get EBADF at once.

    If the loop of another thread watches it, that thread closes it in its next turn: the kernel must not give the
    number to another file before.

    :raises OSError: EBADF, it is not open.
    """
    if not _close_elsewhere(fd):
        _os_close(fd)


def closing(fd: int) -> None:
    """Call this before closing a descriptor that greenlets may wait for: they get EBADF at once."""
    for hub in hubs():
        loop = hub.loop
        if loop.destroyed or fd not in loop.handles:
            continue
        if hub.thread_ident == get_ident():
            loop.descriptor_closing(fd)
        else:
            loop.run_callback_threadsafe(loop.descriptor_closing, fd)


def _is_ready_now(direction: Direction) -> bool:
    """Whether ``direction`` is ready already, and its edge-triggered loop would not report that again."""
    handle = direction.handle
    return not handle.level and not handle.closed and is_ready(handle.fd, direction.bit == WRITE)


def _wait(fd: int, writing: bool, timeout: float | None) -> bool:
    loop = get_hub().loop
    handle = loop.handle(fd)
    direction = handle.write if writing else handle.read
    try:
        if handle.registered:
            handle.renew()
        if loop.edge_triggered:
            loop.arm_direction(direction)  # raises for what cannot be polled
        if not _is_ready_now(direction) and not direction.wait(timeout):
            return False
        direction.ready = True
        return True
    finally:
        handle.let_go()


def wait_readable(fd: int, timeout: float | None = None) -> bool:
    """Wait until ``fd`` can be read without blocking.

    :param fd: any descriptor that can be polled.
    :param timeout: seconds, or None for no limit.
    :returns: False when the time ran out first.
    :raises OSError: EBADF: it is closed, or was closed meanwhile; EPERM: it cannot be polled (a regular file).
    """
    return _wait(_number(fd), False, timeout)


def wait_writable(fd: int, timeout: float | None = None) -> bool:
    """Wait until ``fd`` can be written without blocking; otherwise as :func:`wait_readable`."""
    return _wait(_number(fd), True, timeout)


def _number(fd: Any) -> int:
    number = fd if isinstance(fd, int) else fd.fileno()
    if number < 0:
        raise ValueError(f"a file descriptor is 0 or more, not {number}")
    return int(number)
