"""One request and its response: the environ, the application, and the framing of what it answers."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from time import monotonic
from typing import TYPE_CHECKING, Any

import hubbub

from hubbub_server.http.accesslog import Entry
from hubbub_server.http.body import Body, Input
from hubbub_server.http.errors import ClientDisconnected, RequestError
from hubbub_server.http.filewrapper import FileWrapper
from hubbub_server.http.lent import LentSocket
from hubbub_server.http.request import Head, Meaning
from hubbub_server.http.response import ResponseHead, error_response, response_head

if TYPE_CHECKING:
    from hubbub_server.http.connection import Connection

__all__ = ["Exchange"]

_JOINED = 65536
"""A body up to this many bytes is copied behind its head, so that both leave in one send."""
_ALL = 1 << 30


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
        """
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
                close = getattr(result, "close", None)
                if close is not None:
                    close()
        except (hubbub.GreenletExit, KeyboardInterrupt, SystemExit):
            raise
        except ClientDisconnected:
            self._persists = False
            self._gone = True
            self._connection.server.client_disconnected(self.environ)
        except BaseException as error:
            self._failed(error)

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

        :raises AssertionError: before start_response(), or not bytes.
        :raises ClientDisconnected: nobody is there to read it.
        """
        if not isinstance(data, bytes):
            raise AssertionError(f"the body must be bytes, not {type(data).__name__}")
        if data:
            self._send_piece(data)

    def _send_result(self, result: Iterable[bytes]) -> None:
        if type(result) is FileWrapper and self._can_send_file(result):
            return
        for piece in result:
            self.write(piece)
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
        code = head.code
        if code == 101:
            self._persists = False
            self._without_body = True
            return head.render("", "")
        framing = head.framing
        if framing:
            length = head.length
        elif length is not None:
            framing = f"Content-Length: {length}\r\n"
        if code == 204 or code == 304 or request.method == "HEAD":
            self._without_body = True
            if code == 204 or (code == 304 and not head.framing):
                framing = ""
        elif length is not None:
            self._left = length
        elif request.minor:
            framing = "Transfer-Encoding: chunked\r\n"
            self._chunked = True
        else:
            self._persists = False
        if not head.persists or self._connection.server.stopping:
            self._persists = False
        if not self._persists:
            return head.render(framing, "Connection: close\r\n")
        return head.render(framing, "" if request.minor else "Connection: keep-alive\r\n")

    def _check_body(self, body: Body) -> None:
        """Before the response begins: is the body sound, and will the connection outlive it?"""
        if not body.done:
            body.look_ahead()
            if body.expected or body.left > self._connection.limits.discard_bytes:
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

    def _cut(self, data: bytes, left: int) -> bytes:
        if len(data) > left:
            self._persists = False
            self._connection.server.log_error(
                self.environ, f"the application gave more than the Content-Length it declared ({left} bytes were left)"
            )
        return data[:left]

    def _too_short(self, missing: int) -> None:
        self._persists = False
        self._connection.server.log_error(
            self.environ, f"the application gave {missing} bytes less than the Content-Length it declared"
        )

    def _send_piece(self, data: bytes) -> None:
        head = b"" if self._started else self._begin(None)
        if self._upgraded:
            return
        if self._without_body:
            if head:
                self._connection.send(head)
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

    def _finish(self) -> None:
        """The application has given all."""
        if self._upgraded:
            return
        if not self._started:
            self._send_whole(b"")
        elif self._chunked:
            self._connection.send(b"0\r\n\r\n")
        elif self._left:
            self._too_short(self._left)

    def _can_send_file(self, wrapper: Any) -> bool:
        """Send a real file without reading it. False: it must be read."""
        connection = self._connection
        if self._started or connection.server.ssl_enabled or not hasattr(os, "sendfile"):
            return False
        file = wrapper.filelike
        try:
            status = os.fstat(file.fileno())
            offset = file.tell()
        except (AttributeError, OSError, ValueError):
            return False
        if not stat.S_ISREG(status.st_mode):
            return False
        size = max(status.st_size - offset, 0)
        head = self._begin(size)
        connection.send(head)
        if self._without_body:
            return True
        wanted = size if self._left is None else self._left
        connection.send_file(file, offset, min(size, wanted))
        self._sent = min(size, wanted)
        if wanted > size:
            self._too_short(wanted - size)
        return True

    # Failure and log ------------------------------------------------------------------------------------------------

    def _failed(self, error: BaseException) -> None:
        """The application, or the request's body, is at fault: say so if nothing was said yet."""
        connection = self._connection
        self._persists = False
        status, detail = "500 Internal Server Error", "The server failed."
        cause = error if isinstance(error, RequestError) else self._body.error if self._body is not None else None
        if isinstance(cause, RequestError):
            status, detail = cause.status, cause.detail
        else:
            connection.server.log_exception(self.environ, error)
        if self._started:
            if self._chunked or self._left:
                connection.reset_on_close()  # the client must not take what it has for the whole
                self._gone = True
            return
        self._started = True
        self._head = ResponseHead(status, [])
        try:
            connection.send(error_response(status, detail, self._request.method != "HEAD"))
        except ClientDisconnected:
            return

    def _log(self, began: float) -> None:
        log = self._connection.server.access_log
        request = self._request
        assert log is not None  # or this would not be called
        environ = self.environ
        line = f"{request.method} {request.target} {request.protocol}"  # the environ may be empty by now
        status = self._head.code if self._head is not None and self._started else 0
        address = environ.get("REMOTE_ADDR", "")
        log.write(Entry(address, line, status, self._sent, monotonic() - began, environ, self._head))
