"""Bodies of requests: the decoder of chunks, without I/O, and ``wsgi.input``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Protocol

from hubbub_server.http.errors import RequestError
from hubbub_server.http.limits import Limits
from hubbub_server.http.request import BAD_REQUEST, CHUNKED

__all__ = ["Body", "ChunkDecoder", "EmptyInput", "Input", "Source"]

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_QUOTED = rb'"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*"'
_BWS = rb"[ \t]*+"
_EXTENSION = (
    _BWS + rb";" + _BWS + _TOKEN + rb"+(?:" + _BWS + rb"=" + _BWS + rb"(?:" + _TOKEN + rb"+|" + _QUOTED + rb"))?"
)
_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})((?:" + _EXTENSION + rb")*)")
_FIELD_LINE = re.compile(rb"(" + _TOKEN + rb"):[\t -~\x80-\xff]*")
_NOT_IN_TRAILERS = frozenset(
    {b"content-length", b"transfer-encoding", b"host", b"connection", b"trailer", b"te", b"content-type",
     b"authorization", b"expect", b"upgrade"}
)  # fmt: skip
_PIECE = 65536
_CODED_PIECE = 16384
_CHUNK_COST = 1024
"""What decoding a chunk costs, in bytes that could be moved instead."""


class ChunkDecoder:
    """The chunked coding (RFC 9112, 7.1), incrementally and to the letter. Trailers are checked."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._pending = b""
        self._left = 0
        self._state = self._size
        self._extensions = 0
        self._trailers = 0
        self.trailers: list[tuple[str, str]] = []
        """Those after the last chunk, names lowered."""
        self.count: int = 0
        """Chunks so far."""
        self.total: int = 0
        """Bytes of body so far."""
        self.done: bool = False
        """Whether the end was seen; then :attr:`rest` is what follows the body."""
        self.rest: bytes = b""

    def feed(self, data: bytes) -> bytes:
        """Take what was received, return the body in it.

        :raises RequestError: it is not chunked coding, or too long.
        """
        if self._pending:
            data = self._pending + data
            self._pending = b""
        out: list[bytes] = []
        position = 0
        while not self.done:
            moved = self._state(data, position, out)
            if moved < 0:
                self._pending = data[position:]
                break
            position = moved
        else:
            self.rest = data[position:]
        return out[0] if len(out) == 1 else b"".join(out)

    def _size(self, data: bytes, position: int, out: list[bytes]) -> int:
        end = data.find(b"\r\n", position)
        if end < 0:
            self._check_unfinished(data, position, 18 + self._limits.chunk_extension_bytes)
            return -1
        match = _SIZE_LINE.fullmatch(data, position, end)
        if match is None:
            raise RequestError(BAD_REQUEST, "A chunk size is not valid.")
        if match[2]:
            self._extensions += len(match[2])
            if self._extensions > self._limits.chunk_extension_bytes:
                raise RequestError(BAD_REQUEST, "The chunk extensions are too long.")
        self._left = int(match[1], 16)
        self.count += 1
        self.total += self._left
        limit = self._limits.body_bytes
        if limit is not None and self.total > limit:
            raise RequestError("413 Content Too Large", "The body is too long.")
        self._state = self._data if self._left else self._trailer
        return end + 2

    def _check_unfinished(self, data: bytes, position: int, limit: int) -> None:
        size = len(data) - position
        if size > limit:
            raise RequestError(BAD_REQUEST, "A line in a chunked body is too long.")
        if data.find(b"\n", position) >= 0 or (0 <= data.find(b"\r", position) < len(data) - 1):
            raise RequestError(BAD_REQUEST, "A line in a chunked body does not end in CRLF.")

    def _data(self, data: bytes, position: int, out: list[bytes]) -> int:
        if position >= len(data):
            return -1
        piece = data[position : position + self._left]
        out.append(piece)
        self._left -= len(piece)
        if not self._left:
            self._state = self._data_end
        return position + len(piece)

    def _data_end(self, data: bytes, position: int, out: list[bytes]) -> int:
        found = data[position : position + 2]
        if found != b"\r\n"[: len(found)]:
            raise RequestError(BAD_REQUEST, "A chunk does not end where its size says.")
        if len(found) < 2:
            return -1
        self._state = self._size
        return position + 2

    def _trailer(self, data: bytes, position: int, out: list[bytes]) -> int:
        end = data.find(b"\r\n", position)
        limit = self._limits.trailer_bytes
        if self._trailers + (len(data) if end < 0 else end) - position > limit:
            raise RequestError("431 Request Header Fields Too Large", "The trailers are too long.")
        if end < 0:
            self._check_unfinished(data, position, limit)
            return -1
        if end == position:
            self.done = True
            return end + 2
        self._trailers += end + 2 - position
        match = _FIELD_LINE.fullmatch(data, position, end)
        if match is None or match[1].lower() in _NOT_IN_TRAILERS:
            raise RequestError(BAD_REQUEST, "A trailer is not valid.")
        value = data[match.end(1) + 1 : end].strip(b" \t")
        self.trailers.append((match[1].decode("ascii").lower(), value.decode("latin-1")))
        return end + 2


class Source(Protocol):
    """Where a body's bytes come from: the connection."""

    limits: Limits

    def body_data(self, size: int) -> bytes:
        """The next bytes received, at most ``size`` of them; raises when there will be none."""

    def buffered(self, size: int) -> bytes:
        """The same, of what was received already; may be empty."""

    def give_back(self, data: bytes) -> None:
        """What follows the body."""

    def send_continue(self) -> None:
        """Tell the client to go on."""

    def note_work(self, size: int) -> None:
        """Yield after much work, counted in bytes moved."""


class Body:
    """The rest of a request's body, in pieces."""

    __slots__ = ("_decoder", "_early", "_left", "_source", "done", "error", "expected")

    def __init__(self, source: Source, length: int, expects: bool) -> None:
        self._source = source
        self._left = length
        self._decoder = ChunkDecoder(source.limits) if length == CHUNKED else None
        self._early = b""
        self.done: bool = False
        """Whether all of it was read."""
        self.error: Exception | None = None
        """What is wrong with it."""
        self.expected: bool = expects
        """Whether the client waits for "100 Continue" still."""

    @property
    def trailers(self) -> list[tuple[str, str]]:
        """Those that have followed the body, names lowered."""
        return [] if self._decoder is None else self._decoder.trailers

    @property
    def left(self) -> int:
        """Bytes that were not read yet, or :data:`CHUNKED`."""
        return 0 if self.done else self._left

    def next(self) -> bytes:
        """The next piece, or nothing at the end.

        :raises RequestError: the body is not valid.
        :raises ClientDisconnected: it ended early.
        """
        if self._early:
            piece, self._early = self._early, b""
            return piece
        if self.error is not None:
            raise self.error
        while not self.done:
            try:
                if self.expected:
                    self.expected = False
                    if not (piece := self._take(self._source.buffered(self._wanted()))):
                        self._source.send_continue()
                        continue
                else:
                    piece = self._take(self._source.body_data(self._wanted()))
            except Exception as error:
                self.error = error
                raise
            if piece:
                return piece
        return b""

    def _wanted(self, coded: int = _CODED_PIECE) -> int:
        return coded if self._decoder is not None else min(self._left, _PIECE)

    def _take(self, data: bytes) -> bytes:
        decoder = self._decoder
        if decoder is None:
            self._left -= len(data)
            self.done = not self._left
            return data
        before = decoder.count
        piece = decoder.feed(data)
        if decoder.done:
            self.done = True
            self._source.give_back(decoder.rest)
        self._source.note_work((decoder.count - before) * _CHUNK_COST)
        return piece

    @property
    def drained(self) -> bool:
        """Whether :meth:`next` has nothing more to give."""
        return self.done and not self._early

    def next_nowait(self) -> bytes:
        """The next piece as far as it was received already; may be nothing. Raises as :meth:`next`."""
        self.look_ahead()
        if self.error is not None and not self._early:
            raise self.error
        piece, self._early = self._early, b""
        return piece

    def look_ahead(self) -> None:
        """Decode what was received already, so that what is wrong with it shows before the response begins."""
        if self.done or self.error is not None:
            return
        data = self._source.buffered(self._wanted(_PIECE))
        if data:
            try:
                self._early += self._take(data)
            except RequestError as error:
                self.error = error

    def discard(self, limit: int) -> bool:
        """Read the rest and throw it away. False when it is longer than ``limit`` bytes."""
        self._early = b""
        while not self.done:
            if self._left > limit:
                return False
            limit -= len(self.next())
            if limit < 0:
                return False
        return True


class EmptyInput:
    """``wsgi.input`` of a request without a body."""

    __slots__ = ()

    def read(self, size: int | None = -1, /) -> bytes:
        """Nothing."""
        return b""

    def readline(self, size: int | None = -1, /) -> bytes:
        """Nothing."""
        return b""

    def readlines(self, hint: int | None = -1, /) -> list[bytes]:
        """Nothing."""
        return []

    def __iter__(self) -> Iterator[bytes]:
        return iter(())


class Input:
    """``wsgi.input``: the body as a file that is read from the client as the application reads it (PEP 3333).

    Reading raises :class:`~hubbub_server.http.errors.RequestError` when the body is not valid, and
    :class:`~hubbub_server.http.errors.ClientDisconnected` when it ends early.
    """

    __slots__ = ("_buffer", "_next")

    def __init__(self, body: Body) -> None:
        self._next: Callable[[], bytes] = body.next
        self._buffer = b""

    def read(self, size: int | None = -1, /) -> bytes:
        """``size`` bytes, fewer only at the end; all that is left for None or -1."""
        if size is None or size < 0:
            return self._all()
        if size <= len(self._buffer):
            data, self._buffer = self._buffer[:size], self._buffer[size:]
            return data
        pieces = [self._buffer]
        have = len(self._buffer)
        self._buffer = b""
        while have < size:
            piece = self._next()
            if not piece:
                break
            pieces.append(piece)
            have += len(piece)
        data = b"".join(pieces)
        self._buffer = data[size:]
        return data[:size]

    def _all(self) -> bytes:
        pieces = [self._buffer]
        self._buffer = b""
        while piece := self._next():
            pieces.append(piece)
        return b"".join(pieces)

    def readline(self, size: int | None = -1, /) -> bytes:
        """Up to and with the next newline, ``size`` bytes at most."""
        limit = -1 if size is None or size < 0 else size
        pieces = []
        have = 0
        while True:
            buffer = self._buffer or self._next()
            end = buffer.find(b"\n") + 1
            stop = end or len(buffer)
            if limit >= 0:
                stop = min(stop, limit - have)
            pieces.append(buffer[:stop])
            self._buffer = buffer[stop:]
            have += stop
            if not buffer or (end and stop == end) or have == limit:
                return b"".join(pieces)

    def readlines(self, hint: int | None = -1, /) -> list[bytes]:
        """The lines that are left; with ``hint``, no more once that many bytes were read."""
        lines = []
        have = 0
        for line in self:
            lines.append(line)
            have += len(line)
            if hint is not None and 0 < hint <= have:
                break
        return lines

    def __iter__(self) -> Iterator[bytes]:
        while line := self.readline():
            yield line
