"""``wsgi.file_wrapper``: a file that is sent in the fastest way there is (PEP 3333)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

__all__ = ["FileWrapper"]


class FileWrapper:
    """Returned by an application as its body. A regular file goes by :manpage:`sendfile(2)`, others are read.

    :param filelike: has ``read(size)``.
    :param block_size: bytes per read.
    """

    def __init__(self, filelike: Any, block_size: int = 65536) -> None:
        self.filelike = filelike
        self.block_size = max(block_size, 1)

    def close(self) -> None:
        """Close the file, if it can be closed."""
        close = getattr(self.filelike, "close", None)
        if close is not None:
            close()

    def __iter__(self) -> Iterator[bytes]:
        while data := self.filelike.read(self.block_size):
            yield data
