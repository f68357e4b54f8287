"""One request and its response over HTTP/1: what the request was, and the sending of what it is answered.

Nothing here knows what kind of application answers. The server's ``serve_request`` does; it is called with the
exchange, reads :attr:`Exchange.environ` and :attr:`Exchange.body`, and sends by the methods.
"""

from __future__ import annotations

import os
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

import hubbub

from hubbub_server.http.accesslog import CountingLog, Entry
from hubbub_server.http.body import Body
from hubbub_server.http.errors import ClientDisconnected, RequestError, RequestTimeout
from hubbub_server.http.filewrapper import PlainFile
from hubbub_server.http.framing import Delimiter
from hubbub_server.http.lent import LentRequest
from hubbub_server.http.request import NOTHING, Head, Meaning
from hubbub_server.http.response import ResponseHead, error_response, lines_of, response_head

if TYPE_CHECKING:
    from hubbub_server.http.connection import Connection, Service

__all__ = ["PIECE_COST", "Exchange"]

_JOINED = 65536
"""A body up to this many bytes is copied behind its head, so that both leave in one send."""
_ALL = 1 << 30
PIECE_COST: Final = 1024
"""What a piece of a body costs, in bytes that could be moved instead."""
_HEAD, _LENGTH, _CHUNKS, _CLOSE = Delimiter


def _has(environ: dict[str, Any], key: str, token: str) -> bool:
    """Whether a token is in a list that a field has."""
    return token in [part.strip(" \t") for part in environ.get(key, "").lower().split(",")]


class Exchange:
    """One request and its response.

    :param connection: the client's, which sends and receives.
    :param persists: whether the connection may be kept for another request, as far as the server is concerned.
    """

    # An object is made per request. What each one sets is a slot, which an accelerator fills in place; of the rest
    # nearly always the class's value alone is read.
    __slots__ = ("__dict__", "_complete", "_delimiter", "_left", "_persists", "_sent", "body", "connection", "deadline",
                 "ended", "environ", "head", "meaning", "request", "started")  # fmt: skip

    request: Head
    """The request line."""
    environ: dict[str, Any]
    """The request's meta-variables (RFC 3875, 4.1), over what the server has for every request."""
    meaning: Meaning
    """What the header fields say to the server."""
    deadline: float
    """When the time to answer is over, in ticks of the clock."""
    upgradable: bool = False
    """Whether the client asks for another protocol, so that :meth:`upgrade` may be called."""
    dropped: int = 0
    """What the application gave that goes nowhere, in bytes, and some for each piece."""
    _trailers = b""
    """Those with which the response is to end."""
    request_id: str | None = None
    """What the request is called in logs, and by ``X-Request-ID`` in the response."""
    lingers: bool = False
    """Whether the client may still be sending, and must be listened to for its answer to arrive."""
    _upgraded = False
    _gone = False
    _client_closes = False

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

    # The request ----------------------------------------------------------------------------------------------------

    def run(self, data: bytes) -> bool:
        """Serve the request whose head is ``data``. True: the connection goes on."""
        connection = self.connection
        service = connection.service
        start = data.find(b"\r\n")
        try:
            self.request = head = connection.parser.start_line(data[:start])
            fields, self.meaning, cookie = connection.parser.fields(data, start + 2, head.minor)
            self.environ = environ = service.base_env.copy()
            environ.update(fields)
            if cookie is not None:
                environ["HTTP_COOKIE"] = cookie
            self._prepare(environ, head)
        except RequestError as error:
            self.lingers = True
            connection.log_refused(data[:start].decode("latin-1"), error)
            connection.send(error_response(error.status, error.detail, not data.startswith(b"HEAD ")))
            return False
        if self.meaning is not NOTHING or not head.minor:
            self._heed(head.minor)
        if service.lends_request:
            self.environ["hubbub.request"] = LentRequest(self, connection, data, start + 2, self.body)
        if service.access_log is None:
            self._serve(service)
        else:
            began = monotonic()
            try:
                self._serve(service)
            finally:
                self.log(began)
        return self.goes_on()

    def goes_on(self) -> bool:
        """Whether the connection does, once the response has ended; else :attr:`lingers` is set."""
        body = self.body
        if self._persists and (body is None or self._clean_up(body)):
            return True
        self.lingers = not (self._gone or self._upgraded) and (
            not self._client_closes or self.connection.has_more() or (body is not None and not body.done)
        )
        return False

    def _prepare(self, environ: dict[str, Any], head: Head) -> None:
        """Complete the environ."""
        (
            environ["REQUEST_METHOD"],
            environ["REQUEST_URI"],
            environ["PATH_INFO"],
            environ["QUERY_STRING"],
            environ["SERVER_PROTOCOL"],
            _,
            authority,
        ) = head
        if authority is not None:
            environ["HTTP_HOST"] = authority
        connection = self.connection
        environ["REMOTE_ADDR"] = connection.host
        if connection.port is not None:
            environ["REMOTE_PORT"] = connection.port
        if connection.adjust is not None:
            connection.adjust(environ)
            self.request_id = environ.get("hubbub.request_id")

    def _heed(self, minor: int) -> None:
        """Do as the header fields say."""
        length, persists, expects, self.upgradable = self.meaning
        if length:
            self.body = Body(self.connection, length, expects)
        if persists is False or (not minor and not persists):
            self._persists = False
            self._client_closes = True

    def trailers(self) -> list[tuple[str, str]]:
        """Those with which the request has ended, once its body was read. See the server."""
        return [] if self.body is None else self.body.trailers

    def upgrade(self) -> tuple[Any, bytes]:
        """Take the connection over, for a protocol such as WebSocket.

        What the application gives to the server after that is dropped.

        :returns: the socket, and what was received after the request.
        :raises AssertionError: the response has begun, or ended.
        """
        if self.ended:
            raise AssertionError("the connection cannot be taken over after the end of the response")
        if self.started and not self._upgraded:
            raise AssertionError("the connection cannot be taken over in the middle of a response")
        connection = self.connection
        self._upgraded = self.started = True
        self._persists = False
        return connection.sock, connection.buffered(_ALL)

    def switch_protocols(self, fields: list[tuple[str, str]]) -> bytes:
        """Send ``101 Switching Protocols`` with these header fields, and take the connection over.

        :returns: what was received after the request.
        :raises AssertionError: as :meth:`upgrade`.
        :raises ClientDisconnected: the client is gone.
        """
        received: bytes = self.upgrade()[1]
        self.head = response_head("101 Switching Protocols", fields)
        self.connection.send(self._named(self.head.framed(None, False, 1, True)[0]))
        return received

    def count_sent(self, size: int) -> None:
        """For the access log: ``size`` more bytes were sent by the code that has taken the connection over."""
        self._sent += size

    def _clean_up(self, body: Body) -> bool:
        """Get rid of what the application did not read. False: too much, or not valid."""
        if body.done:
            return True
        if body.expected:
            return False
        try:
            return body.discard(self.connection.limits.discard_bytes)
        except (RequestError, ClientDisconnected):
            return False

    # The application ------------------------------------------------------------------------------------------------

    def _serve(self, service: Service) -> None:
        """Have the request answered, whatever the application does."""
        connection = self.connection
        self.deadline = connection.clock.request_deadline
        connection.request = self
        try:
            service.serve_request(self)
        except BaseException as error:
            if self.ends_with(error):
                raise
        finally:
            connection.request = None
            self.ended = True

    def ends_with(self, error: BaseException) -> bool:
        """The application, or what sends its response, has raised ``error``: end the response.

        :returns: True if the error is to go on to who has begun the greenlet.
        """
        if isinstance(error, (hubbub.GreenletExit, KeyboardInterrupt)):
            self._interrupted(error)
            return True
        if isinstance(error, RequestTimeout):
            self._end("The server took too long.")
        elif isinstance(error, ClientDisconnected):
            self._persists = False
            self._gone = True
            self.connection.service.client_disconnected(self.environ)
        else:
            self._failed(error)
        return False

    # The response ---------------------------------------------------------------------------------------------------

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

    # Failure and log ------------------------------------------------------------------------------------------------

    def _failed(self, error: BaseException) -> None:
        """The application, or the request's body, is at fault: say so if nothing was said yet."""
        status, detail = "500 Internal Server Error", "The server failed."
        cause = error if isinstance(error, RequestError) else self.body.error if self.body is not None else None
        if isinstance(cause, RequestError):
            status, detail = cause.status, cause.detail
        else:
            self.connection.service.log_exception(self.environ, error)
        if self._complete:
            return  # the client has all that it was promised, and its next request is as good as any
        self._persists = False
        if self.started:
            self._break_off()
        else:
            self._refuse(status, detail)

    def _break_off(self) -> None:
        """The client must not take what it has for the whole."""
        if not self._upgraded:
            self._gone = True
            self.connection.abort()

    def _refuse(self, status: str, detail: str) -> None:
        self.started = True
        self.head = ResponseHead(status, [])
        try:
            self.connection.send(self._named(error_response(status, detail, self.request.method != "HEAD")))
        except ClientDisconnected:
            return
        self._complete = True

    def _interrupted(self, error: BaseException) -> None:
        """This greenlet, or the whole process, is to end."""
        if isinstance(error, hubbub.GreenletExit) or self.started:
            self._end("The request was ended.")

    def _end(self, detail: str) -> None:
        """There will be no more of the response."""
        if self._complete:
            return
        self._persists = False
        if self.started:
            self._break_off()
        else:
            self._refuse("503 Service Unavailable", detail)

    def log(self, began: float) -> None:
        """Write the entry of the access log.

        :param began: when the request had arrived, as :func:`time.monotonic` has it.
        """
        log = self.connection.service.access_log
        status = self.head.code if self.head is not None and self.started else 0
        if type(log) is CountingLog:
            log.note((status, monotonic() - began, self._sent))
            log = log.log
            if log is None:
                return  # what is only counted needs no entry
        request = self.request
        assert log is not None  # or this would not be called
        environ = self.environ
        line = f"{request.method} {request.target} {request.protocol}"  # the environ may be empty by now
        address = environ.get("REMOTE_ADDR", "")
        log.write(Entry(address, line, status, self._sent, monotonic() - began, environ, self.head))
