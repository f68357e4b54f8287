"""One request and its response: the environ, the application, and the framing of what it answers."""

from __future__ import annotations

import os
from collections.abc import Iterable
from time import monotonic
from typing import TYPE_CHECKING, Any

import hubbub

from hubbub_server.http.accesslog import Entry
from hubbub_server.http.body import Body, Input
from hubbub_server.http.errors import ClientDisconnected, RequestError
from hubbub_server.http.filewrapper import FileWrapper, PlainFile, plain_file
from hubbub_server.http.lent import LentRequest, LentSocket
from hubbub_server.http.request import Head, Meaning
from hubbub_server.http.response import ResponseHead, error_response, response_head

if TYPE_CHECKING:
    from hubbub_server.http.connection import Connection

__all__ = ["Exchange"]

_JOINED = 65536
"""A body up to this many bytes is copied behind its head, so that both leave in one send."""
_ALL = 1 << 30
_PIECE_COST = 1024
"""What a piece of a body costs, in bytes that could be moved instead."""
_MOST_DROPPED = 1 << 24
"""So much of a body that goes nowhere is asked for, so that an application comes to its end; then it is closed."""


class Exchange:
    """One request and its response."""

    # What is not said in __init__: an object is made per request, most of these stay as they are.
    _request: Head
    _head: ResponseHead | None = None
    _body: Body | None = None
    _started = False
    _chunked = False
    _without_body = False
    _upgraded = False
    _gone = False
    _complete = False
    """Whether the client has the whole response, or will have it whatever happens to the application."""
    _until_close = False
    _ended = False
    """Whether the application has had its say."""
    _dropped = 0
    """What the application gave that goes nowhere, in bytes, and some for each piece."""
    _client_closes = False
    _left: int | None = None
    _sent = 0
    environ: dict[str, Any]
    lingers = False
    """Whether the client may still be sending, and must be listened to for its answer to arrive."""

    def __init__(self, connection: Connection, persists: bool) -> None:
        self._connection = connection
        self._persists = persists

    # The request ----------------------------------------------------------------------------------------------------

    def run(self, data: bytes) -> bool:
        """Serve the request whose head is ``data``. True: the connection goes on."""
        connection = self._connection
        server = connection.server
        start = data.find(b"\r\n")
        try:
            self._request = head = connection.parser.start_line(data[:start])
            fields, meaning = connection.parser.fields(data, start + 2, head.minor)
        except RequestError as error:
            self.lingers = True
            connection.log_refused(data[:start].decode("latin-1"), error)
            connection.send(error_response(error.status, error.detail, not data.startswith(b"HEAD ")))
            return False
        self.environ = {**server.base_env, **fields}
        self._prepare(head, meaning)
        if server.lends_request:
            self.environ["hubbub.request"] = LentRequest(self, connection, data, start + 2, self._body)
        if server.access_log is None:
            self._call_application()
        else:
            began = monotonic()
            try:
                self._call_application()
            finally:
                self._log(began)
        body = self._body
        if self._persists and (body is None or self._clean_up(body)):
            return True
        self.lingers = not (self._gone or self._upgraded) and (
            not self._client_closes or connection.has_more() or (body is not None and not body.done)
        )
        return False

    def _prepare(self, head: Head, meaning: Meaning) -> None:
        """Complete the environ."""
        environ = self.environ
        (
            environ["REQUEST_METHOD"],
            environ["REQUEST_URI"],
            environ["PATH_INFO"],
            environ["QUERY_STRING"],
            environ["SERVER_PROTOCOL"],
            minor,
            authority,
        ) = head
        if authority is not None:
            environ["HTTP_HOST"] = authority
        connection = self._connection
        address = connection.address
        if type(address) is tuple:
            environ["REMOTE_ADDR"] = address[0]
            environ["REMOTE_PORT"] = str(address[1])
        else:
            environ["REMOTE_ADDR"] = ""
        if connection.own is not None:
            environ.update(connection.own)
        length, persists, expects, upgrade = meaning
        if length:
            self._body = Body(connection, length, expects)
            environ["wsgi.input"] = Input(self._body)
        if persists is False or (not minor and not persists):
            self._persists = False
            self._client_closes = True
        if upgrade:
            environ["hubbub.upgrade"] = self.upgrade
            environ["werkzeug.socket"] = LentSocket(self.upgrade)

    def upgrade(self) -> tuple[Any, bytes]:
        """Take the connection over, for a protocol such as WebSocket (``environ["hubbub.upgrade"]``).

        What the application gives to the server after that is dropped.

        :returns: the socket, and what was received after the request.
        :raises AssertionError: the response has begun, or ended.
        """
        if self._ended:
            raise AssertionError("the connection cannot be taken over after the end of the response")
        if self._started and not self._upgraded:
            raise AssertionError("the connection cannot be taken over in the middle of a response")
        connection = self._connection
        self._upgraded = self._started = True
        self._persists = False
        return connection.sock, connection.buffered(_ALL)

    def _clean_up(self, body: Body) -> bool:
        """Get rid of what the application did not read. False: too much, or not valid."""
        if body.done:
            return True
        if body.expected:
            return False
        try:
            return body.discard(self._connection.limits.discard_bytes)
        except (RequestError, ClientDisconnected):
            return False

    # The application ------------------------------------------------------------------------------------------------

    def _call_application(self) -> None:
        try:
            result = self._connection.server.application(self.environ, self.start_response)
            if (type(result) is list or type(result) is tuple) and not self._started:
                self._send_whole(result[0] if len(result) == 1 else b"".join(result))
                return
            try:
                self._send_result(result)
            finally:
                self._ended = True
                close = getattr(result, "close", None)
                if close is not None:
                    close()
        except (hubbub.GreenletExit, KeyboardInterrupt) as error:
            self._interrupted(error)
            raise
        except ClientDisconnected:
            self._persists = False
            self._gone = True
            self._connection.server.client_disconnected(self.environ)
        except BaseException as error:
            self._failed(error)
        finally:
            self._ended = True

    def start_response(self, status: str, headers: Any, exc_info: Any = None) -> Any:
        """PEP 3333, "The start_response() Callable".

        :raises AssertionError: called twice without ``exc_info``.
        :raises TypeError: see :class:`~hubbub_server.http.response.ResponseHead`.
        :raises ValueError: the same.
        """
        if exc_info:
            try:
                if self._started:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None
        elif self._head is not None:
            raise AssertionError("start_response() was called a second time without exc_info")
        self._head = response_head(status, headers)
        return self.write

    def write(self, data: bytes) -> None:
        """PEP 3333, "The write() Callable".

        :raises AssertionError: before start_response(), after the end of the response, or not bytes.
        :raises ClientDisconnected: nobody is there to read it.
        """
        if not isinstance(data, bytes):
            raise AssertionError(f"the body must be bytes, not {type(data).__name__}")
        if self._ended:
            raise AssertionError("write() was called after the end of the response")
        if data:
            self._send_piece(data)

    def send_head(self) -> None:
        """Send the head of the response now. Without this it waits for the first piece of the body.

        :raises AssertionError: before start_response().
        :raises ClientDisconnected: nobody is there to read it.
        """
        if not self._started:
            self._connection.send(self._begin(None))
            self._complete = self._without_body

    def _send_result(self, result: Iterable[bytes]) -> None:
        if type(result) is FileWrapper and not self._started:
            file = plain_file(result.filelike)
            if file is not None and self._send_file(file):
                return
        for piece in result:
            self.write(piece)
            if self._dropped:
                # What nobody gets costs nobody else his turn, and does not go on for ever.
                self._connection.take_turn(len(piece) + _PIECE_COST)
                if self._dropped > _MOST_DROPPED:
                    break
            elif not piece:
                self._connection.take_turn(_PIECE_COST)
        self._finish()

    # The response ---------------------------------------------------------------------------------------------------

    def _begin(self, length: int | None) -> bytes:
        """The head of the response, framing decided.

        :param length: of the body, if it is known.
        """
        head = self._head
        if head is None:
            raise AssertionError("the application has not called start_response()")
        request = self._request
        body = self._body
        if body is not None:
            self._check_body(body)
        self._started = True
        framing = head.framing
        if framing:
            length = head.length
        elif length is not None:
            framing = f"Content-Length: {length}\r\n"
        if head.bodiless or request.method == "HEAD":
            self._without_body = True
            code = head.code
            if code == 101:
                self._persists = False
                return head.render("", "")
            if code == 204 or (code == 304 and not head.framing):
                framing = ""
        elif length is not None:
            self._left = length
        elif request.minor:
            framing = "Transfer-Encoding: chunked\r\n"
            self._chunked = True
        else:
            # Only the end of the connection will tell the end of the response. Until that was sent any other end is to
            # look like a failure, also that of a process that is killed.
            self._persists = False
            self._connection.reset_on_close()
            self._until_close = True
        if not head.persists or self._connection.server.stopping:
            self._persists = False
        if not self._persists:
            return head.render(framing, "Connection: close\r\n")
        return head.render(framing, "" if request.minor else "Connection: keep-alive\r\n")

    def _check_body(self, body: Body) -> None:
        """Before the response begins: is the body sound, and will the connection outlive it?"""
        if not body.done:
            body.look_ahead()
            if body.expected:
                body.expected = False  # no "100 Continue" in the midst of a response
                self._persists = False
            if body.left > self._connection.limits.discard_bytes:
                self._persists = False
        if isinstance(body.error, RequestError):
            raise body.error

    def _send_whole(self, data: bytes) -> None:
        """Head and body at once."""
        if not isinstance(data, bytes):
            raise AssertionError(f"the body must be bytes, not {type(data).__name__}")
        size = len(data)
        head = self._begin(size)
        if self._without_body:
            self._connection.send(head)
            self._complete = True
            return
        left = self._left
        if left is not None and left != size:
            data = self._cut(data, left)
        self._sent = len(data)
        if len(data) <= _JOINED:
            self._connection.send(head + data)
        else:
            self._connection.send(head)
            self._connection.send(data)
        if left is not None and left > size:
            self._too_short(left - size)
        else:
            self._complete = True

    def _cut(self, data: bytes, left: int) -> bytes:
        if len(data) > left:
            self._persists = False
            if not self._dropped:
                self._connection.server.log_error(
                    self.environ,
                    f"the application gave more than the Content-Length it declared ({left} bytes were left)",
                )
            self._dropped += len(data) - left + _PIECE_COST
        return data[:left]

    def _too_short(self, missing: int) -> None:
        self._persists = False
        self._connection.server.log_error(
            self.environ, f"the application gave {missing} bytes less than the Content-Length it declared"
        )

    def _send_piece(self, data: bytes) -> None:
        head = b"" if self._started else self._begin(None)
        if self._upgraded or self._without_body:
            self._dropped += len(data) + _PIECE_COST
            if head:
                self._connection.send(head)
                self._complete = True
            return
        if self._chunked:
            self._sent += len(data)
            self._connection.send(b"%b%x\r\n%b\r\n" % (head, len(data), data))
            return
        if self._left is not None:
            data = self._cut(data, self._left)
            self._left -= len(data)
        self._sent += len(data)
        if head or data:
            self._connection.send(head + data)
            self._complete = self._left == 0

    def _finish(self) -> None:
        """The application has given all."""
        if self._upgraded or self._complete:
            return
        if not self._started:
            self._send_whole(b"")
            return
        if self._chunked:
            self._connection.send(b"0\r\n\r\n")
        elif self._left:
            self._too_short(self._left)
            return
        elif self._until_close:
            self._connection.end_on_close()
        self._complete = True

    def _send_file(self, file: PlainFile) -> bool:
        """Send a plain file, whose length is known. False: it must be read."""
        connection = self._connection
        size = file.size
        connection.send(self._begin(size))
        if self._without_body:
            self._complete = True
            return True
        wanted = size if self._left is None else self._left
        count = min(size, wanted)
        if connection.server.ssl_enabled or not hasattr(os, "sendfile") or not connection.send_file(file, count):
            return False
        self._sent = count
        if wanted > size:
            self._too_short(wanted - size)
            return True
        self._complete = True
        self._left = 0
        if file.change() > 0:
            connection.server.log_error(
                self.environ, f"the file became longer while it was sent; the {count} bytes that were declared are sent"
            )
        return True

    # Failure and log ------------------------------------------------------------------------------------------------

    def _failed(self, error: BaseException) -> None:
        """The application, or the request's body, is at fault: say so if nothing was said yet."""
        connection = self._connection
        status, detail = "500 Internal Server Error", "The server failed."
        cause = error if isinstance(error, RequestError) else self._body.error if self._body is not None else None
        if isinstance(cause, RequestError):
            status, detail = cause.status, cause.detail
        else:
            connection.server.log_exception(self.environ, error)
        if self._complete:
            return  # the client has all that it was promised, and its next request is as good as any
        self._persists = False
        if self._started:
            self._break_off()
        else:
            self._refuse(status, detail)

    def _break_off(self) -> None:
        """The client must not take what it has for the whole."""
        if not self._upgraded:
            self._gone = True
            self._connection.abort()

    def _refuse(self, status: str, detail: str) -> None:
        self._started = True
        self._head = ResponseHead(status, [])
        try:
            self._connection.send(error_response(status, detail, self._request.method != "HEAD"))
        except ClientDisconnected:
            return
        self._complete = True

    def _interrupted(self, error: BaseException) -> None:
        """This greenlet, or the whole process, is to end."""
        if self._complete:
            return
        self._persists = False
        if self._started:
            self._break_off()
        elif isinstance(error, hubbub.GreenletExit):
            self._refuse("503 Service Unavailable", "The request was ended.")

    def _log(self, began: float) -> None:
        log = self._connection.server.access_log
        request = self._request
        assert log is not None  # or this would not be called
        environ = self.environ
        line = f"{request.method} {request.target} {request.protocol}"  # the environ may be empty by now
        status = self._head.code if self._head is not None and self._started else 0
        address = environ.get("REMOTE_ADDR", "")
        log.write(Entry(address, line, status, self._sent, monotonic() - began, environ, self._head))
