"""``wsgi.file_wrapper``: a file that is sent in the fastest way there is (PEP 3333)."""

from __future__ import annotations

import io
import os
import stat
import tempfile
from collections.abc import Iterator
from typing import Any

__all__ = ["FileWrapper", "PlainFile", "plain_file"]

# Exactly these: a subclass may read something else than what is in the file, as does whatever has a fileno() besides.
_BUFFERED = (io.BufferedReader, io.BufferedRandom)
_TEMPORARY = getattr(tempfile, "_TemporaryFileWrapper", None)


class PlainFile:
    """What is left of a regular file whose bytes are those that ``read()`` would give."""

    __slots__ = ("descriptor", "offset", "size")

    def __init__(self, descriptor: int, offset: int, size: int) -> None:
        self.descriptor: int = descriptor
        self.offset: int = offset
        """Where it begins."""
        self.size: int = size
        """Bytes from there to the end, now."""

    def change(self) -> int:
        """By how many bytes the file is longer than it was."""
        return os.fstat(self.descriptor).st_size - self.offset - self.size


def plain_file(filelike: Any) -> PlainFile | None:
    """The rest of ``filelike``, if that is a regular file on a disk, read by the standard library's own classes.

    None for anything else, such as a :class:`gzip.GzipFile`, whose ``fileno()`` is that of the compressed file; and for
    what looks like an empty file or one without blocks, as in ``/proc`` and ``/sys``, whose size says nothing.
    """
    if _TEMPORARY is not None and type(filelike) is _TEMPORARY:
        filelike = filelike.file
    if type(filelike) in _BUFFERED:
        raw = filelike.raw
    elif type(filelike) is io.FileIO:
        raw = filelike
    else:
        return None
    try:
        if type(raw) is not io.FileIO or not raw.readable():
            return None
        if type(filelike) is io.BufferedRandom:
            filelike.flush()
        status = os.fstat(raw.fileno())
        offset = filelike.tell()
    except (OSError, ValueError):
        return None
    if not stat.S_ISREG(status.st_mode) or not status.st_size or not getattr(status, "st_blocks", 1):
        return None
    return PlainFile(raw.fileno(), offset, max(status.st_size - offset, 0))


class FileWrapper:
    """Returned by an application as its body. A plain file goes by :manpage:`sendfile(2)`, others are read.

    :param filelike: has ``read(size)``.
    :param block_size: bytes per read.
    :param length: the most bytes that are given, from where the file stands; None for all. Whoever sets it declares a
        ``Content-Length`` of as much.
    """

    def __init__(self, filelike: Any, block_size: int = 65536, length: int | None = None) -> None:
        self.filelike = filelike
        self.block_size: int = max(block_size, 1)
        self.length: int | None = length

    def close(self) -> None:
        """Close the file, if it can be closed."""
        close = getattr(self.filelike, "close", None)
        if close is not None:
            close()

    def __iter__(self) -> Iterator[bytes]:
        left = self.length
        while data := self.filelike.read(self.block_size if left is None else min(self.block_size, left)):
            yield data
            if left is not None:
                left -= len(data)
