"""One request and its response over HTTP/1, from the head of the one to the end of the other.

Nothing here knows what kind of application answers. The server's ``serve_request`` does; it is called with the
exchange, reads :attr:`Exchange.environ` and :attr:`Exchange.body`, and sends by the methods.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import hubbub
from hubbub.lowlevel import monotonic

from hubbub_server.http.accesslog import Entry
from hubbub_server.http.body import Body
from hubbub_server.http.errors import ClientDisconnected, RequestError, RequestTimeout
from hubbub_server.http.lent import LentRequest
from hubbub_server.http.outgoing import OutgoingResponse
from hubbub_server.http.request import NOTHING, Head, Meaning
from hubbub_server.http.response import ResponseHead, error_response, response_head
from hubbub_server.http.tally import Tally

if TYPE_CHECKING:
    from hubbub_server.http.connection import Service

__all__ = ["Exchange"]

_ALL = 1 << 30


class Exchange(OutgoingResponse):
    """One request and its response.

    :param connection: the client's, which sends and receives.
    :param persists: whether the connection may be kept for another request, as far as the server is concerned.
    """

    # See the base class for the slots.
    __slots__ = ("deadline", "meaning")

    # Those of the base class that are set here, too: pyright asks for it.
    request: Head
    environ: dict[str, Any]
    request_id: str | None
    body: Body | None
    started: bool
    ended: bool
    head: ResponseHead | None
    meaning: Meaning
    """What the header fields say to the server."""
    deadline: float
    """When the time to answer is over, in ticks of the clock."""
    upgradable: bool = False
    """Whether the client asks for another protocol, so that :meth:`upgrade` may be called."""
    lingers: bool = False
    """Whether the client may still be sending, and must be listened to for its answer to arrive."""
    _gone = False
    _client_closes = False

    # The request ----------------------------------------------------------------------------------------------------

    def run(self, data: bytes) -> bool:
        """Serve the request whose head is ``data``. True: the connection goes on."""
        connection = self.connection
        service = connection.service
        start = data.find(b"\r\n")
        try:
            self.request = head = connection.parser.start_line(data[:start])
            fields, self.meaning, cookie = connection.parser.fields(data, start + 2, head.minor)
            self.environ = environ = service.base_env | fields
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
        return (self._persists and self.body is None) or self.goes_on()

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
        if type(log) is Tally:
            log.count(status, monotonic() - began, self._sent)
            log = log.log
            if log is None:
                return  # what is only counted needs no entry
        request = self.request
        assert log is not None  # or this would not be called
        environ = self.environ
        line = f"{request.method} {request.target} {request.protocol}"  # the environ may be empty by now
        address = environ.get("REMOTE_ADDR", "")
        log.write(Entry(address, line, status, self._sent, monotonic() - began, environ, self.head))
