"""The body of a request over HTTP/2: DATA frames that have arrived, and the wait for more. No I/O."""

from __future__ import annotations

from collections import deque
from typing import Protocol

from hubbub_server._http2.fields import Malformed
from hubbub_server.http.errors import RequestError
from hubbub_server.http.limits import Limits
from hubbub_server.http.request import CHUNKED

__all__ = ["Body", "Source"]


class Source(Protocol):
    """What a body needs of its stream."""

    limits: Limits

    def wait_body(self) -> None:
        """Wait until the body has grown, ended, or failed.

        :raises RequestError: 408.
        :raises ClientDisconnected: there will be no more.
        """

    def release(self, size: int) -> None:
        """So many bytes of what had arrived were read: the client may send as many more."""

    def send_continue(self) -> None:
        """Tell the client to go on."""


class Body:
    """The rest of a request's body. It has the interface of :class:`hubbub_server.http.body.Body`.

    :param source: the stream.
    :param length: what ``Content-Length`` says, or :data:`~hubbub_server.http.request.CHUNKED`.
    :param expects: whether the client waits for "100 Continue".
    """

    __slots__ = ("_ended", "_held", "_length", "_pieces", "_source", "_total", "done", "error", "expected")

    def __init__(self, source: Source, length: int, expects: bool) -> None:
        self._source = source
        self._length = length
        self._pieces: deque[bytes] = deque()
        self._held = 0  # what the pieces have taken of the window, padding included
        self._total = 0
        self._ended = False
        self.done: bool = False
        """Whether all of it was read."""
        self.error: Exception | None = None
        """What is wrong with it."""
        self.expected: bool = expects
        """Whether the client waits for "100 Continue" still."""

    # What arrives ---------------------------------------------------------------------------------------------------

    def feed(self, data: bytes, size: int) -> None:
        """A DATA frame has arrived.

        :param size: bytes that it takes of the window.
        :raises RequestError: it is more than there may be.
        """
        self._total += len(data)
        if self._length != CHUNKED and self._total > self._length:
            raise Malformed("The body is longer than its Content-Length.")
        limit = self._source.limits.body_bytes
        if limit is not None and self._total > limit:
            raise RequestError("413 Content Too Large", "The body is too long.")
        if data:
            self._pieces.append(data)
            self._held += size
        else:
            self._source.release(size)  # padding alone

    def declare(self, length: int, expects: bool) -> None:
        """What the head of the request says of the body, of which a part may be there already.

        :raises Malformed: that contradicts it.
        """
        self._length = length
        self.expected = expects and not self._total and not self._ended
        if length != CHUNKED and (self._total > length or (self._ended and self._total != length)):
            raise Malformed("The body is not as long as its Content-Length.")

    def end(self) -> None:
        """The last of it has arrived.

        :raises Malformed: it is shorter than it was to be.
        """
        self._ended = True
        if self._length not in (CHUNKED, self._total):
            raise Malformed("The body is shorter than its Content-Length.")
        self.done = not self._pieces

    @property
    def ended(self) -> bool:
        """Whether all of it has arrived."""
        return self._ended

    # What is read ---------------------------------------------------------------------------------------------------

    @property
    def left(self) -> int:
        """Bytes that were not read yet; :data:`~hubbub_server.http.request.CHUNKED` if nobody knows."""
        if self.done:
            return 0
        return self._length

    @property
    def drained(self) -> bool:
        """Whether :meth:`next` has nothing more to give."""
        return self.done

    def next(self) -> bytes:
        """The next piece, or nothing at the end.

        :raises RequestError: the body is not valid.
        :raises ClientDisconnected: it ended early.
        """
        while not self._pieces:
            if self.error is not None:
                raise self.error
            if self.done or self._ended:
                self.done = True
                return b""
            if self.expected:
                self.expected = False
                self._source.send_continue()
            try:
                self._source.wait_body()
            except Exception as error:
                self.error = self.error or error
        return self._take()

    def _take(self) -> bytes:
        pieces = self._pieces
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        held, self._held = self._held, 0
        self.done = self._ended and self.error is None
        self._source.release(held)
        return data

    def next_nowait(self) -> bytes:
        """The next piece as far as it was received already; may be nothing. Raises as :meth:`next`."""
        if self._pieces:
            return self._take()
        if self.error is not None:
            raise self.error
        return b""

    def look_ahead(self) -> None:
        """What was received is known to be sound, or not, already."""

    def drop(self) -> None:
        """Nobody will read what is left."""
        self._pieces.clear()
        held, self._held = self._held, 0
        if held:
            self._source.release(held)
