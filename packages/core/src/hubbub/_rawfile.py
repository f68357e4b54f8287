"""Raw files: over descriptors that can be polled by readiness, over all others in threads."""

from __future__ import annotations

import io
import os
import select
import stat
import sys
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from hubbub._looking import can_look, is_ready
from hubbub._originals import close as _os_close
from hubbub.hub import get_hub, get_hub_if_exists
from hubbub.io import close as _close_descriptor
from hubbub.io import closing, wait_readable, wait_writable

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

    from hubbub.loop.readiness import Readiness

__all__ = ["Ending", "PolledFile", "RawFile", "ThreadedFile", "can_be_polled", "in_thread", "share"]

T = TypeVar("T")
# The originals: patching replaces them in their modules.
_FileIO = io.FileIO
_read = _FileIO.read
_readinto = _FileIO.readinto
_readall = _FileIO.readall
_write = _FileIO.write
_PIPE_BUF: int = getattr(select, "PIPE_BUF", 512)
"""How many bytes a blocking descriptor takes without blocking once it is writable."""
_CHUNK = 1 << 16


def can_be_polled(fd: int) -> bool:
    """Whether ``fd`` is a pipe, FIFO, socket or terminal, so that its readiness means something."""
    mode = os.fstat(fd).st_mode
    if stat.S_ISCHR(mode):
        return os.isatty(fd)
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


class Ending:
    """What a file needs to be flushed and closed while the interpreter ends.

    Then there are no greenlets any more, and what the globals of this module name may be gone: so it is kept here.
    """

    _ending = staticmethod(sys.is_finalizing)
    _os_close = staticmethod(_os_close)
    _set_blocking = staticmethod(os.set_blocking)
    _warn = staticmethod(warnings.warn)


class RawFile(Ending, io.FileIO):
    """A raw file that closes its descriptor itself, after those who wait for it were told."""

    _owned = False
    _number = _FileIO.fileno
    """The descriptor, for uses of this file's own."""

    def __init__(self, fd: int, mode: str = "rb", closefd: bool = True, name: Any = None) -> None:
        super().__init__(fd, mode, closefd=False)
        self._owned = closefd
        if name is not None:
            self.name = name

    @property
    def closefd(self) -> bool:
        """Whether :meth:`close` closes the descriptor."""
        return self._owned

    def interrupt(self) -> None:
        """Whoever waits in a call gets EBADF, and so does who would wait from now on."""
        if not self.closed:
            closing(self._number())

    def close(self) -> None:
        """Close the file; greenlets that wait in it get EBADF."""
        if self.closed:
            return
        fd = self._number()
        owned = self.__dict__.pop("_owned", False)  # a single step: of several threads that close at once one closes it
        super().close()
        if owned:
            (self._os_close if self._ending() else _close_descriptor)(fd)

    def __del__(self) -> None:
        if self._owned and not self.closed:
            self._dealloc_warn(self)
            self.close()

    def _dealloc_warn(self, source: object) -> None:
        # A buffered file that is dropped open calls it too.
        if self._owned and not self.closed:
            self._warn(f"unclosed file {source!r}", ResourceWarning, stacklevel=2, source=source)


class PolledFile(RawFile):
    """A raw file over a descriptor that can be polled. Waits until it is ready, then reads or writes.

    The descriptor is made non-blocking, unless others may share it (a terminal, a standard stream, or one that is not
    closed with the file): such a one is left as it is, waited for before every call, and written to in small pieces.
    Who asks for the number of the descriptor may share it, too: then it is made blocking again, as the caller expects.

    :param fd: the descriptor.
    :param mode: ``rb``, ``wb`` or ``r+b`` (also ``ab``, ``xb``).
    :param closefd: whether the file owns the descriptor.
    :param name: what ``name`` shall be; by default the descriptor.
    :param shared: others use the descriptor too: it is left as it is.
    """

    def __init__(
        self, fd: int, mode: str = "rb", closefd: bool = True, name: Any = None, *, shared: bool = False
    ) -> None:
        super().__init__(fd, mode, closefd, name)
        self._handle: Readiness | None = None
        if closefd and fd > 2 and not shared and not os.isatty(fd):
            os.set_blocking(fd, False)
            self._blocks = False
        else:
            self._blocks = os.get_blocking(fd)

    def _wait(self, writing: bool) -> None:
        if self._blocks or not self._owned:
            # Looks first: an edge-triggered loop reports what was ready before only to who has met EAGAIN. And looks
            # again: another greenlet, or process, may have come first.
            fd, wait = self._number(), wait_writable if writing else wait_readable
            wait(fd)
            while self._blocks and can_look and not is_ready(fd, writing):
                wait(fd)
            return
        handle = self._readiness()
        (handle.write if writing else handle.read).wait()

    def _readiness(self) -> Readiness:
        if self._handle is None:
            self._handle = get_hub().loop.handle(self._number())
            self._handle.adopt()
        return self._handle

    def interrupt(self) -> None:
        """See :meth:`RawFile.interrupt`."""
        if self._owned and not self.closed:
            self._readiness()
        super().interrupt()

    def _reading(self, call: Callable[..., T | None], *args: Any) -> T:
        while True:
            if self._blocks:
                self._wait(False)
            result = call(self, *args)
            if result is not None:
                return result
            self._wait(False)

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """:meth:`io.RawIOBase.readinto`."""
        count: int = self._reading(_readinto, buffer)
        return count

    def read(self, size: int | None = -1, /) -> bytes:
        """:meth:`io.RawIOBase.read`."""
        if size is None or size < 0:
            return self.readall()
        data: bytes = self._reading(_read, size)
        return data

    def readall(self) -> bytes:
        """:meth:`io.RawIOBase.readall`."""
        parts = []
        while part := self.read(_CHUNK):
            parts.append(part)
        return b"".join(parts)

    def write(self, data: ReadableBuffer, /) -> int:
        """:meth:`io.RawIOBase.write`: may write less than all."""
        if self._ending():
            self._set_blocking(self._number(), True)
            return super().write(data)
        while True:
            if self._blocks:
                self._wait(True)
                data = memoryview(data).cast("B")[:_PIPE_BUF]
            written = _write(self, data)
            if written is not None:
                return written
            self._wait(True)

    def fileno(self) -> int:
        """:meth:`io.IOBase.fileno`: the descriptor, which is a blocking one from now on."""
        if not self._blocks and not self._ending():
            self.share()
        return self._number()

    def share(self) -> None:
        """Make the descriptor blocking again, because others, or other processes, are going to use it too."""
        if not self._blocks:
            self._set_blocking(self._number(), True)
            self._blocks = True


def share(file: Any) -> None:
    """Call before the descriptor of ``file`` (raw, buffered or text, ours or not) is given to another process.

    Programs do not expect to be told that a read would block. Here the file goes on to cooperate, more slowly.
    """
    binary = getattr(file, "buffer", file)
    raw = getattr(binary, "raw", binary)
    if isinstance(raw, PolledFile):
        raw.share()


class ThreadedFile(RawFile):
    """A raw file whose reads and writes run in threads kept for files. For what cannot be polled.

    The parameters are those of :class:`PolledFile`.
    """

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """:meth:`io.RawIOBase.readinto`."""
        # The thread has memory of its own: a caller that is killed meanwhile takes the buffer with it.
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def read(self, size: int | None = -1, /) -> bytes:
        """:meth:`io.RawIOBase.read`."""
        if size is None or size < 0:
            return self.readall()
        return in_thread(_read, self, size) or b""

    def readall(self) -> bytes:
        """:meth:`io.RawIOBase.readall`."""
        return in_thread(_readall, self)

    def write(self, data: ReadableBuffer, /) -> int:
        """:meth:`io.RawIOBase.write`."""
        if self._ending():
            return super().write(data)
        copy = data if isinstance(data, bytes) else bytes(memoryview(data))
        return in_thread(_write, self, copy) or 0

    def truncate(self, size: int | None = None, /) -> int:
        """:meth:`io.IOBase.truncate`."""
        return in_thread(_FileIO.truncate, self, size)


def in_thread(call: Callable[..., T], *args: Any) -> T:
    """Make a call that may block the thread, in another thread if there is anybody to let run meanwhile."""
    hub = get_hub_if_exists()
    if hub is None or sys.is_finalizing():
        return call(*args)
    return hub.file_pool.apply(call, args)
