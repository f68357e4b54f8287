"""Files that are read again when they have changed: resolv.conf and hosts."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from typing import Generic, TypeVar

from hubbub import RLock, sleep
from hubbub.lowlevel import monotonic

__all__ = ["Parser", "Watched"]

T = TypeVar("T")
Parser = Callable[[bytes], Generator[None, None, T]]
"""Makes a value from a file's bytes; yields now and then, so that other greenlets can run while it parses."""

_ABSENT = (0, 0, 0)


class Watched(Generic[T]):
    """The parsed contents of a file, at most ``interval`` seconds old. A file that cannot be read counts as empty."""

    def __init__(self, path: str, parser: Parser[T], interval: float) -> None:
        self.path = path
        self._parser = parser
        self._interval = interval
        self._forget()

    def _forget(self) -> None:
        self._lock = RLock()
        self._next = 0.0
        self._signature: tuple[int, int, int] | None = None
        self._value: T | None = None

    def get(self) -> T:
        """The value. The greenlet that finds the file changed reads it, and others wait for that."""
        value = self._value
        if value is None or monotonic() >= self._next:
            with self._lock:
                value = self._value
                if value is None or monotonic() >= self._next:
                    value = self._look()
        return value

    def _look(self) -> T:
        signature = self._sign()
        value = self._value
        if value is None or signature != self._signature:
            value = self._value = _run(self._parser(self._read()))
            self._signature = signature
        self._next = monotonic() + self._interval
        return value

    def _sign(self) -> tuple[int, int, int]:
        try:
            status = os.stat(self.path)
        except OSError:
            return _ABSENT
        return status.st_mtime_ns, status.st_size, status.st_ino

    def _read(self) -> bytes:
        try:
            with open(self.path, "rb") as file:
                return file.read()
        except OSError:
            return b""

    def reinit(self) -> None:
        """In the child after ``fork``: forget the lock, which a greenlet of the parent may hold."""
        self._forget()


def _run(steps: Generator[None, None, T]) -> T:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            value: T = end.value
            return value
        sleep(0)
