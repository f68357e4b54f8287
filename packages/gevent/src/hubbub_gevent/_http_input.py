"""The body of a request, as ``gevent.pywsgi.Input`` presents it."""

from __future__ import annotations

import re
from typing import Any

__all__ = ["MAX_REQUEST_LINE", "Input", "InvalidInput"]

MAX_REQUEST_LINE = 8192
_SIZE = re.compile(rb"([0-9a-fA-F]{1,16})[ \t]*(;[^\r\n]*)?\r?\n\Z")
_SIZE_SO_FAR = re.compile(rb"[0-9a-fA-F]{1,16}[ \t]*(;[^\r\n]*)?\r?\n?\Z")
"""The beginning of a line with a size. It is checked byte by byte, to refuse a client that never ends the line."""
_TRAILER = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[^\r\n]*\r?\n\Z")
_PIECE = 65536


class InvalidInput(IOError):
    """The client's framing of the body is wrong."""


class Input:
    """``wsgi.input``: reads the body of a request and nothing after it, by its length or in chunks.

    :param rfile: the connection.
    :param content_length: bytes of the body; None: there is no body.
    :param socket: where "100 Continue" goes before the first read, or None.
    :param chunked_input: the body comes in chunks (RFC 9112, 7.1).
    """

    def __init__(self, rfile: Any, content_length: int | None, socket: Any = None, chunked_input: bool = False) -> None:
        self.rfile = rfile
        self.content_length = content_length
        self.socket: Any = socket
        self.position: int = 0
        self.chunked_input = chunked_input
        self._left = 0
        self._ended = False
        self.send_100_continue_enabled: bool = True

    # Framing --------------------------------------------------------------------------------------------------------

    def _available(self) -> int:
        """How many bytes of the body may be read before framing must be parsed again; 0 at the end of the body."""
        if not self.chunked_input:
            return max((self.content_length or 0) - self.position, 0)
        if not self._left and not self._ended:
            self._next_chunk()
        return self._left

    def _took(self, count: int) -> None:
        self.position += count
        if self.chunked_input:
            self._left -= count
            if not self._left:
                self._end_of_chunk()

    def _end_of_chunk(self) -> None:
        end = self.rfile.readline(2)
        if end == b"\r":
            end += self.rfile.readline(1)
        if end not in (b"\r\n", b"\n"):
            self._ended = True
            if not end.strip():
                raise OSError("unexpected end of file while parsing chunked data")
            raise InvalidInput("a chunk is longer than it says")

    def _next_chunk(self) -> None:
        line = b""
        while not line.endswith(b"\n"):
            piece = self.rfile.read(1)
            if not piece:
                self._ended = True
                raise OSError("unexpected end of file while parsing chunked data")
            line += piece
            if len(line) > MAX_REQUEST_LINE or not _SIZE_SO_FAR.match(line):
                self._ended = True
                raise InvalidInput("the size of a chunk cannot be read")
        match = _SIZE.match(line)
        if match is None:
            self._ended = True
            raise InvalidInput("the size of a chunk cannot be read")
        self._left = int(match[1], 16)
        if not self._left:
            self._ended = True
            self._skip_trailers()

    def _skip_trailers(self) -> None:
        total = 0
        while True:
            line = self.rfile.readline(MAX_REQUEST_LINE + 1)
            if line in (b"\r\n", b"\n", b""):
                return
            total += len(line)
            if total > MAX_REQUEST_LINE or not _TRAILER.match(line):
                raise InvalidInput("a trailer is too long or no header field")

    # Reading --------------------------------------------------------------------------------------------------------

    def _continue(self) -> None:
        sock, self.socket = self.socket, None
        if sock is not None and self.send_100_continue_enabled:
            sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _collect(self, length: int | None, line: bool) -> bytes:
        found = []
        left = length if length is not None and length >= 0 else None
        self._continue()
        while left is None or left > 0:
            count = self._available()
            if not count:
                break
            count = min(count, _PIECE, left if left is not None else count)
            data = self.rfile.readline(count) if line else self.rfile.read(count)
            found.append(data)
            if not data or (not line and len(data) < count) or (line and len(data) < count and data[-1:] != b"\n"):
                self._short()
            self._took(len(data))
            if left is not None:
                left -= len(data)
            if line and data.endswith(b"\n"):
                break
        return b"".join(found)

    def _short(self) -> None:
        self._ended = True
        self._left = 0
        if self.chunked_input:
            raise OSError("unexpected end of file while parsing chunked data")
        raise OSError(f"unexpected end of file while reading request at position {self.position}")

    def read(self, length: int | None = None) -> bytes:
        """At most ``length`` bytes; all that is left if it is None or negative.

        :raises OSError: the client ended too early.
        """
        return self._collect(length, line=False)

    def readline(self, size: int | None = None) -> bytes:
        """One line, or at most ``size`` bytes of it."""
        return self._collect(size, line=True)

    def readlines(self, hint: Any = None) -> list[bytes]:
        """All lines that are left."""
        return list(self)

    def __iter__(self) -> Input:
        return self

    def __next__(self) -> bytes:
        line = self.readline()
        if not line:
            raise StopIteration
        return line

    next = __next__

    def _discard(self) -> None:
        """Read what the application has left unread, so that the connection is at the start of the next request."""
        self.send_100_continue_enabled = False
        while self._available():
            self.read(_PIECE)

    def _send_100_continue(self) -> None:
        self._continue()
