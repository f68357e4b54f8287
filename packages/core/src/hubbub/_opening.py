"""Opening files: the builtin ``open`` over raw files that let other greenlets run."""

from __future__ import annotations

import io
import os
import stat
import warnings
from collections.abc import Callable
from typing import Any

from hubbub._bufferedfile import BufferedRandom, BufferedReader, BufferedWriter, TextFile
from hubbub._originals import close as _os_close
from hubbub._own_thread import in_own_thread
from hubbub._rawfile import PolledFile, RawFile, ThreadedFile, can_be_polled, in_thread
from hubbub.hub import get_hub_if_exists

__all__ = ["NO_LINE_BUFFERING", "buffered", "open", "open_raw", "open_shared"]

_os_open = os.open  # the original: patching replaces it in its module
NO_LINE_BUFFERING = "line buffering (buffering=1) isn't supported in binary mode, the default buffer size will be used"
"""The text of a warning, as the builtin has it."""


def open_raw(
    file: Any, mode: str = "rb", closefd: bool = True, opener: Callable[[Any, int], int] | None = None
) -> RawFile:
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
                error.filename = name  # the error names the descriptor, which the caller does not know
        raise


_NOT_RAW = str.maketrans("", "", "bt")
_FLAGS = {
    "r": os.O_RDONLY,
    "w": os.O_WRONLY | os.O_CREAT | os.O_TRUNC,
    "x": os.O_WRONLY | os.O_CREAT | os.O_EXCL,
    "a": os.O_WRONLY | os.O_CREAT | os.O_APPEND,
}


def _open_path(path: Any, mode: str, opener: Callable[[Any, int], int] | None) -> int:
    """Open in a thread: it may take long, and for a FIFO until the other end is opened."""
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
    return in_thread(_os_open, path, flags, 0o666)


def _is_fifo(path: Any) -> bool:
    try:
        return stat.S_ISFIFO(os.stat(path).st_mode)
    except OSError:
        return False


def _parse(
    mode: str, buffering: int, encoding: Any, errors: Any, newline: Any, stacklevel: int = 3
) -> tuple[str, bool, int]:
    """The raw mode, whether it is text, and the buffering. Errors and warnings as the builtin's."""
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
    if buffering == 0 and text:
        raise ValueError("can't have unbuffered text I/O")
    if buffering == 1 and not text:
        warnings.warn(NO_LINE_BUFFERING, RuntimeWarning, stacklevel=stacklevel)
        buffering = -1
    return mode.translate(_NOT_RAW), text, buffering


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
    raw_mode, text, buffering = _parse(mode, buffering, encoding, errors, newline)
    encoding = io.text_encoding(encoding, 2) if text else None
    return _over(open_raw(file, raw_mode, closefd, opener), mode if text else "", buffering, encoding, errors, newline)


def open_shared(
    fd: int,
    mode: str,
    buffering: int = -1,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    closefd: bool = True,
) -> Any:
    """:func:`open` for a descriptor that can be polled, and that others use too: it stays a blocking one."""
    raw_mode, text, buffering = _parse(mode, buffering, encoding, errors, newline, stacklevel=4)
    raw = PolledFile(fd, raw_mode, closefd, shared=True)
    return _over(raw, mode if text else "", buffering, encoding, errors, newline)


def _over(
    raw: RawFile, text_mode: str, buffering: int, encoding: str | None, errors: str | None, newline: str | None
) -> Any:
    """The file over ``raw``: a text file if it has a ``text_mode``. If it cannot be made ``raw`` is closed."""
    result: Any = raw
    try:
        by_line = bool(text_mode) and (buffering == 1 or (buffering < 0 and raw.isatty()))
        result = buffered(raw, -1 if by_line else buffering)
        if text_mode:
            result = TextFile(result, encoding, errors, newline, by_line)
            result.mode = text_mode
        return result
    except BaseException:
        result.close()
        raise


def buffered(raw: RawFile, buffering: int = -1) -> Any:
    """The buffered file over a raw one, or itself.

    :param buffering: bytes; 0: no buffer, negative: a size that suits the device.
    """
    if buffering == 0:
        return raw
    size = buffering if buffering > 0 else _block_size(raw)
    if not raw.readable():
        return BufferedWriter(raw, size)
    return BufferedRandom(raw, size) if raw.writable() else BufferedReader(raw, size)


def _block_size(raw: RawFile) -> int:
    size = getattr(os.fstat(raw._number()), "st_blksize", 0)
    return size if size > 1 else io.DEFAULT_BUFFER_SIZE
