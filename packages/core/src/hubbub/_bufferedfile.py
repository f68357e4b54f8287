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
            self.raw.close()  # also if the wait for other greenlets is cut short


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
    """:class:`io.TextIOWrapper` that can be closed while greenlets wait in it."""

    def close(self) -> None:
        """Close; greenlets that wait in it get EBADF."""
        if not self.closed and hasattr(self.buffer, "interrupt"):
            self.buffer.interrupt()
        super().close()
