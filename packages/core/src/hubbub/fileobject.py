"""Files that let other greenlets run while they wait: pipes, FIFOs and terminals by readiness, the rest in threads.

:func:`open` takes what the builtin takes and returns what it returns, over a raw file:
:class:`PolledFile` where the descriptor can be polled, :class:`ThreadedFile` where it cannot (regular files, which the
kernel always calls ready). Several greenlets may use one buffered file: their calls take turns.

As with :mod:`io`, a read that is cut short by an exception (a :class:`hubbub.Timeout`, for instance) in the middle of a
line or block loses what it had taken of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from hubbub._bufferedfile import BufferedRandom, BufferedReader, BufferedWriter, TextFile
from hubbub._opening import NO_LINE_BUFFERING, buffered, open, open_raw
from hubbub._rawfile import PolledFile, ThreadedFile, can_be_polled, share
from hubbub.io import closing

if TYPE_CHECKING:
    from typing import Self

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
