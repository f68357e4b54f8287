"""The response half of an exchange over HTTP/1: how what the application gives is framed, and that it is sent."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from hubbub_server.http.body import Body
from hubbub_server.http.errors import RequestError
from hubbub_server.http.filewrapper import PlainFile
from hubbub_server.http.framing import Delimiter
from hubbub_server.http.request import Head
from hubbub_server.http.response import ResponseHead, lines_of

if TYPE_CHECKING:
    from hubbub_server.http.connection import Connection

__all__ = ["PIECE_COST", "OutgoingResponse"]

_JOINED = 65536
"""A body up to this many bytes is copied behind its head, so that both leave in one send."""
PIECE_COST: Final = 1024
"""What a piece of a body costs, in bytes that could be moved instead."""
_HEAD, _LENGTH, _CHUNKS, _CLOSE = Delimiter


def _has(environ: dict[str, Any], key: str, token: str) -> bool:
    """Whether a token is in a list that a field has."""
    return token in [part.strip(" \t") for part in environ.get(key, "").lower().split(",")]


class OutgoingResponse:
    """What is sent of the response to a request, in pieces or as a whole.

    :param connection: the client's, which sends.
    :param persists: whether the connection may be kept for another request, as far as the server is concerned.
    """

    # An object is made per request. What each one sets is a slot, which an accelerator fills in place; of the rest
    # nearly always the class's value alone is read.
    __slots__ = ("__dict__", "_complete", "_delimiter", "_left", "_persists", "_sent", "body", "connection", "ended",
                 "environ", "head", "request", "started")  # fmt: skip

    request: Head
    """The request line."""
    environ: dict[str, Any]
    """The request's meta-variables (RFC 3875, 4.1), over what the server has for every request."""
    dropped: int = 0
    """What the application gave that goes nowhere, in bytes, and some for each piece."""
    request_id: str | None = None
    """What the request is called in logs, and by ``X-Request-ID`` in the response."""
    _trailers = b""
    """Those with which the response is to end."""
    _upgraded = False

    def __init__(self, connection: Connection, persists: bool) -> None:
        self.connection: Connection = connection
        self.body: Body | None = None
        """The request's, or None if it has none."""
        self.head: ResponseHead | None = None
        """The response's, to be set before anything is sent of it."""
        self.started: bool = False
        """Whether something of the response was sent, or the connection was handed over."""
        self.ended: bool = False
        """Whether the application has had its say: what it does now cannot add to the response."""
        self._persists = persists
        self._delimiter = _LENGTH
        self._left: int | None = None
        self._sent = 0
        self._complete = False  # whether the client has the whole response, or will have it whatever happens

    def _begin(self, given: int | None) -> bytes:
        """The head of the response as bytes, framing decided.

        :param given: the length of the body, if it is known.
        """
        head = self.head
        if head is None:
            raise AssertionError("the application has not called start_response()")
        if self.body is not None:
            self._check_body(self.body)
        self.started = True
        connection = self.connection
        request = self.request
        persists = self._persists and not connection.service.stopping
        data, delimiter, self._left, self._persists = head.framed(
            given, request.method == "HEAD", request.minor, persists
        )
        self._delimiter = delimiter
        if connection.adjust is not None and not head.says_request_id:
            data = self._named(data)
        if delimiter is _CLOSE:
            # Only the end of the connection will tell the end of the response. Until that was sent any other end is to
            # look like a failure, also that of a process that is killed.
            connection.reset_on_close()
        return data

    def _named(self, data: bytes) -> bytes:
        """A response that begins with its head, with the request's id in it."""
        if self.request_id is None:
            return data
        line, _, rest = data.partition(b"\r\n")
        return b"%b\r\nX-Request-ID: %b\r\n%b" % (line, self.request_id.encode("ascii"), rest)

    def _check_body(self, body: Body) -> None:
        """Before the response begins: is the body sound, and will the connection outlive it?"""
        if not body.done:
            body.look_ahead()
            if body.expected:
                body.expected = False  # no "100 Continue" in the midst of a response
                self._persists = False
            if body.left > self.connection.limits.discard_bytes:
                self._persists = False
        if isinstance(body.error, RequestError):
            raise body.error

    def send_whole(self, data: bytes) -> None:
        """Send the head and all of the body.

        :raises AssertionError: there is no head, or the body is not bytes.
        :raises ClientDisconnected: the client is gone, or does not read.
        """
        if not isinstance(data, bytes):
            raise AssertionError(f"the body must be bytes, not {type(data).__name__}")
        size = len(data)
        head = self._begin(None if self._trailers else size)
        if self._delimiter is _CHUNKS:  # for the sake of trailers
            self._sent = size
            self.connection.send(b"%b%x\r\n%b\r\n" % (head, size, data) if size else head)
            self.finish()
            return
        left = self._left
        if left != size:
            if left is None:  # no body follows this head
                self.connection.send(head)
                self._complete = True
                return
            data = self._cut(data, left)
        self._sent = len(data)
        if size <= _JOINED:
            self.connection.send(head + data)
        else:
            self.connection.send(head)
            self.connection.send(data)
        if left > size:
            self._too_short(left - size)
        else:
            self._complete = True

    def _cut(self, data: bytes, left: int) -> bytes:
        if len(data) > left:
            self._persists = False
            if not self.dropped:
                self.connection.service.log_error(
                    self.environ,
                    f"the application gave more than the Content-Length it declared ({left} bytes were left)",
                )
            self.dropped += len(data) - left + PIECE_COST
        return data[:left]

    def _too_short(self, missing: int) -> None:
        self._persists = False
        self.connection.service.log_error(
            self.environ, f"the application gave {missing} bytes less than the Content-Length it declared"
        )

    def early_hints(self, fields: list[tuple[str, str]]) -> bool:
        """Send an interim response 103. See the server."""
        said = lines_of(fields)
        if self.started or not self.request.minor:
            return False
        self.connection.send(b"HTTP/1.1 103 Early Hints\r\n%b\r\n" % said)
        return True

    def set_trailers(self, fields: list[tuple[str, str]]) -> bool:
        """Have the response end with trailers. See the server."""
        said = lines_of(fields)
        if self.started:
            possible = self._delimiter is _CHUNKS and not self._complete
        else:
            possible = self.request.minor > 0 and (self.head is None or self.head.length is None)
        # Whoever says TE says so in Connection (RFC 9110, 10.1.4), which no usual request does.
        if not possible or not (
            _has(self.environ, "HTTP_TE", "trailers") and _has(self.environ, "HTTP_CONNECTION", "te")
        ):
            return False
        self._trailers = said
        return True

    def send_piece(self, data: bytes) -> None:
        """Send the next piece of the body, which is not empty; the head before the first.

        :raises AssertionError: there is no head.
        :raises ClientDisconnected: the client is gone, or does not read.
        """
        head = b"" if self.started else self._begin(None)
        if self._upgraded or self._delimiter is _HEAD:
            self.dropped += len(data) + PIECE_COST
            if head:
                self.connection.send(head)
                self._complete = True
            return
        if self._delimiter is _CHUNKS:
            self._sent += len(data)
            self.connection.send_piece(b"%b%x\r\n%b\r\n" % (head, len(data), data))
            return
        if self._left is not None:
            data = self._cut(data, self._left)
            self._left -= len(data)
        self._sent += len(data)
        if self._left == 0 and (head or data):
            self.connection.send(head + data)
            self._complete = True
        elif head or data:
            self.connection.send_piece(head + data)

    def send_head(self) -> None:
        """Send the head of the response now. Without this it waits for the first piece of the body.

        :raises AssertionError: there is none.
        :raises ClientDisconnected: the client is gone, or does not read.
        """
        if not self.started:
            self.connection.send(self._begin(None))
            self._complete = self._delimiter is _HEAD

    def finish(self) -> None:
        """The application has given all: send what is missing of the response.

        :raises AssertionError: there is no head.
        :raises ClientDisconnected: the client is gone, or does not read.
        """
        if self._upgraded or self._complete:
            return
        if not self.started:
            self.send_whole(b"")
            return
        if self._delimiter is _CHUNKS:
            self.connection.send(b"0\r\n%b\r\n" % self._trailers)
        elif self._left:
            self._too_short(self._left)
            return
        elif self._delimiter is _CLOSE:
            self.connection.end_on_close()
        self._complete = True

    def send_file(self, file: PlainFile) -> bool:
        """Send a plain file, whose length is known, as the body. False: only the head was sent, it must be read.

        :raises AssertionError: there is no head.
        :raises ClientDisconnected: the client is gone, or does not read.
        :raises FileChanged: the file became shorter.
        """
        connection = self.connection
        size = file.size
        connection.send(self._begin(size))
        if self._delimiter is _HEAD:
            self._complete = True
            return True
        wanted = size if self._left is None else self._left
        count = min(size, wanted)
        if connection.service.ssl_enabled or not hasattr(os, "sendfile") or not connection.send_file(file, count):
            return False
        self._sent = count
        if wanted > size:
            self._too_short(wanted - size)
            return True
        self._complete = True
        self._left = 0
        if file.change() > 0:
            connection.service.log_error(
                self.environ, f"the file became longer while it was sent; the {count} bytes that were declared are sent"
            )
        return True
