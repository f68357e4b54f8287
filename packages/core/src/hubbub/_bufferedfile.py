"""Buffered and text files that several greenlets may use: their calls take turns."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

from hubbub._rawfile import Ending
from hubbub.lock import RLock

__all__ = ["BufferedRandom", "BufferedReader", "BufferedWriter", "TextFile"]

T = TypeVar("T")


class _Turn(Ending, RLock):
    """Held by the greenlet whose turn with a file it is. While the interpreter ends, every greenlet may go on."""

    def __enter__(self) -> bool:
        return self._ending() or self.acquire()

    def __exit__(self, *_: object) -> None:
        if not self._ending():
            self.release()

    def is_taken(self) -> bool:
        """Whether another greenlet holds it."""
        return self.locked() and not self._ending() and not self._is_owned()


def _in_turn(method: Callable[..., T]) -> Callable[..., T]:
    """The method, for one greenlet at a time: the buffers of :mod:`io` refuse a second call of the same thread."""

    @wraps(method)
    def call(self: Any, *args: Any) -> T:
        with self._turn:
            return method(self, *args)

    return call


class _Turns:
    """What all buffered files share. It stands before the class of :mod:`io` among the bases, and calls that one's."""

    raw: Any

    def __init__(self, raw: Any, buffer_size: int = io.DEFAULT_BUFFER_SIZE) -> None:
        self._turn = _Turn()
        super().__init__(raw, buffer_size)  # type: ignore[call-arg]  # that of the class of io

    def interrupt(self) -> None:
        """End a call that another greenlet waits in, before this one closes the file."""
        if self._turn.is_taken():
            self.raw.interrupt()

    def close(self) -> None:
        """Close; greenlets that wait in it get EBADF."""
        close: Callable[[], None] = super().close  # type: ignore[misc]  # as above
        if self.raw.closed:
            close()
            return
        self.interrupt()
        try:
            with self._turn:
                close()
        finally:
            self.raw.close()  # also if the wait for other greenlets is cut short


class _Lines(_Turns):
    """What those that read share besides."""

    def __next__(self) -> bytes:
        line: bytes = self.readline()  # type: ignore[attr-defined]  # as above
        if not line:
            raise StopIteration
        return line


class BufferedReader(_Lines, io.BufferedReader):
    """:class:`io.BufferedReader` for several greenlets."""

    if not TYPE_CHECKING:  # for checkers they are those of the base class
        read = _in_turn(io.BufferedReader.read)
        read1 = _in_turn(io.BufferedReader.read1)
        readinto = _in_turn(io.BufferedReader.readinto)
        readinto1 = _in_turn(io.BufferedReader.readinto1)
        readline = _in_turn(io.BufferedReader.readline)
        peek = _in_turn(io.BufferedReader.peek)
        seek = _in_turn(io.BufferedReader.seek)


class BufferedWriter(_Turns, io.BufferedWriter):
    """:class:`io.BufferedWriter` for several greenlets."""

    if not TYPE_CHECKING:  # for checkers they are those of the base class
        write = _in_turn(io.BufferedWriter.write)
        flush = _in_turn(io.BufferedWriter.flush)
        seek = _in_turn(io.BufferedWriter.seek)
        truncate = _in_turn(io.BufferedWriter.truncate)


class BufferedRandom(_Lines, io.BufferedRandom):
    """:class:`io.BufferedRandom` for several greenlets."""

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


class TextFile(io.TextIOWrapper):
    """:class:`io.TextIOWrapper` that can be closed while greenlets wait in it."""

    def close(self) -> None:
        """Close; greenlets that wait in it get EBADF."""
        if not self.closed and hasattr(self.buffer, "interrupt"):
            self.buffer.interrupt()
        super().close()
