"""The handler of one connection to a WSGI server: it reads line by line, and can be overridden at every step."""

from __future__ import annotations

import errno
import http.client
import re
import sys
import time
from _socket import socket as CSocket
from collections.abc import Callable
from datetime import datetime
from email.errors import FirstHeaderLineIsContinuationDefect, MissingHeaderBodySeparatorDefect
from email.utils import formatdate
from socket import SHUT_RD, SHUT_WR
from types import TracebackType
from typing import Any, ClassVar
from urllib.parse import unquote_to_bytes

from greenlet import GreenletExit

from hubbub_gevent._http_headers import OldMessage, headers_factory
from hubbub_gevent._http_input import MAX_REQUEST_LINE, Input
from hubbub_gevent._http_input import InvalidInput as _InvalidClientInput
from hubbub_gevent.timeout import Timeout

__all__ = ["WSGIHandler"]

_native_shutdown = CSocket.shutdown
"""Shuts down the descriptor alone: a TLS session stays."""
_LINGER = 1.0
_LINGER_READS = 64
_INTERNAL_ERROR_STATUS = "500 Internal Server Error"
_INTERNAL_ERROR_BODY = b"Internal Server Error"
_HEADERS = [("Content-Type", "text/plain"), ("Connection", "close")]


def _response(status: str, body: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\nConnection: close\r\nContent-length: {len(body)}\r\n\r\n"
    return (head + body).encode("latin-1")


_REQUEST_TOO_LONG_RESPONSE = _response("414 Request URI Too Long")
_BAD_REQUEST_RESPONSE = _response("400 Bad Request")
_BROKEN = (MissingHeaderBodySeparatorDefect, FirstHeaderLineIsContinuationDefect)
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
_VERSION = re.compile(r"HTTP/(\d)\.(\d)\Z")


class _InvalidClientRequest(ValueError):
    """The request cannot be read."""

    status: ClassVar[str] = "400"


class WSGIHandler:
    """One connection. Every step is a method that a subclass may replace."""

    protocol_version = "HTTP/1.1"
    ApplicationError: Any = AssertionError
    ignored_socket_errors: Any = (errno.EPIPE, errno.ECONNRESET, errno.ESHUTDOWN)

    status: Any = None
    _orig_status: Any = None
    response_headers: Any = None
    code: Any = None
    provided_date: Any = None
    provided_content_length: Any = None
    close_connection: Any = False
    time_start: Any = 0
    time_finish: Any = 0
    headers_sent: Any = False
    response_use_chunked: Any = False
    connection_upgraded: Any = False
    environ: Any = None
    application: Any = None
    requestline: Any = None
    response_length: Any = 0
    result: Any = None
    wsgi_input: Any = None
    content_length: Any = 0
    headers: Any = None
    request_version: Any = None
    command: Any = None
    path: Any = None

    def __init__(self, sock: Any, address: Any, server: Any, rfile: Any = None) -> None:
        self.socket = sock
        self.client_address = address
        self.server = server
        self.rfile = sock.makefile("rb", -1) if rfile is None else rfile

    MessageClass: Any = staticmethod(headers_factory)

    # The connection -------------------------------------------------------------------------------------------------

    def handle(self) -> None:
        """Serve requests until the connection is to be closed."""
        connections = getattr(self.server, "_connections", None)
        if connections is not None:
            connections.add(self)
        try:
            while self.socket is not None:
                self.time_start = time.time()
                self.time_finish = 0
                result = self.handle_one_request()
                if result is None:
                    break
                if result is True:
                    continue
                self._refuse(result)
                break
        finally:
            if connections is not None:
                connections.discard(self)
            self.__dict__.pop("socket", None)
            rfile = self.__dict__.pop("rfile", None)
            if rfile is not None:
                rfile.close()
            self.wsgi_input = self.environ = self.result = None

    socket: Any = None
    rfile: Any = None
    _waits = False
    """Whether this waits for the first line of a request."""
    _served = 0
    """How many requests this connection has had."""

    def _hang_up(self) -> None:
        """Let the handler read what has arrived, but nothing later."""
        try:
            _native_shutdown(self.socket, SHUT_RD)
        except OSError:
            pass  # the client is gone

    def _last_one(self) -> bool:
        """Whether the server is stopping, so that this request is the last of its connection."""
        return bool(getattr(self.server, "stopping", False))

    def _refuse(self, result: Any) -> None:
        self.status, response = result
        try:
            self.socket.sendall(response)
        except OSError as error:
            if error.errno not in self.ignored_socket_errors:
                raise
        if not self.time_finish:
            self.time_finish = time.time()
        self.log_request()
        self._linger()

    def _linger(self) -> None:
        """Read on for a moment: closing with unread bytes would reset the connection and lose the response."""
        with Timeout(_LINGER, False):
            try:
                self.socket.shutdown(SHUT_WR)
                for _ in range(_LINGER_READS):
                    if not self.socket.recv(65536):
                        break
            except OSError:
                pass  # the client is gone

    def handle_one_request(self) -> Any:
        """Serve one request.

        :returns: None to end, True to go on, or a (status, bytes) that refuses the request.
        """
        if self.rfile.closed:
            return None
        self._waits = True
        try:
            requestline = self.read_requestline()
        except OSError:
            return None
        finally:
            self._waits = False
        if not requestline:
            return None
        self._served += 1
        self.requestline = requestline.decode("latin-1") if isinstance(requestline, bytes) else requestline
        self.response_length = 0
        if len(self.requestline) >= MAX_REQUEST_LINE:
            return ("414", _REQUEST_TOO_LONG_RESPONSE)
        try:
            if not self.read_request(self.requestline):
                return ("400", _BAD_REQUEST_RESPONSE)
        except (_InvalidClientRequest, http.client.HTTPException) as error:
            self.log_error("%s", str(error) or type(error).__name__)
            return ("400", _BAD_REQUEST_RESPONSE)
        except OSError:
            return None
        except Exception as error:
            self._print_unexpected_exc()
            self.log_error("Invalid request: %s", str(error) or type(error).__name__)
            return ("400", _BAD_REQUEST_RESPONSE)
        self.environ = self.get_environ()
        self.application = self.server.application
        self.handle_one_response()
        return None if self.close_connection or self.rfile.closed or self._last_one() else True

    def _print_unexpected_exc(self) -> None:
        self.server.loop.handle_error(self.requestline, *sys.exc_info())

    # Reading a request ----------------------------------------------------------------------------------------------

    def read_requestline(self) -> Any:
        """The first line; one empty line before it is skipped. An empty result ends the connection."""
        line = self.rfile.readline(MAX_REQUEST_LINE)
        if line in (b"\r\n", b"\n"):
            line = self.rfile.readline(MAX_REQUEST_LINE)
        return line

    def read_request(self, raw_requestline: str) -> bool:
        """Take the request line apart and read the header fields.

        :returns: False if the request was logged and is to be refused.
        :raises ValueError: the request cannot be read.
        """
        self.requestline = raw_requestline.rstrip()
        words = self.requestline.split()
        if len(words) == 3:
            self.command, self.path, self.request_version = words
        elif len(words) == 2:
            self.command, self.path = words
            self.request_version = "HTTP/0.9"
        else:
            raise _InvalidClientRequest(f"Invalid HTTP method: {raw_requestline!r}")
        if not _TOKEN.match(self.command):
            raise _InvalidClientRequest(f"Invalid HTTP method: {raw_requestline!r}")
        if len(words) == 2:
            if self.command != "GET":
                raise _InvalidClientRequest(f"Expected GET method: {raw_requestline!r}")
            self.close_connection = True
            self.headers = OldMessage()
            self.content_length = None
            return True
        match = _VERSION.match(self.request_version)
        if match is None or match[1] != "1":
            raise _InvalidClientRequest(f"Invalid http version: {self.request_version!r}")
        self.headers = self.MessageClass(self.rfile)
        self._check_headers()
        self._check_length()
        tokens = self._tokens("Connection")
        if self.request_version == "HTTP/1.0":
            self.close_connection = "keep-alive" not in tokens
        else:
            self.close_connection = "close" in tokens
        if "Content-Length" in self.headers and self._chunked():
            # RFC 9112, 6.3: the chunks count, and whoever is in between may have thought otherwise.
            self.content_length = None
            self.close_connection = True
        return True

    def _check_headers(self) -> None:
        payload = self.headers.get_payload()
        broken = any(isinstance(defect, _BROKEN) for defect in self.headers.defects)
        if broken or (isinstance(payload, str) and payload.strip()):
            raise _InvalidClientRequest("Invalid header line")
        for name in self.headers:
            if not _TOKEN.match(name):
                raise _InvalidClientRequest(f"Invalid header name: {name!r}")

    def _check_length(self) -> None:
        found = {value.strip() for value in self.headers.get_all("Content-Length", [])}
        if len(found) > 1 or any(not (value.isascii() and value.isdigit()) for value in found):
            raise _InvalidClientRequest(f"Invalid Content-Length: {', '.join(sorted(found))!r}")
        self.content_length = int(found.pop()) if found else None
        codings = ",".join(self.headers.get_all("Transfer-Encoding", [])).lower().replace(" ", "")
        if codings not in ("", "chunked", "identity"):
            raise _InvalidClientRequest(f"Unknown Transfer-Encoding: {codings!r}")

    def _chunked(self) -> bool:
        """Whether the body comes in chunks."""
        return "chunked" in self._tokens("Transfer-Encoding")

    def _tokens(self, name: str) -> list[str]:
        return [word.strip().lower() for word in ",".join(self.headers.get_all(name, [])).split(",")]

    def _upgrade_requested(self) -> bool:
        """Whether the bytes after the header may become another protocol's: an upgrade that has no body."""
        if self.content_length is not None or self.headers.get("Transfer-Encoding"):
            return False
        return "upgrade" in self._tokens("Connection") or "websocket" in self._tokens("Upgrade")

    def get_environ(self) -> Any:
        """The WSGI environment of the request."""
        environ = self.server.get_environ()
        path, _, query = self.path.partition("?")
        environ["REQUEST_METHOD"] = self.command
        environ["SCRIPT_NAME"] = ""
        environ["PATH_INFO"] = unquote_to_bytes(path.encode("latin-1")).decode("latin-1")
        environ["QUERY_STRING"] = query
        if self.headers.get("content-type") is not None:
            environ["CONTENT_TYPE"] = self.headers.get("content-type").replace("\r\n", "")
        chunked = self._chunked()
        if self.headers.get("content-length") is not None and not chunked:
            environ["CONTENT_LENGTH"] = self.headers.get("content-length")
        environ["SERVER_PROTOCOL"] = self.request_version
        if isinstance(self.client_address, tuple):
            environ["REMOTE_ADDR"] = str(self.client_address[0])
            environ["REMOTE_PORT"] = str(self.client_address[1])
        environ.update(self._header_variables())
        expects = "100-continue" in self._tokens("Expect") and self.request_version == "HTTP/1.1"
        self.wsgi_input = Input(self.rfile, self.content_length, self.socket if expects else None, chunked)
        environ["wsgi.input"] = self.wsgi_input
        environ["wsgi.input_terminated"] = not self._upgrade_requested()
        return environ

    def _header_variables(self) -> dict[str, str]:
        """HTTP_* variables. Fields with an underscore in the name are dropped: they could pass for others."""
        found: dict[str, str] = {}
        for name, value in self.headers.items():
            if "_" in name or name.lower() in ("content-type", "content-length"):
                continue
            key = f"HTTP_{name.upper().replace('-', '_')}"
            value = value.replace("\r\n", "").strip()
            if key in found:
                value = f"{found[key]}{'; ' if 'COOKIE' in key else ','}{value}"
            found[key] = value
        return found

    # Writing a response ---------------------------------------------------------------------------------------------

    def start_response(self, status: str, headers: Any, exc_info: Any = None) -> Callable[[bytes], None]:
        """PEP 3333."""
        if exc_info:
            try:
                if self.headers_sent:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None
        elif self.status is not None and self.headers_sent:
            raise AssertionError("The headers were sent already")
        if not isinstance(status, str):
            raise UnicodeError("The status string must be a native string")
        if "\r" in status or "\n" in status:
            raise ValueError("carriage return or newline in status", status)
        status.encode("latin-1")
        checked = [self._checked(name, value) for name, value in headers]
        code = int(status.split(" ", 1)[0])
        names = {name.lower(): value for name, value in checked}
        length = names.get("content-length")
        if code == 204 and length not in (None, "0"):
            text = f"Invalid Content-Length for {code} response: {length!r} (must be absent or zero)"
            raise self.ApplicationError(text.encode("latin-1"))
        self.code = code
        self.status = self._orig_status = status
        self.response_headers = checked
        self.provided_date = names.get("date")
        self.provided_content_length = length
        if "close" in names.get("connection", "").lower().split(","):
            self.close_connection = True
        if code == 101:
            self.connection_upgraded = True
        return self.write

    @staticmethod
    def _checked(name: Any, value: Any) -> list[str]:
        for text, what in ((name, "name"), (value, "value")):
            if not isinstance(text, str):
                raise UnicodeError(f"The header {what} must be a native string", name, value)
            text.encode("latin-1")
            if "\r" in text or "\n" in text:
                raise ValueError(f"carriage return or newline in header {what}", text)
        return [name, value]

    def finalize_headers(self) -> None:
        """Add what the application left out, just before the header fields are sent."""
        if self.provided_date is None:
            self.response_headers.append(["Date", formatdate(usegmt=True)])
        if self.connection_upgraded:
            return
        self.response_use_chunked = False
        if self.code not in (204, 304) and self.provided_content_length is None:
            self._frame_body()
        self._add_connection()

    def _frame_body(self) -> None:
        if hasattr(self.result, "__len__"):
            total = sum(len(piece) for piece in self.result)
            self.response_headers.append(["Content-Length", str(total)])
        elif self.request_version == "HTTP/1.1":
            self.response_use_chunked = True
            self.response_headers.append(["Transfer-Encoding", "chunked"])
        else:
            self.close_connection = True

    def _add_connection(self) -> None:
        if self._last_one():
            self.close_connection = True
        if any(name.lower() == "connection" for name, _ in self.response_headers):
            return
        if self.close_connection:
            self.response_headers.append(["Connection", "close"])
        elif self.request_version == "HTTP/1.0":
            self.response_headers.append(["Connection", "keep-alive"])

    def _sendall(self, data: Any) -> None:
        try:
            self.socket.sendall(data)
        except OSError as error:
            self.status = f"socket error: {error}"
            if self.code > 0:
                self.code = -self.code
            raise
        self.response_length += len(data)

    def _framed(self, data: Any) -> bytes:
        if not data or self.command == "HEAD":
            return b""
        if self.response_use_chunked:
            return b"%x\r\n%b\r\n" % (len(data), data)
        return bytes(data)

    def _write(self, data: Any) -> None:
        framed = self._framed(data)
        if framed:
            self._sendall(framed)

    def _write_with_headers(self, data: Any) -> None:
        self.finalize_headers()
        lines = [f"HTTP/1.1 {self.status}\r\n"]
        lines += [f"{name}: {value}\r\n" for name, value in self.response_headers]
        head = "".join([*lines, "\r\n"]).encode("latin-1")
        self.headers_sent = True
        try:
            body = self._framed(data)
        except TypeError:  # not bytes: the client still gets the head
            self._sendall(head)
            raise
        self._sendall(head + body)

    def write(self, data: Any) -> None:
        """Send a piece of the body; before the first piece, the header fields."""
        if self.code in (204, 304) and data:
            raise self.ApplicationError(f"The {self.code} response must have no body")
        if self.headers_sent:
            self._write(data)
        elif not self.status:
            raise self.ApplicationError("The application did not call start_response()")
        else:
            self._write_with_headers(data)

    def process_result(self) -> None:
        """Send what the application returned."""
        for data in self.result:
            if data:
                self.write(data)
        if self.status and not self.headers_sent:
            self.write(b"")
        if self.response_use_chunked and self.command != "HEAD":
            self._sendall(b"0\r\n\r\n")

    def run_application(self) -> None:
        """Call the application and send its result."""
        self.result = self.application(self.environ, self.start_response)
        self.process_result()

    def handle_one_response(self) -> None:
        """Run the application, and deal with its errors."""
        self.time_start = time.time()
        self.status = self._orig_status = None
        self.headers_sent = False
        self.result = None
        self.response_use_chunked = False
        self.connection_upgraded = False
        self.response_length = 0
        try:
            self.run_application()
        except _InvalidClientInput as error:
            self.log_error("%s", error)
            self._send_error_response_if_possible(400)
        except OSError as error:
            if error.errno in self.ignored_socket_errors and error.errno is not None:
                self.close_connection = True
            else:
                self.handle_error(*sys.exc_info())
        except BaseException:
            self.handle_error(*sys.exc_info())
        finally:
            self._end_response()

    def _end_response(self) -> None:
        try:
            if self.connection_upgraded or "websocket" in self._tokens("Upgrade"):
                # The application may have taken the connection over without telling the server.
                self.close_connection = True
            elif not self.close_connection or not self.headers_sent:
                self.wsgi_input._discard()
        except OSError:
            self.close_connection = True
        try:
            close = getattr(self.result, "close", None)
            if close is not None:
                close()
        except BaseException:
            self.handle_error(*sys.exc_info())
        self.wsgi_input._ended = True
        self.time_finish = time.time()
        self.log_request()

    def _send_error_response_if_possible(self, error_code: int) -> None:
        self.close_connection = True
        if self.headers_sent:
            return
        status, body = {
            400: ("400 Bad Request", b""),
            500: (_INTERNAL_ERROR_STATUS, _INTERNAL_ERROR_BODY),
        }[error_code]
        self.result = None
        self.status = None
        try:
            self.start_response(status, [*_HEADERS, ("Content-Length", str(len(body)))])
            self.write(body)
        except OSError:
            self.close_connection = True

    def handle_error(self, t: Any, v: Any, tb: TracebackType | None) -> None:
        """The application failed: report the error, and send an error response if none has begun."""
        if not issubclass(t, GreenletExit):
            context = self.environ
            if not isinstance(context, self.server.secure_environ_class):
                context = self.server.secure_environ_class(context)
            self.server.loop.handle_error(context, t, v, tb)
        self._send_error_response_if_possible(500)

    # Logging --------------------------------------------------------------------------------------------------------

    def format_request(self) -> str:
        """The line in the log."""
        address = self.client_address[0] if isinstance(self.client_address, tuple) else self.client_address
        took = f"{self.time_finish - self.time_start:.6f}" if self.time_finish else "-"
        code = (self._orig_status or self.status or "000").split()[0]
        line = (self.requestline or "").rstrip()
        now = datetime.now().replace(microsecond=0)
        return f'{address or "-"} - - [{now}] "{line}" {code} {self.response_length or "-"} {took}'

    def log_request(self) -> None:
        """Write the line to the server's log."""
        self.server.log.write(f"{self.format_request()}\n")

    def log_error(self, msg: str, *args: Any) -> None:
        """Write to the server's error log."""
        text = msg % args if args else msg
        self.server.error_log.write(f"{self.socket}: {text}\n")
