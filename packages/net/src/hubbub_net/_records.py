"""Ciphertext that has come, on its way to OpenSSL: free of I/O.

A read of the kernel's returns what is there, which may be many TLS records and the beginning of another. OpenSSL gets
them one at a time: so its buffer stays small, what it makes of each is known, and what is left over when TLS ends can
be handed back.
"""

from __future__ import annotations

from ssl import MemoryBIO

__all__ = ["Incoming"]

_HEADER = 5
"""Bytes: type, version (2), length of the rest (2). RFC 8446, 5.1."""
_TYPES = frozenset(range(20, 25))
_LONGEST = (1 << 14) + 2048
"""Bytes of a record of TLS 1.2 after its header, at most."""


class Incoming:
    """What has come and was not read yet.

    Until :meth:`settle`, in the handshake, OpenSSL gets everything at once: that takes fewer attempts, and a client may
    begin in the format of SSL 2.
    """

    __slots__ = ("_missing", "_start", "bio", "chunk", "ended", "loose")

    def __init__(self, early: bytes = b"") -> None:
        """:param early: what has come already."""
        self.bio = MemoryBIO()
        """OpenSSL's end."""
        self.loose = True
        """OpenSSL gets everything at once."""
        self.ended = False
        """Nothing will come any more."""
        self.chunk = early
        """What OpenSSL has not got yet. Mostly empty."""
        self._start = 0
        self._missing = 0  # bytes of the record of which OpenSSL has the beginning

    def take(self, data: bytes) -> bool:
        """Keep ``data``, which has come, and :meth:`feed`."""
        useful = bool(self.chunk) and self.feed()  # mostly the beginning of a record, which need not be copied
        if self._start < len(self.chunk):
            data = self.chunk[self._start :] + data
        self.chunk = data
        self._start = 0
        return self.feed() or useful

    def end(self) -> None:
        """Nothing will come any more."""
        self.ended = True
        if self.chunk:
            self.bio.write(memoryview(self.chunk)[self._start :])  # the beginning of a header
            self.chunk = b""
            self._start = 0
        self.bio.write_eof()

    def feed(self) -> bool:
        """Give OpenSSL the next record, or as much of it as there is.

        :returns: whether it can do something with what it has.
        """
        chunk = self.chunk
        if not chunk:
            return False
        start = self._start
        left = len(chunk) - start
        if self.loose:
            self._give(chunk, start, left)
            return True
        wanted = self._missing
        useful = True
        if not wanted:
            if left < _HEADER:
                return False
            wanted = _HEADER + (chunk[start + 3] << 8 | chunk[start + 4])
            # Of a bad header OpenSSL says so at once, without the rest of the record.
            useful = wanted <= left or chunk[start] not in _TYPES or chunk[start + 1] != 3 or wanted > _LONGEST
        elif wanted > left:
            useful = False
        given = min(wanted, left)
        self._missing = wanted - given
        self._give(chunk, start, given)
        return useful

    def _give(self, chunk: bytes, start: int, count: int) -> None:
        end = start + count
        if end < len(chunk):
            self.bio.write(memoryview(chunk)[start:end])
            self._start = end
            return
        self.bio.write(memoryview(chunk)[start:] if start else chunk)
        self.chunk = b""
        self._start = 0

    @property
    def ready(self) -> bool:
        """Whether :meth:`feed` would return True: no more need come first."""
        chunk = self.chunk
        left = len(chunk) - self._start
        if self._missing:
            return left >= self._missing
        if self.loose or left < _HEADER:
            return self.loose and left > 0
        start = self._start
        wanted = _HEADER + (chunk[start + 3] << 8 | chunk[start + 4])
        return wanted <= left or chunk[start] not in _TYPES or chunk[start + 1] != 3 or wanted > _LONGEST

    @property
    def wanted(self) -> int:
        """How many bytes are to come before there is a whole header, or a whole record."""
        return self._missing or max(_HEADER - len(self.chunk) + self._start, 1)

    def settle(self) -> None:
        """The handshake is done: from now on record by record."""
        self.chunk = self.rest()
        self.loose = False

    def rest(self) -> bytes:
        """Take back what OpenSSL has not read. It must be between two records."""
        rest = self.chunk[self._start :]
        if self.bio.pending:
            rest = self.bio.read() + rest
            self._missing = 0
        self.chunk = b""
        self._start = 0
        return rest
