"""Files that let other greenlets run while they wait: pipes, FIFOs and terminals by readiness, the rest in threads.

:func:`open` takes what the builtin takes and returns what it returns, over a raw file of this module:
:class:`PolledFile` where the descriptor can be polled, :class:`ThreadedFile` where it cannot (regular files, which the
kernel always calls ready). Several greenlets may use one buffered file: their calls take turns.

As with :mod:`io`, a read that is cut short by an exception (a :class:`hubbub.Timeout`, for instance) in the middle of a
line or block loses what it had taken of it.
"""

from __future__ import annotations

import io
import os
import select
import stat
import sys
import warnings
from collections.abc import Callable, Iterator
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

from hubbub._originals import close as _os_close
from hubbub._own_thread import in_own_thread
from hubbub.hub import get_hub, get_hub_if_exists
from hubbub.io import close as _close_descriptor
from hubbub.io import closing, wait_readable, wait_writable
from hubbub.lock import RLock

if TYPE_CHECKING:
    from typing import Self

    from _typeshed import ReadableBuffer, WriteableBuffer

    from hubbub.loop.readiness import Readiness

__all__ = [
    "NO_LINE_BUFFERING",
    "BufferedRandom",
    "BufferedReader",
    "BufferedWriter",
    "FileObject",
    "PolledFile",
    "TextFile",
    "ThreadedFile",
    "buffered",
    "can_be_polled",
    "open",
    "open_raw",
    "share",
]

T = TypeVar("T")
# The originals: patching replaces them in their modules.
_FileIO = io.FileIO
_os_open = os.open
_read = _FileIO.read
_readinto = _FileIO.readinto
_readall = _FileIO.readall
_write = _FileIO.write
_PIPE_BUF: int = getattr(select, "PIPE_BUF", 512)
"""How many bytes a blocking descriptor takes without blocking once it is writable."""
_CHUNK = 1 << 16
NO_LINE_BUFFERING = "line buffering (buffering=1) isn't supported in binary mode, the default buffer size will be used"
"""The text of a warning, as the builtin has it."""


def can_be_polled(fd: int) -> bool:
    """Whether ``fd`` is a pipe, FIFO, socket or terminal, so that its readiness means something."""
    mode = os.fstat(fd).st_mode
    if stat.S_ISCHR(mode):
        return os.isatty(fd)
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


# Raw files ------------------------------------------------------------------------------------------------------------


class _Ending:
    """What a file needs to be flushed and closed while the interpreter ends.

    Then there are no greenlets any more, and what the globals of this module name may be gone: so it is kept here.
    """

    _ending = staticmethod(sys.is_finalizing)
    _os_close = staticmethod(_os_close)
    _set_blocking = staticmethod(os.set_blocking)
    _warn = staticmethod(warnings.warn)


class _RawFile(_Ending, io.FileIO):
    """A raw file that closes its descriptor itself, after those who wait for it were told."""

    def __init__(self, fd: int, mode: str = "rb", closefd: bool = True, name: Any = None) -> None:
        self._owned = False
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
            closing(self.fileno())

    def close(self) -> None:
        """Close the file; greenlets that wait in it get EBADF."""
        if self.closed:
            return
        fd, owned = self.fileno(), self._owned
        self._owned = False
        super().close()
        if owned:
            (self._os_close if self._ending() else _close_descriptor)(fd)

    def __del__(self) -> None:
        if getattr(self, "_owned", False) and not self.closed:
            self._dealloc_warn(self)
            self.close()

    def _dealloc_warn(self, source: object) -> None:
        # A buffered file that is dropped open calls it too.
        if self._owned and not self.closed:
            self._warn(f"unclosed file {source!r}", ResourceWarning, stacklevel=2, source=source)


class PolledFile(_RawFile):
    """A raw file over a descriptor that can be polled. Waits until it is ready, then reads or writes.

    The descriptor is made non-blocking, unless others may share it (a terminal, a standard stream, or one that is not
    closed with the file): such a one is left as it is, waited for before every call, and written to in small pieces.

    :param fd: the descriptor.
    :param mode: ``rb``, ``wb`` or ``r+b`` (also ``ab``, ``xb``).
    :param closefd: whether the file owns the descriptor.
    :param name: what ``name`` shall be; by default the descriptor.
    """

    def __init__(self, fd: int, mode: str = "rb", closefd: bool = True, name: Any = None) -> None:
        super().__init__(fd, mode, closefd, name)
        self._handle: Readiness | None = None
        if closefd and fd > 2 and not os.isatty(fd):
            os.set_blocking(fd, False)
            self._blocks = False
        else:
            self._blocks = os.get_blocking(fd)

    def _wait(self, writing: bool) -> None:
        if self._blocks or not self._owned:
            # Looks first: an edge-triggered loop reports what was ready before only to who has met EAGAIN.
            (wait_writable if writing else wait_readable)(self.fileno())
            return
        handle = self._readiness()
        (handle.write if writing else handle.read).wait()

    def _readiness(self) -> Readiness:
        if self._handle is None:
            self._handle = get_hub().loop.handle(self.fileno())
            self._handle.adopt()
        return self._handle

    def interrupt(self) -> None:
        """See :meth:`_RawFile.interrupt`."""
        if self._owned and not self.closed:
            self._readiness()
        super().interrupt()

    def _reading(self, call: Callable[..., T | None], *args: Any) -> T:
        if self._blocks:
            self._wait(False)
        while (result := call(self, *args)) is None:
            self._wait(False)
        return result

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
            self._set_blocking(self.fileno(), True)
            return super().write(data)
        if self._blocks:
            self._wait(True)
            data = memoryview(data).cast("B")[:_PIPE_BUF]
        while (written := _write(self, data)) is None:
            self._wait(True)
        return written

    def share(self) -> None:
        """Make the descriptor blocking again, because other processes are going to use it too."""
        if not self._blocks:
            os.set_blocking(self.fileno(), True)
            self._blocks = True


def share(file: Any) -> None:
    """Call before the descriptor of ``file`` (raw, buffered or text, ours or not) is given to another process.

    Programs do not expect to be told that a read would block. Here the file goes on to cooperate, more slowly.
    """
    binary = getattr(file, "buffer", file)
    raw = getattr(binary, "raw", binary)
    if isinstance(raw, PolledFile):
        raw.share()


class ThreadedFile(_RawFile):
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
        return _in_thread(_read, self, size) or b""

    def readall(self) -> bytes:
        """:meth:`io.RawIOBase.readall`."""
        return _in_thread(_readall, self)

    def write(self, data: ReadableBuffer, /) -> int:
        """:meth:`io.RawIOBase.write`."""
        if self._ending():
            return super().write(data)
        copy = data if isinstance(data, bytes) else bytes(memoryview(data))
        return _in_thread(_write, self, copy) or 0

    def truncate(self, size: int | None = None, /) -> int:
        """:meth:`io.IOBase.truncate`."""
        return _in_thread(_FileIO.truncate, self, size)


def _in_thread(call: Callable[..., T], *args: Any) -> T:
    """Make a call that may block the thread, in another thread if there is anybody to let run meanwhile."""
    hub = get_hub_if_exists()
    if hub is None or sys.is_finalizing():
        return call(*args)
    return hub.file_pool.apply(call, args)


# Buffered files -------------------------------------------------------------------------------------------------------


class _Turn(_Ending, RLock):
    """Whose turn it is with a file: anybody's, while the interpreter ends."""

    def __enter__(self) -> bool:
        return self._ending() or self.acquire()

    def __exit__(self, *_: object) -> None:
        if not self._ending():
            self.release()

    def is_taken(self) -> bool:
        """Whether another greenlet has it."""
        return self.locked() and not self._ending() and not self._is_owned()


def _in_turn(method: Callable[..., T]) -> Callable[..., T]:
    """The method, for one greenlet at a time: the buffers of :mod:`io` refuse a second call of the same thread."""

    @wraps(method)
    def call(self: Any, *args: Any) -> T:
        with self._turn:
            return method(self, *args)

    return call


class _Turns:
    """The part that reading and writing share."""

    _turn: _Turn
    raw: Any

    def interrupt(self) -> None:
        """End a call that another greenlet waits in, before this one closes the file."""
        if self._turn.is_taken():
            self.raw.interrupt()

    def _close(self, close: Callable[[], None]) -> None:
        if self.raw.closed:
            close()
            return
        self.interrupt()
        try:
            with self._turn:
                close()
        finally:
            self.raw.close()  # also if the wait for the others is cut short


class BufferedReader(_Turns, io.BufferedReader):
    """:class:`io.BufferedReader` for several greenlets."""

    def __init__(self, raw: Any, buffer_size: int = io.DEFAULT_BUFFER_SIZE) -> None:
        self._turn = _Turn()
        super().__init__(raw, buffer_size)

    if not TYPE_CHECKING:  # for checkers they are those of the base class
        read = _in_turn(io.BufferedReader.read)
        read1 = _in_turn(io.BufferedReader.read1)
        readinto = _in_turn(io.BufferedReader.readinto)
        readinto1 = _in_turn(io.BufferedReader.readinto1)
        readline = _in_turn(io.BufferedReader.readline)
        peek = _in_turn(io.BufferedReader.peek)
        seek = _in_turn(io.BufferedReader.seek)

    def __next__(self) -> bytes:
        line: bytes = self.readline()
        if not line:
            raise StopIteration
        return line

    def close(self) -> None:
        """Close; greenlets that wait in it get EBADF."""
        self._close(super().close)


class BufferedWriter(_Turns, io.BufferedWriter):
    """:class:`io.BufferedWriter` for several greenlets."""

    def __init__(self, raw: Any, buffer_size: int = io.DEFAULT_BUFFER_SIZE) -> None:
        self._turn = _Turn()
        super().__init__(raw, buffer_size)

    if not TYPE_CHECKING:  # for checkers they are those of the base class
        write = _in_turn(io.BufferedWriter.write)
        flush = _in_turn(io.BufferedWriter.flush)
        seek = _in_turn(io.BufferedWriter.seek)
        truncate = _in_turn(io.BufferedWriter.truncate)

    def close(self) -> None:
        """Close; greenlets that wait in it get EBADF."""
        self._close(super().close)


class BufferedRandom(_Turns, io.BufferedRandom):
    """:class:`io.BufferedRandom` for several greenlets."""

    def __init__(self, raw: Any, buffer_size: int = io.DEFAULT_BUFFER_SIZE) -> None:
        self._turn = _Turn()
        super().__init__(raw, buffer_size)

    if not TYPE_CHECKING:  # for checkers they are those of the base class
        read = _in_turn(io.BufferedRandom.read)
        read1 = _in_turn(io.BufferedRandom.read1)
        readinto = _in_turn(io.BufferedRandom.readinto)
        readinto1 = _in_turn(io.BufferedRandom.readinto1)
        readline = _in_turn(io.BufferedRandom.readline)
        peek = _in_turn(io.BufferedRandom.peek)
        seek = _in_turn(io.BufferedRandom.seek)
        write = _in_turn(io.BufferedRandom.write)
        flush = _in_turn(io.BufferedRandom.flush)
        truncate = _in_turn(io.BufferedRandom.truncate)

    def __next__(self) -> bytes:
        line: bytes = self.readline()
        if not line:
            raise StopIteration
        return line

    def close(self) -> None:
        """Close; greenlets that wait in it get EBADF."""
        self._close(super().close)


class TextFile(io.TextIOWrapper):
    """:class:`io.TextIOWrapper` that can be closed while others wait in it."""

    def close(self) -> None:
        """Close; greenlets that wait in it get EBADF."""
        if not self.closed and hasattr(self.buffer, "interrupt"):
            self.buffer.interrupt()
        super().close()


# Opening --------------------------------------------------------------------------------------------------------------


def open_raw(
    file: Any, mode: str = "rb", closefd: bool = True, opener: Callable[[Any, int], int] | None = None
) -> _RawFile:
    """The raw file over a path or descriptor: polled if it can be, else threaded.

    :param mode: as of :class:`io.FileIO`.
    :raises OSError: as :class:`io.FileIO` does.
    """
    if isinstance(file, int):
        fd, name = file, None
        if fd < 0:
            raise ValueError("negative file descriptor")
    else:
        if not closefd:
            raise ValueError("Cannot use closefd=False with file name")
        name = file
        fd = _open_path(file, mode, opener)
    try:
        kind = PolledFile if can_be_polled(fd) else ThreadedFile
        return kind(fd, mode, closefd, name)
    except BaseException as error:
        if name is not None:
            _os_close(fd)
            if isinstance(error, OSError):
                error.filename = name  # it says the descriptor, which nobody knows
        raise


_NOT_RAW = str.maketrans("", "", "bt")
_FLAGS = {
    "r": os.O_RDONLY,
    "w": os.O_WRONLY | os.O_CREAT | os.O_TRUNC,
    "x": os.O_WRONLY | os.O_CREAT | os.O_EXCL,
    "a": os.O_WRONLY | os.O_CREAT | os.O_APPEND,
}


def _open_path(path: Any, mode: str, opener: Callable[[Any, int], int] | None) -> int:
    """Open in a thread: it may take long, and for a FIFO until the other side comes."""
    flags = _FLAGS[mode.strip("+")] | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
    if "+" in mode:
        flags = flags & ~os.O_WRONLY | os.O_RDWR
    if opener is not None:
        fd = opener(path, flags)
        if not isinstance(fd, int):
            raise TypeError("expected integer from opener")
        if fd < 0:
            raise ValueError(f"opener returned {fd}")
        os.set_inheritable(fd, False)
        return fd
    if _is_fifo(path) and get_hub_if_exists() is not None:
        opened: int = in_own_thread(_os_open, path, flags, 0o666)
        return opened
    return _in_thread(_os_open, path, flags, 0o666)


def _is_fifo(path: Any) -> bool:
    try:
        return stat.S_ISFIFO(os.stat(path).st_mode)
    except OSError:
        return False


def _parse(mode: str, encoding: Any, errors: Any, newline: Any) -> tuple[str, bool]:
    """The raw mode, and whether it is text. Errors as the builtin's."""
    if not isinstance(mode, str):
        raise TypeError(f"open() argument 'mode' must be str, not {type(mode).__name__}")
    letters = set(mode)
    if letters - set("axrwb+t") or len(mode) > len(letters):
        raise ValueError(f"invalid mode: {mode!r}")
    if "t" in letters and "b" in letters:
        raise ValueError("can't have text and binary mode at once")
    if len(letters & set("axrw")) != 1:
        raise ValueError("must have exactly one of create/read/write/append mode")
    text = "b" not in letters
    for value, what in ((encoding, "an encoding"), (errors, "an errors"), (newline, "a newline")):
        if not text and value is not None:
            raise ValueError(f"binary mode doesn't take {what} argument")
    return mode.translate(_NOT_RAW), text


def open(
    file: Any,
    mode: str = "r",
    buffering: int = -1,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    closefd: bool = True,
    opener: Callable[[Any, int], int] | None = None,
) -> Any:
    """The builtin :func:`open`: same arguments, results and errors, but other greenlets run while it waits.

    :param file: a path or a descriptor.
    :raises OSError: the file cannot be opened.
    :raises ValueError: a mode that makes no sense.
    """
    if not isinstance(file, int):
        file = os.fspath(file)
    raw_mode, text = _parse(mode, encoding, errors, newline)
    if buffering == 0 and text:
        raise ValueError("can't have unbuffered text I/O")
    if buffering == 1 and not text:
        warnings.warn(NO_LINE_BUFFERING, RuntimeWarning, stacklevel=2)
        buffering = -1
    raw = open_raw(file, raw_mode, closefd, opener)
    result: Any = raw
    try:
        by_line = text and (buffering == 1 or (buffering < 0 and raw.isatty()))
        result = buffered(raw, -1 if by_line else buffering)
        if text:
            result = TextFile(result, io.text_encoding(encoding, 2), errors, newline, by_line)
            result.mode = mode
        return result
    except BaseException:
        result.close()
        raise


def buffered(raw: _RawFile, buffering: int = -1) -> Any:
    """The buffered file over a raw one, or itself.

    :param buffering: bytes; 0: no buffer, negative: a size that suits the device.
    """
    if buffering == 0:
        return raw
    size = buffering if buffering > 0 else _block_size(raw)
    if not raw.readable():
        return BufferedWriter(raw, size)
    return BufferedRandom(raw, size) if raw.writable() else BufferedReader(raw, size)


def _block_size(raw: _RawFile) -> int:
    size = getattr(os.fstat(raw.fileno()), "st_blksize", 0)
    return size if size > 1 else io.DEFAULT_BUFFER_SIZE


class FileObject:
    """A cooperative file over a descriptor, a path, or the descriptor of another file object.

    All attributes are those of the file that :func:`open` returns, reachable as :attr:`io`. The other file object is
    flushed first, kept alive, and closed with this one if ``closefd`` is true.

    :param fobj: a descriptor, a path, or an object with ``fileno``.
    :param mode: as of :func:`open`; binary by default, or the other file object's.
    """

    def __init__(
        self,
        fobj: Any,
        mode: str | None = None,
        buffering: int = -1,
        closefd: bool = True,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> None:
        self._source: Any = None
        if hasattr(fobj, "fileno"):
            self._source, fobj = fobj, fobj.fileno()
            if mode is None and isinstance(getattr(self._source, "mode", None), str):
                mode = self._source.mode
            if hasattr(self._source, "flush"):
                self._source.flush()
        self._close_source = closefd and self._source is not None
        self.io: Any = open(fobj, mode or "rb", buffering, encoding, errors, newline, closefd and self._source is None)

    def __getattr__(self, name: str) -> Any:
        if name == "io":  # the constructor failed
            raise AttributeError(name)
        return getattr(self.io, name)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.io!r}>"

    def close(self) -> None:
        """Close; greenlets that wait in it get EBADF."""
        try:
            self.io.close()
        finally:
            if self._close_source:
                self._close_source = False
                closing(self._source.fileno())
                self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Any]:
        return iter(self.io)

    def __next__(self) -> Any:
        return next(self.io)
