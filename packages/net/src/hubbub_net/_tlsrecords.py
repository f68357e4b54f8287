"""Ciphertext that has come, on its way to OpenSSL: free of I/O.

One system call returns what is there, which may be many TLS records and the beginning of another. OpenSSL gets them one
at a time, or two large ones. So OpenSSL's buffer stays small, the work that a peer can cause in one call is bounded,
and what is left over when TLS ends can be handed back.
"""

from __future__ import annotations

from ssl import MemoryBIO

from hubbub_net.acceleration import PARTS, known_to_c, mirrored, twin

__all__ = ["RECEIVE", "Incoming"]

RECEIVE = (1 << 16) + (1 << 8)
"""How many bytes of ciphertext are received at once, at most: four of the longest records that peers usually send."""

_HEADER = 5
"""Bytes of a record's header: type (1), version (2), length of the rest (2). RFC 8446, 5.1."""
_NO_HEADER = bytes(_HEADER)
_TYPES = frozenset(range(20, 25))
_DATA = 23
"""The record type of application data, and of everything that is encrypted in TLS 1.3."""
_LARGE = 1 << 12
"""Bytes: several records of at least this length may be given at once, as only few of them fit into what is received at
once."""
_MOST = 2
"""How many records are given at once, at most: OpenSSL's buffer never shrinks, and four at once are not faster."""
_LONGEST = (1 << 14) + 2048
"""Bytes of a record of TLS 1.2 after its header, at most."""
PARTS.update({"receive": RECEIVE, "large": _LARGE, "most": _MOST, "longest": _LONGEST})


@known_to_c
class Incoming:
    """Ciphertext that has come and that OpenSSL has not read yet.

    During the handshake, until :meth:`settle`, OpenSSL gets everything at once: that takes fewer attempts, and a client
    may begin in the format of SSL 2.
    """

    __slots__ = (
        "_header",
        "_large",
        "_length",
        "_missing",
        "_paired",
        "_start",
        "_whole",
        "bio",
        "chunk",
        "ended",
        "loose",
    )

    def __init__(self, early: bytes = b"") -> None:
        """:param early: ciphertext that has come already."""
        self.bio: MemoryBIO = MemoryBIO()
        """The buffer that OpenSSL reads from."""
        self.loose: bool = True
        """Whether OpenSSL gets everything at once."""
        self.ended: bool = False
        """Whether nothing will come any more."""
        self.chunk: bytes = early
        """What follows offset ``_start`` is ciphertext that OpenSSL has not got yet. Mostly empty."""
        self._start = 0
        self._missing = 0  # bytes that are to follow of the record whose beginning OpenSSL has
        self._length = 0  # bytes of the last record if it was a large one, else 0
        # No header has been read yet; these say what _learn() would say of one of zeros.
        self._header = _NO_HEADER
        self._whole = _HEADER  # bytes of the record
        self._large = 0
        self._paired = False  # whether it may be given with the next one

    @mirrored("records.c")
    def _learn(self, header: bytes) -> None:
        """Note what a record's header says. In bulk all headers are equal, and each is read once."""
        self._header = header
        self._whole = _HEADER + (header[3] << 8 | header[4])
        large = _LARGE <= self._whole <= _LONGEST
        self._large = self._whole if large else 0
        self._paired = large and header[0] == _DATA and header[1] == 3

    @twin("records.c")
    def take(self, data: bytes, most: int = 1) -> int:
        """Keep ``data``, which has just been received, and :meth:`feed` OpenSSL."""
        if (
            not (self.chunk or self._missing or self.loose)
            and _HEADER < len(data) < _LARGE
            and len(data) == _HEADER + (data[3] << 8 | data[4])
        ):  # mostly: one record, and a small one
            self._length = 0
            self.bio.write(data)
            return 1
        useful = self.feed() if self.chunk else 0  # mostly the beginning of a record, which need not be copied
        if self._start < len(self.chunk):
            data = self.chunk[self._start :] + data
        self.chunk = data
        self._start = 0
        return self.feed(most) or useful

    def end(self) -> None:
        """Tell OpenSSL that nothing will come any more."""
        self.ended = True
        if self.chunk:
            self.bio.write(memoryview(self.chunk)[self._start :])  # the beginning of a header
            self.chunk = b""
            self._start = 0
        self.bio.write_eof()

    @twin("records.c")
    def feed(self, most: int = 1) -> int:
        """Give OpenSSL the next record, or as much of it as has come.

        :param most: how many records to give at most, if they are large and of application data.
        :returns: how many reads of OpenSSL's can make progress with what it has got now.
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
            if not chunk.startswith(self._header, start):
                if left < _HEADER:
                    return 0
                self._learn(chunk[start : start + _HEADER])
            wanted = self._whole
            self._length = self._large
            if wanted > left or wanted > _LONGEST:
                # OpenSSL reports a bad header at once, without the rest of the record.
                useful = chunk[start] not in _TYPES or chunk[start + 1] != 3 or wanted > _LONGEST
            elif (
                most > 1 and self._paired and wanted <= left - wanted and chunk.startswith(self._header, start + wanted)
            ):
                useful = _MOST
                wanted *= _MOST
        elif wanted > left:
            useful = 0
        given = wanted if wanted < left else left
        self._missing = wanted - given
        self._give(chunk, start, given)
        return useful

    @mirrored("records.c")
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
    @mirrored("records.c")
    def ready(self) -> bool:
        """Whether OpenSSL could make progress after :meth:`feed` although no more is received."""
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
    @mirrored("records.c")
    def appetite(self) -> int:
        """How many bytes to receive, chosen to end with a whole record if the peer's records keep their length."""
        if not self._length:
            return RECEIVE
        begun = self._length - self._missing if self._missing else len(self.chunk) - self._start
        return RECEIVE // self._length * self._length - begun % self._length

    @property
    def wanted(self) -> int:
        """How many bytes are missing to a whole header, or a whole record."""
        return self._missing or max(_HEADER - len(self.chunk) + self._start, 1)

    def settle(self) -> None:
        """Give OpenSSL record by record from now on: the handshake is done."""
        self.chunk = self.rest()
        self.loose = False

    def rest(self) -> bytes:
        """Take back what OpenSSL has not read. OpenSSL must be between two records."""
        rest = self.chunk[self._start :]
        if self.bio.pending:
            rest = self.bio.read() + rest
            self._missing = 0
        self.chunk = b""
        self._start = 0
        return rest
