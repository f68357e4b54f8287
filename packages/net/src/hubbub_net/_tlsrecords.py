"""Ciphertext that has come, on its way to OpenSSL: free of I/O.

A read of the kernel's returns what is there, which may be many TLS records and the beginning of another. OpenSSL gets
them one at a time, or two large ones: so its buffer stays small, what a peer can make it do in one call is bounded,
and what is left over when TLS ends can be handed back.
"""

from __future__ import annotations

from ssl import MemoryBIO

__all__ = ["RECEIVE", "Incoming"]

RECEIVE = (1 << 16) + (1 << 8)
"""So many bytes of ciphertext are read at once, at most: four of the longest records that peers usually send."""

_HEADER = 5
"""Bytes: type, version (2), length of the rest (2). RFC 8446, 5.1."""
_TYPES = frozenset(range(20, 25))
_DATA = 23
"""The type of application data, and of everything that is encrypted in TLS 1.3."""
_LARGE = 1 << 12
"""Bytes: several records that are as long as this may be given at once, as few of them fit into the time and memory
that a peer is granted."""
_MOST = 2
"""So many are given at once, at most: OpenSSL's buffer does not shrink again, and with four a read costs the same."""
_LONGEST = (1 << 14) + 2048
"""Bytes of a record of TLS 1.2 after its header, at most."""


class Incoming:
    """What has come and was not read yet.

    Until :meth:`settle`, in the handshake, OpenSSL gets everything at once: that takes fewer attempts, and a client may
    begin in the format of SSL 2.
    """

    __slots__ = ("_length", "_missing", "_start", "bio", "chunk", "ended", "loose")

    def __init__(self, early: bytes = b"") -> None:
        """:param early: what has come already."""
        self.bio: MemoryBIO = MemoryBIO()
        """OpenSSL's end."""
        self.loose: bool = True
        """OpenSSL gets everything at once."""
        self.ended: bool = False
        """Nothing will come any more."""
        self.chunk: bytes = early
        """What OpenSSL has not got yet. Mostly empty."""
        self._start = 0
        self._missing = 0  # bytes of the record of which OpenSSL has the beginning
        self._length = 0  # of the last record, if it was a large one

    def take(self, data: bytes, most: int = 1) -> int:
        """Keep ``data``, which has come, and :meth:`feed`."""
        useful = self.feed() if self.chunk else 0  # mostly the beginning of a record, which need not be copied
        if self._start < len(self.chunk):
            data = self.chunk[self._start :] + data
        self.chunk = data
        self._start = 0
        return self.feed(most) or useful

    def end(self) -> None:
        """Nothing will come any more."""
        self.ended = True
        if self.chunk:
            self.bio.write(memoryview(self.chunk)[self._start :])  # the beginning of a header
            self.chunk = b""
            self._start = 0
        self.bio.write_eof()

    def feed(self, most: int = 1) -> int:
        """Give OpenSSL the next record, or as much of it as there is.

        :param most: give up to so many of them, if they are large and of application data.
        :returns: how many reads may find something in what OpenSSL has got now.
        """
        chunk = self.chunk
        if not chunk:
            return 0
        start = self._start
        left = len(chunk) - start
        if self.loose:
            self._give(chunk, start, left)
            return 1
        wanted = self._missing
        useful = 1
        if not wanted:
            if left < _HEADER:
                return 0
            wanted = _HEADER + (chunk[start + 3] << 8 | chunk[start + 4])
            self._length = wanted if _LARGE <= wanted <= _LONGEST else 0
            if wanted > left or wanted > _LONGEST:
                # Of a bad header OpenSSL says so at once, without the rest of the record.
                useful = chunk[start] not in _TYPES or chunk[start + 1] != 3 or wanted > _LONGEST
            elif most > 1:
                useful, wanted = self._together(most, start, wanted)
        elif wanted > left:
            useful = 0
        given = wanted if wanted < left else left
        self._missing = wanted - given
        self._give(chunk, start, given)
        return useful

    def _together(self, most: int, start: int, length: int) -> tuple[int, int]:
        """How many records are given at once, and their bytes: the next one, and those behind it that are like it.

        :param length: bytes of the next one, which is whole.
        """
        chunk = self.chunk
        header = chunk[start : start + _HEADER]
        records, end = 1, start + length
        if length >= _LARGE and header[0] == _DATA and header[1] == 3:
            last = len(chunk) - length
            while records < most and records < _MOST and end <= last and chunk.startswith(header, end):
                end += length
                records += 1
        return records, end - start

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
        if self.bio.pending and not self.loose:
            return True
        if self.loose or left < _HEADER:
            return self.loose and left > 0
        start = self._start
        wanted = _HEADER + (chunk[start + 3] << 8 | chunk[start + 4])
        return wanted <= left or chunk[start] not in _TYPES or chunk[start + 1] != 3 or wanted > _LONGEST

    @property
    def appetite(self) -> int:
        """How many bytes to receive: the last of them ends a record, if the peer goes on with records of one length."""
        if not self._length:
            return RECEIVE
        begun = self._length - self._missing if self._missing else len(self.chunk) - self._start
        return RECEIVE // self._length * self._length - begun % self._length

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
