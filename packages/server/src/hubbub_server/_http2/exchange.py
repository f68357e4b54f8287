"""One request and its response over HTTP/2: as over HTTP/1, but for how the two are written (RFC 9113, 8)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from h2.errors import ErrorCodes
from hubbub.lowlevel import monotonic

from hubbub_server._http2.body import Body
from hubbub_server._http2.fields import Malformed, final_fields, request_head, response_fields
from hubbub_server._http2.protocol import Field
from hubbub_server._http2.websocket import PROTOCOL, WebSockets
from hubbub_server.http.body import Body as PlainBody
from hubbub_server.http.errors import ClientDisconnected, RequestError
from hubbub_server.http.exchange import Exchange
from hubbub_server.http.filewrapper import PlainFile
from hubbub_server.http.framing import Delimiter, frame
from hubbub_server.http.lent import LentRequest
from hubbub_server.http.request import CHUNKED, NOTHING, Meaning
from hubbub_server.http.response import ResponseHead

if TYPE_CHECKING:
    from hubbub_server._http2.stream import Stream

__all__ = ["Http2Exchange"]

_PROTOCOL: Final = "HTTP/2"
_HEAD, _LENGTH, _CHUNKS, _ = Delimiter


class Http2Exchange(Exchange):
    """One request and its response.

    :param stream: the client's, which sends and receives.
    """

    connection: Any
    """The stream."""
    _code = ErrorCodes.INTERNAL_ERROR
    """Why the stream is reset, if the response does not end."""

    def __init__(self, stream: Stream) -> None:
        super().__init__(stream, True)  # type: ignore[arg-type]  # it has what is used of a connection
        self._ending: list[Field] = []
        self._malformed = False
        self._tunnel = b""

    # The request ----------------------------------------------------------------------------------------------------

    def serve(self) -> None:
        """Serve the request of the stream."""
        stream = self.connection
        service = stream.service
        try:
            head, start = self._read()
        except RequestError as error:
            self._refuse_request(error)
            return
        if service.lends_request:
            self.environ["hubbub.request"] = LentRequest(self, stream, head, start, self.body)
        if service.access_log is None:
            self._serve(service)
        else:
            began = monotonic()
            try:
                self._serve(service)
            finally:
                self.log(began)

    def _read(self) -> tuple[bytes, int]:
        """Read the request; its head in the form of HTTP/1.1, and where the fields begin in that."""
        stream = self.connection
        head, self._tunnel = request_head(stream.fields, stream.connection.tunnels)
        if self._tunnel and self._tunnel != PROTOCOL:
            raise RequestError("501 Not Implemented", "Of the protocols for CONNECT websocket is known.")
        end = head.find(b"\r\n")
        parser = stream.parser
        self.request = request = parser.start_line(head[:end])._replace(protocol=_PROTOCOL)
        fields, self.meaning, cookie = parser.fields(head, end + 2, 1)
        self.environ = environ = {**stream.service.base_env, **fields}
        if cookie is not None:
            environ["HTTP_COOKIE"] = cookie
        environ["hubbub.stream"] = stream.number
        self._prepare(environ, request)
        if not self._tunnel:
            self._take_body(stream.body)
        elif stream.body is None:
            raise Malformed("A tunnel has ended before it was opened.")
        else:
            self.meaning = NOTHING
        stream.fields = []
        return head, end + 2

    def _take_body(self, body: Body | None) -> None:
        length = self.meaning.length
        if body is None:
            if length:
                raise Malformed("There is a Content-Length, and no body.")
            self.meaning = NOTHING
            return
        if "CONTENT_LENGTH" not in self.environ:
            length = CHUNKED
        body.declare(length, self.meaning.expects)
        self.meaning = Meaning(length, None, self.meaning.expects, False)
        self.body = body  # type: ignore[assignment]  # it has the interface

    def _refuse_request(self, error: RequestError) -> None:
        stream = self.connection
        pseudo = dict(stream.fields)
        method, target = pseudo.get(b":method", b"-"), pseudo.get(b":path") or pseudo.get(b":authority", b"-")
        stream.log_refused(f"{method.decode('latin-1')} {target.decode('latin-1')} {_PROTOCOL}", error)
        self._malformed = error.status.startswith("400")
        try:
            self._send_refusal(error.status, error.detail, method == b"HEAD")
        except ClientDisconnected:
            return

    # The response ---------------------------------------------------------------------------------------------------

    def _fields(self, given: int | None) -> list[Field]:
        """The fields of the response, framing decided.

        :param given: the length of the body, if it is known.
        """
        head = self.head
        if head is None:
            raise AssertionError("the application has not called start_response()")
        if head.code == 101:
            raise ValueError("HTTP/2 knows no status 101 (RFC 9113, 8.6)")
        if self.body is not None:
            self._check_body(self.body)
        self.started = True
        framing = frame(head.code, head.length is not None, given is not None, self.request.method == "HEAD", 1, True)
        length = given if head.length is None else head.length
        self._delimiter = framing.delimiter
        self._left = length if framing.delimiter is _LENGTH else None
        fields = response_fields(head, length if framing.says_length else None)
        if self.request_id is not None and not head.says_request_id:
            fields.append((b"x-request-id", self.request_id.encode("ascii")))
        return fields

    def _check_body(self, body: PlainBody) -> None:
        body.expected = False  # no "100 Continue" in the midst of a response
        if isinstance(body.error, RequestError):
            raise body.error

    def send_whole(self, data: bytes) -> None:
        """Send the head and all of the body. Raises as for HTTP/1."""
        if not isinstance(data, bytes):
            raise AssertionError(f"the body must be bytes, not {type(data).__name__}")
        fields = self._fields(len(data))
        stream = self.connection
        left = self._left
        if left is None:  # no body follows this head
            self._send_last(fields, b"")
            return
        data = self._cut(data, left)
        self._sent = len(data)
        if left > len(data):
            stream.send_head(fields, False)
            stream.send(data, False)
            self._too_short(left - len(data))
            return
        self._send_last(fields, data)

    def _send_last(self, fields: list[Field] | None, data: bytes) -> None:
        """Send the rest of the response: a head, if there is one to send, a body, and trailers."""
        stream = self.connection
        ending = self._ending
        if fields is not None:
            stream.send_head(fields, not data and not ending)
        if data or (fields is None and not ending):
            stream.send(data, not ending)
        self._complete = True
        if ending:
            stream.send_head(ending, True)

    def send_piece(self, data: bytes) -> None:
        """Send the next piece of the body, which is not empty; the head before the first. Raises as for HTTP/1."""
        stream = self.connection
        if not self.started:
            fields = self._fields(None)
            if self._delimiter is _HEAD:
                self._send_last(fields, b"")
            else:
                stream.send_head(fields, False)
        if self._delimiter is _HEAD or self._upgraded:
            self._drop(data)
            return
        if self._left is not None:
            data = self._cut(data, self._left)
            self._left -= len(data)
        self._sent += len(data)
        if data:
            stream.send(data, False)
            self._complete = self._left == 0

    def _drop(self, data: bytes) -> None:
        self.dropped += len(data) + 1024

    def send_head(self) -> None:
        """Send the head of the response now. Raises as for HTTP/1."""
        if not self.started:
            fields = self._fields(None)
            if self._delimiter is _HEAD:
                self._send_last(fields, b"")
            else:
                self.connection.send_head(fields, False)

    def finish(self) -> None:
        """The application has given all: send what is missing of the response. Raises as for HTTP/1."""
        if self.connection.closed or self._upgraded:
            return
        if not self.started:
            self.send_whole(b"")
        elif self._left:
            self._too_short(self._left)
        else:
            self._send_last(None, b"")

    def send_file(self, file: PlainFile) -> bool:
        """Send the head of a response whose body is a file, which is then read. False."""
        fields = self._fields(file.size)
        if self._delimiter is _HEAD:
            self._send_last(fields, b"")
            return True
        self.connection.send_head(fields, False)
        return False

    def open_tunnel(self, head: ResponseHead) -> None:
        """Send the head of a response whose stream belongs to another protocol from there on (RFC 8441, 5).

        :raises AssertionError: the response has begun.
        :raises ClientDisconnected: the client is gone.
        """
        if self.started or self.ended:
            raise AssertionError("a WebSocket cannot be opened once a response has begun")
        self.head = head
        self._upgraded = self.started = True
        self.connection.send_head(response_fields(head, None), False)

    def early_hints(self, fields: list[tuple[str, str]]) -> bool:
        """Send an interim response 103 (RFC 8297). See the server."""
        if self.started:
            return False
        self.connection.send_head([(b":status", b"103"), *final_fields(fields)], False)
        return True

    def set_trailers(self, fields: list[tuple[str, str]]) -> bool:
        """Have the response end with trailers. See the server."""
        if self.connection.closed:
            return False
        self._ending = final_fields(fields)
        return True

    def trailers(self) -> list[tuple[str, str]]:
        """Those with which the request has ended."""
        made: list[tuple[str, str]] = self.connection.trailers
        return made

    def upgrade(self) -> tuple[Any, bytes]:
        """There is none over HTTP/2."""
        raise AssertionError("a connection cannot be taken over with HTTP/2")

    # Failure --------------------------------------------------------------------------------------------------------

    def _serve(self, service: Any) -> None:
        stream = self.connection
        try:
            super()._serve(WebSockets(service) if self._tunnel else service)  # type: ignore[arg-type]  # all that is used
        finally:
            if self._complete and not stream.closed and not stream.gone:
                self._send_the_end(stream)

    def _send_the_end(self, stream: Stream) -> None:
        """The application has failed after it had given all that it promised."""
        try:
            stream.send(b"", True)
        except ClientDisconnected:
            return

    def _failed(self, error: BaseException) -> None:
        self._malformed = isinstance(error, Malformed) or (
            self.body is not None and isinstance(self.body.error, Malformed)
        )
        super()._failed(error)

    def _end(self, detail: str) -> None:
        self._code = ErrorCodes.CANCEL
        super()._end(detail)

    def _break_off(self) -> None:
        self._gone = True
        self.connection.reset(ErrorCodes.PROTOCOL_ERROR if self._malformed else self._code)

    def _refuse(self, status: str, detail: str) -> None:
        self.started = True
        try:
            self._send_refusal(status, detail, self.request.method == "HEAD")
        except ClientDisconnected:
            return
        self._complete = True

    def _send_refusal(self, status: str, detail: str, head_only: bool) -> None:
        """Send a response that says why there is no other. That to a malformed request ends with an error: so its
        sender cannot take the request for one that was understood (RFC 9113, 8.1.1)."""
        stream = self.connection
        body = f"{status}\n{detail}\n".encode("latin-1")
        self.head = head = ResponseHead(status, [("Content-Type", "text/plain; charset=utf-8")])
        fields = response_fields(head, len(body))
        if self.request_id is not None:
            fields.append((b"x-request-id", self.request_id.encode("ascii")))
        end = not self._malformed
        stream.send_head(fields, head_only and end)
        if not head_only:
            stream.send(body, end)
        if not end:
            stream.spoil()
            stream.reset(ErrorCodes.PROTOCOL_ERROR)
