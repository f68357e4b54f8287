"""Where lines go that must not make anything wait: log files, standard error, pipes.

A log that is full, closed, stuck or gone is no reason not to serve. So an :class:`Outlet` never raises, hardly ever
waits, and never holds more than :data:`HELD_BYTES`; what did not fit is counted, and told once there is room again.

How not to wait depends on what the descriptor is. A regular file does not make anybody wait. A socket is asked not to
by a flag of each call. A pipe or a terminal has no such flag, and ``O_NONBLOCK`` belongs to the open file description,
which is shared with the parent process: setting it would change that process's standard error too. So these
are opened a second time, through ``/proc/self/fd``, which makes a description of our own. Where that cannot be done,
:manpage:`poll(2)` tells whether there is room, and no more is written than fits into a pipe in one piece.
"""

from __future__ import annotations

import errno
import importlib.util
import io
import os
import re
import select as _patched
import signal
import socket
import stat
import sys
import weakref
from _thread import allocate_lock
from collections import deque
from collections.abc import Callable
from typing import Any

from hubbub.io import Socket
from hubbub.lowlevel import at_fork, monotonic

__all__ = [
    "HELD_BYTES",
    "Outlet",
    "can_stick",
    "complain",
    "guard_standard_streams",
    "native_select",
    "of_stream",
    "standard_outlets",
]

HELD_BYTES = 1 << 20
"""Most that is held for a log that cannot be written at the moment."""
_STANDARD = re.compile(r"/dev/(stdout|stderr)|/(?:dev/fd|proc/self/fd)/([0-9]{1,6})", re.ASCII)
_NUMBERS = {"stdout": 1, "stderr": 2}
_PIECE = 65536
_ATOMIC = 512
"""What POSIX promises to fit into a pipe that poll(2) calls writable, in bytes (PIPE_BUF is at least that)."""
_PATIENCE = 0.1
"""Seconds to wait, natively, for a reader that was reading a moment ago and has more to read than is held."""
_RETRY = 1.0
"""Seconds between attempts to open a log that cannot be opened."""
_NOT_WAITING = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_CLOEXEC", 0)
_SENDING = getattr(socket, "MSG_DONTWAIT", 0) | getattr(socket, "MSG_NOSIGNAL", 0)
_PlainSocket: type[socket.socket] = Socket.__bases__[0]
_GONE = frozenset({errno.EPIPE, errno.EBADF, errno.ENXIO, errno.ENODEV, errno.ECONNRESET, errno.ENOTCONN, errno.ESTALE})
"""The other end is gone, and waiting does not bring it back."""


def _original(module: Any) -> Any:
    """A module of C code as it was before anybody patched it: a wait here must not switch to another greenlet."""
    spec = module.__spec__
    fresh = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fresh)
    return fresh


native_select = _original(_patched)
"""The module ``select`` as it was."""


def complain(text: str) -> None:
    """A line to ``sys.stderr``, if that can be had."""
    stream = sys.stderr
    if stream is None:
        return
    try:
        stream.write(f"{text}\n")
        stream.flush()
    except (OSError, ValueError, AttributeError):
        return  # there is no other place to complain


def can_stick(descriptor: int) -> bool:
    """Whether a write to ``descriptor`` may block: it is a pipe, a socket or a terminal."""
    mode = os.fstat(descriptor).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or (stat.S_ISCHR(mode) and os.isatty(descriptor))


class _Way:
    """An own descriptor for a file, and how to write to it without waiting."""

    def __init__(self, descriptor: int, shared: bool = False) -> None:
        self.descriptor = descriptor
        self._socket: socket.socket | None = None
        self.put: Callable[[bytes], int] = self._write
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISSOCK(mode):
            self._socket = _PlainSocket(fileno=descriptor)
            self.put = self._send
        elif shared:
            self.put = self._write_if_room
        self._terminal = stat.S_ISCHR(mode) and os.isatty(descriptor)

    @classmethod
    def beside(cls, descriptor: int) -> _Way:
        """For what another part of the process has open as ``descriptor``.

        :raises OSError: it is not open.
        """
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode):
            try:
                return cls(os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | _NOT_WAITING))
            except OSError:
                return cls(os.dup(descriptor), shared=True)
        return cls(os.dup(descriptor))  # a second description of a regular file would have a place of its own in it

    @classmethod
    def to(cls, path: str) -> _Way:
        """For a file that is appended to, made if need be.

        :raises OSError: from :manpage:`open(2)`.
        """
        standard = _STANDARD.fullmatch(path)
        if standard is not None:
            # Under its path it may not be opened (a socket), or not by this user (a terminal).
            return cls.beside(_NUMBERS.get(standard[1]) or int(standard[2] or 0))
        flags = os.O_APPEND | os.O_CREAT | _NOT_WAITING
        try:
            return cls(os.open(path, flags | os.O_WRONLY, 0o666))
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            # A FIFO without a reader. Opened for both, it can be written to before there is one (fifo(7)).
            return cls(os.open(path, flags | os.O_RDWR))

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
        else:
            os.close(self.descriptor)

    def _write(self, data: bytes) -> int:
        if self._terminal and hasattr(signal, "pthread_sigmask"):
            return _undisturbed(os.write, self.descriptor, data)
        return os.write(self.descriptor, data)

    def _write_if_room(self, data: bytes) -> int:
        if not self.has_room(0.0):
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return self._write(data[:_ATOMIC])

    def _send(self, data: bytes) -> int:
        assert self._socket is not None  # or this would not be called
        return self._socket.send(data, _SENDING)

    def has_room(self, seconds: float) -> bool:
        """Whether more can be written within so many seconds."""
        poll = native_select.poll()
        poll.register(self.descriptor, native_select.POLLOUT)
        return bool(poll.poll(seconds * 1000))


def _undisturbed(write: Callable[[int, bytes], int], descriptor: int, data: bytes) -> int:
    """Write to a terminal that may belong to another job: with ``stty tostop`` each attempt brings a SIGTTOU, and one
    that is handled would come again for ever; blocked, the write is done (:manpage:`termios(3)`)."""
    old = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
    try:
        return write(descriptor, data)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, old)


_all: weakref.WeakSet[Outlet] = weakref.WeakSet()


def _renew_locks() -> None:
    """In a child: a lock that was held at the fork is held by a thread of the parent."""
    for outlet in _all:
        outlet.renew_lock()


at_fork(in_child=_renew_locks)


def _lost(count: int) -> str:
    return f"hubbub-serve: {count} lines were lost here\n"


class Outlet:
    """Takes lines from any thread and signal handler; see the module.

    :param descriptor: one that is open already, such as 2; or
    :param path: a file that is appended to. One that cannot be opened is tried again when there is something to write.
    :param name: what complaints call it; empty for none.
    """

    def __init__(self, descriptor: int | None = None, path: str | None = None, name: str = "") -> None:
        self.path = path
        self.name = name
        self.notice: Callable[[int], str] = _lost
        """Makes the line that tells how many were lost."""
        self.lost: int = 0
        """Lines lost so far."""
        self._untold = 0
        self._descriptor = descriptor
        self._way: _Way | None = None
        self._given: deque[bytes] = deque()
        self._held = bytearray()
        self._busy = allocate_lock()
        self._stuck = False
        self._failed = False
        self._again = 0.0
        self._stale = False
        self._open()
        _all.add(self)

    def __repr__(self) -> str:
        return f"<Outlet {self.name or self.path or self._descriptor} held={len(self._held)} lost={self.lost}>"

    def renew_lock(self) -> None:
        """Make the lock anew: in a child no other thread exists."""
        self._busy = allocate_lock()

    # Opening --------------------------------------------------------------------------------------------------------

    def _open(self) -> None:
        """Open, or note when to try again."""
        try:
            if self.path is not None:
                way = _Way.to(self.path)
            else:
                assert self._descriptor is not None  # one of the two is given
                way = _Way.beside(self._descriptor)
        except OSError as error:
            self._again = monotonic() + _RETRY
            self._complain(error)
            return
        old, self._way = self._way, way
        self._stale = False
        if old is not None:
            old.close()

    def reopen(self) -> None:
        """Open the file anew by its path: it was moved away. Until that can be done the old one is written on."""
        if self.path is not None:
            self._stale = True
            self._again = 0.0
            self.pump()

    def close(self) -> None:
        """Write what can be written, and close."""
        self.finish(0.0)
        way, self._way = self._way, None
        self._again = float("inf")
        if way is not None:
            way.close()

    def __del__(self) -> None:
        if self.__dict__.get("_way") is not None:
            self.close()

    # Writing --------------------------------------------------------------------------------------------------------

    @property
    def waiting(self) -> bool:
        """Whether there is something that :meth:`pump` may get rid of."""
        return bool(self._held or self._untold or self._stale)

    @property
    def descriptor(self) -> int:
        """What to poll for room; -1 if it is not open."""
        return -1 if self._way is None else self._way.descriptor

    def write(self, data: bytes) -> None:
        """Write, hold or lose ``data``, which is whole lines for the most part."""
        self._given.append(data)
        # The holder of the lock writes it: another thread, or the code that this signal handler has interrupted.
        while self._given and self._busy.acquire(False):
            try:
                self._take()
            finally:
                self._busy.release()

    def pump(self) -> bool:
        """Try again to write what is held. True: some was written."""
        if not self._busy.acquire(False):
            return False
        try:
            before = len(self._held)
            self._push()
            return len(self._held) < before
        finally:
            self._busy.release()

    def finish(self, seconds: float) -> None:
        """Write what is held, waiting for a slow reader for so many seconds at most."""
        deadline = monotonic() + seconds
        while self.waiting and self._way is not None:
            left = deadline - monotonic()
            if not self.pump() and (left <= 0.0 or not self._way.has_room(left)):
                return

    def _take(self) -> None:
        """Move what was given on. Called with the lock."""
        given = self._given
        while given:
            data = given.popleft()
            if not self._held and not self._untold and not self._stale:
                data = data[self._put(data) :]
                if not data:
                    continue
            self._hold(data)

    def _hold(self, data: bytes) -> None:
        if self._untold or self._stale:
            self._push()  # first what comes before it
        room = HELD_BYTES - len(self._held)
        if len(data) > room and not self._stuck and self._way is not None:
            # A burst. A reader that is alive makes room at once; one that is not is waited for just this time.
            self._stuck = not self._way.has_room(_PATIENCE)
            self._push()
            room = HELD_BYTES - len(self._held)
        if len(data) <= room and not self._untold:
            self._held += data
            self._push()
        else:
            self.lost += data.count(b"\n") or 1
            self._untold += data.count(b"\n") or 1

    def _push(self) -> None:
        """Write what is held, as far as it goes. Called with the lock."""
        if self._stale and monotonic() >= self._again:
            self._open()
        while self._held:
            count = self._put(bytes(self._held[:_PIECE]))
            if not count:
                return
            del self._held[:count]
        if self._untold:
            notice = self.notice(self._untold).encode()
            self._untold = 0
            self._held += notice[self._put(notice) :]

    def _put(self, data: bytes) -> int:
        """How many bytes of ``data`` need no further thought."""
        way = self._way
        if way is None:
            if monotonic() < self._again:
                return 0
            self._open()
            way = self._way
            if way is None:
                return 0
        try:
            count = way.put(data)
        except BlockingIOError:
            return 0
        except OSError as error:
            return self._fail(way, error, data)
        if count:
            self._stuck = self._failed = False
        return count

    def _fail(self, way: _Way, error: OSError, data: bytes) -> int:
        self._complain(error)
        if error.errno not in _GONE:
            return 0
        lines = data.count(b"\n") or 1
        self.lost += lines
        if self.path is not None:
            self._way = None
            way.close()
            self._again = monotonic() + _RETRY
            self._untold += lines
        return len(data)

    def _complain(self, error: OSError) -> None:
        if self.name and not self._failed:
            self._failed = True
            complain(f"hubbub-serve: cannot write to the log {self.name}, lines are held and lost: {error}")


class _Raw(io.RawIOBase):
    """An outlet in the place of a standard stream's file."""

    def __init__(self, outlet: Outlet, descriptor: int, name: str) -> None:
        super().__init__()
        self.outlet = outlet
        self.name = name
        self._descriptor = descriptor

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        self.outlet.write(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Everything is written as far as it can be."""

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        try:
            return os.isatty(self._descriptor)
        except OSError:
            return False


_standard: list[Outlet] = []


def standard_outlets() -> list[Outlet]:
    """Those of ``sys.stdout`` and ``sys.stderr``, if they are guarded."""
    return list(_standard)


def guard_standard_streams() -> None:
    """Keep ``sys.stdout`` and ``sys.stderr`` from blocking and failing, in a process that is ours.

    Standard descriptors that are closed are opened on ``/dev/null`` first: else the next socket would get their number,
    and code that writes to standard error by number would write into it.
    """
    for descriptor, flags in ((0, os.O_RDONLY), (1, os.O_WRONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(descriptor)
        except OSError:
            _open_null(descriptor, flags)
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        old = getattr(sys, name)
        if old is not getattr(sys, f"__{name}__"):
            continue  # another stream was put there
        outlet = Outlet(descriptor)
        _standard.append(outlet)
        setattr(sys, name, _text(outlet, descriptor, f"<{name}>", old))


def _open_null(descriptor: int, flags: int) -> None:
    null = os.open(os.devnull, flags)
    if null != descriptor:
        os.dup2(null, descriptor)
        os.close(null)
    os.set_inheritable(descriptor, True)


def _text(outlet: Outlet, descriptor: int, name: str, old: Any) -> io.TextIOWrapper:
    errors = "backslashreplace" if descriptor == 2 or old is None else old.errors
    # Whole lines at once, so that those of several processes do not mix; a program's output in larger pieces, as usual.
    lines = descriptor == 2 or bool(getattr(old, "line_buffering", False))
    return io.TextIOWrapper(
        _Raw(outlet, descriptor, name),
        encoding=getattr(old, "encoding", None) or "utf-8",
        errors=errors,
        line_buffering=lines,
    )


def of_stream(stream: Any) -> Outlet | None:
    """An outlet for a text file of the standard library whose writes may wait; None for any other, or one that is
    guarded already."""
    if type(stream) is not io.TextIOWrapper or isinstance(stream.buffer, _Raw):
        return None
    try:
        descriptor = stream.fileno()
        return Outlet(descriptor) if can_stick(descriptor) else None
    except (OSError, ValueError):
        return None
