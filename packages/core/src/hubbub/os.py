"""The cooperative part of :mod:`os`: descriptors by readiness or in threads, waiting for child processes, fork.

After a fork (by any code: the hooks are those of :func:`os.register_at_fork`) the child has the hub, the thread pools
and the resolver of the thread that forked, all empty. No greenlet of the parent runs there but the one that forked.
When that one ends, so does the child, with status 0, or 1 if it failed; the main program below it is the parent's.
Nothing that was started in the parent goes on in the child: no watcher, timer or :class:`hubbub.Timeout`.
"""

from __future__ import annotations

import os
import select
import stat
from collections.abc import Callable, Sequence
from io import text_encoding
from typing import TYPE_CHECKING, Any

from hubbub import io
from hubbub._builtin import Place, as_builtin
from hubbub._looking import can_look, is_ready
from hubbub._opening import open_shared
from hubbub._originals import read as _read
from hubbub._originals import readv as _readv
from hubbub._originals import write as _write
from hubbub._originals import writev as _writev
from hubbub._own_thread import in_own_thread
from hubbub._processes import wait_for_any, wait_for_end
from hubbub._rawfile import can_be_polled
from hubbub.hub import get_hub, get_hub_if_exists

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

__all__ = ["close", "fdopen", "make_nonblocking", "nb_read", "nb_write", "read", "tp_read", "tp_write", "write"]

_fdopen: Any = os.fdopen
_eventfd_read: Any = getattr(os, "eventfd_read", None)
_eventfd_write: Any = getattr(os, "eventfd_write", None)
_PIPE_BUF: int = getattr(select, "PIPE_BUF", 512)
"""How many bytes a pipe takes without blocking once it is writable."""


def make_nonblocking(fd: int) -> bool:
    """Make a descriptor non-blocking.

    :returns: whether it was blocking before.
    """
    if not os.get_blocking(fd):
        return False
    os.set_blocking(fd, False)
    return True


def nb_read(fd: int, n: int) -> bytes:
    """:func:`os.read` of a non-blocking descriptor, waiting until there is something.

    :param n: how many bytes at most.
    :returns: at least one byte; none at the end of the file.
    :raises OSError: as :func:`os.read`; EBADF if it is closed meanwhile.
    """
    while True:
        try:
            return _read(fd, n)
        except BlockingIOError:
            pass
        io.wait_readable(fd)


def nb_write(fd: int, buf: ReadableBuffer) -> int:
    """:func:`os.write` to a non-blocking descriptor, waiting until something can be written.

    :returns: how many bytes were written, perhaps not all.
    :raises OSError: as :func:`os.write`; EBADF if it is closed meanwhile.
    """
    while True:
        try:
            return _write(fd, buf)
        except BlockingIOError:
            pass
        io.wait_writable(fd)


def tp_read(fd: int, n: int) -> bytes:
    """:func:`os.read` in a thread of the hub's pool: for what cannot be polled."""
    return get_hub().threadpool.apply(_read, (fd, n))


def tp_write(fd: int, buf: ReadableBuffer) -> int:
    """:func:`os.write` in a thread of the hub's pool."""
    return get_hub().threadpool.apply(_write, (fd, buf))


def _wait(fd: int, writing: bool) -> None:
    """Let other greenlets run while a call for the blocking descriptor ``fd`` would not return at once.

    Looks again after each wait: another greenlet, or process, may have come first.
    """
    while _blocks(fd, writing):
        (io.wait_writable if writing else io.wait_readable)(fd)


def _blocks(fd: int, writing: bool) -> bool:
    if not can_look or not isinstance(fd, int) or fd < 0 or get_hub_if_exists() is None:
        return False
    return not is_ready(fd, writing) and os.get_blocking(fd)


@as_builtin
def read(_: Place, fd: int, length: int, /) -> bytes:
    """:func:`os.read`, letting other greenlets run until there is something.

    A non-blocking descriptor is read as it is; :func:`nb_read` waits for one.
    """
    _wait(fd, writing=False)
    return _read(fd, length)


@as_builtin
def write(_: Place, fd: int, data: ReadableBuffer, /) -> int:
    """:func:`os.write`, letting other greenlets run until all is written to a pipe, or some to anything else.

    A non-blocking descriptor is written to as it is; :func:`nb_write` waits for one.
    """
    return _writing(fd, data)


def _writing(fd: int, data: ReadableBuffer) -> int:
    long = type(data) is not bytes or len(data) > _PIPE_BUF
    if long and get_hub_if_exists() is not None and stat.S_ISFIFO(os.fstat(fd).st_mode) and os.get_blocking(fd):
        return _write_pieces(fd, memoryview(data).cast("B"))
    _wait(fd, writing=True)
    return _write(fd, data)


def _write_pieces(fd: int, view: memoryview) -> int:
    written = 0
    while True:
        try:
            _wait(fd, writing=True)
            written += _write(fd, view[written : written + _PIPE_BUF])
        except OSError:
            if not written:
                raise
            return written  # as write(2): the error comes with the next call
        if written >= len(view):
            return written


if _readv is not None:
    __all__ += ["readv", "writev"]

    @as_builtin
    def readv(_: Place, fd: int, buffers: Sequence[WriteableBuffer], /) -> int:
        """:func:`os.readv`; waits as :func:`read`."""
        _wait(fd, writing=False)
        count: int = _readv(fd, buffers)
        return count

    @as_builtin
    def writev(_: Place, fd: int, buffers: Sequence[ReadableBuffer], /) -> int:
        """:func:`os.writev`; waits as :func:`write`."""
        if get_hub_if_exists() is not None and stat.S_ISFIFO(os.fstat(fd).st_mode):
            return _writing(fd, b"".join(buffers))
        _wait(fd, writing=True)
        count: int = _writev(fd, buffers)
        return count


def fdopen(
    fd: int, mode: str = "r", buffering: int = -1, encoding: str | None = None, *args: Any, **kwargs: Any
) -> Any:
    """:func:`os.fdopen`: over a blocking pipe, FIFO, terminal or socket a file whose waits let other greenlets run.

    The descriptor stays a blocking one, as others may use it too. Over anything else the standard library's file.
    """
    if not _is_shared(fd):
        return _fdopen(fd, mode, buffering, encoding, *args, **kwargs)
    if "b" not in mode:
        encoding = text_encoding(encoding, 2)
    kwargs.pop("opener", None)  # of a descriptor, the builtin never calls it
    return open_shared(fd, mode, buffering, encoding, *args[:3], **kwargs)


def _is_shared(fd: Any) -> bool:
    """Whether it is a descriptor that can be polled, and a blocking one."""
    try:
        return isinstance(fd, int) and can_be_polled(fd) and os.get_blocking(fd)
    except (OSError, OverflowError):
        return False


if _eventfd_read is not None:
    __all__ += ["eventfd_read", "eventfd_write"]

    @as_builtin
    def eventfd_read(_: Place, fd: int) -> int:
        """:func:`os.eventfd_read`; waits as :func:`read`."""
        _wait(fd, writing=False)
        value: int = _eventfd_read(fd)
        return value

    @as_builtin
    def eventfd_write(_: Place, fd: int, value: int) -> None:
        """:func:`os.eventfd_write`, letting other greenlets run until there is room for 1."""
        _wait(fd, writing=True)
        _eventfd_write(fd, value)


@as_builtin
def close(_: Place, fd: int) -> None:
    """:func:`os.close`: greenlets that wait for the descriptor get EBADF."""
    io.close(fd)


if hasattr(os, "posix_spawn"):  # PyPy has none
    __all__ += ["posix_spawn", "posix_spawnp"]

    from os import posix_spawn as posix_spawn
    from os import posix_spawnp as posix_spawnp

if hasattr(os, "fork"):
    __all__ += ["fork", "forkpty", "wait", "waitpid"]

    _waitpid = os.waitpid
    _fork = os.fork
    _forkpty = os.forkpty

    def fork() -> int:
        """:func:`os.fork`. What the child inherits: see :mod:`hubbub.os`."""
        return _fork()

    def forkpty() -> tuple[int, int]:
        """:func:`os.forkpty`; as :func:`fork`."""
        return _forkpty()

    @as_builtin
    def waitpid(_: Place, pid: int, options: int, /) -> tuple[int, int]:
        """:func:`os.waitpid`, letting other greenlets run. From any thread, for any child however it was started.

        :param pid: the child; -1 for any, 0 or a negative number for any of a process group.
        :returns: its id and its status.
        :raises ChildProcessError: there is no such child.
        """
        found: tuple[int, int] = _wait_by(_waitpid, pid, options)
        return found

    def _wait_by(call: Callable[[int, int], Any], pid: int, options: int) -> Any:
        """``call(pid, options)``, whose result begins with the number of the process."""
        if options & os.WNOHANG or get_hub_if_exists() is None:
            return call(pid, options)

        def look() -> Any:
            found = call(pid, options | os.WNOHANG)
            return found if found[0] else None

        if pid > 0 and not options & (os.WUNTRACED | os.WCONTINUED):
            found = wait_for_end(pid, look)
        else:
            found = wait_for_any(pid, options, look)
        return found if found is not None else call(pid, options)

    if hasattr(os, "wait4"):
        __all__ += ["wait3", "wait4"]

        _wait4 = os.wait4

        @as_builtin
        def wait4(_: Place, pid: int, options: int) -> tuple[int, int, Any]:
            """:func:`os.wait4`; as :func:`waitpid`."""
            found: tuple[int, int, Any] = _wait_by(_wait4, pid, options)
            return found

        @as_builtin
        def wait3(_: Place, options: int) -> tuple[int, int, Any]:
            """:func:`os.wait3`: :func:`wait4` for any child."""
            found: tuple[int, int, Any] = _wait_by(_wait4, -1, options)
            return found

    if hasattr(os, "waitid"):
        __all__ += ["waitid"]

        _waitid = os.waitid

        @as_builtin
        def waitid(_: Place, idtype: int, ident: int, options: int, /) -> Any:
            """:func:`os.waitid`; as :func:`waitpid`."""
            if options & os.WNOHANG or get_hub_if_exists() is None:
                return _waitid(idtype, ident, options)
            while (found := _waitid(idtype, ident, options | os.WNOHANG)) is None:
                # With WNOWAIT the thread takes no status, so it does no harm if it goes on alone.
                in_own_thread(_waitid, idtype, ident, options | os.WNOWAIT)
            return found

    @as_builtin
    def wait(_: Place) -> tuple[int, int]:
        """:func:`os.wait`: :func:`waitpid` for any child."""
        return waitpid(-1, 0)
