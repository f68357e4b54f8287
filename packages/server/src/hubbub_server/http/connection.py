"""One client's connection over HTTP/1: the driver between a socket, the parser and the exchanges."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any, Final, Protocol

import hubbub
from hubbub.io import Socket
from hubbub.lowlevel import monotonic

from hubbub_server._tls import send_close_notify
from hubbub_server.http.accesslog import Entry, EntryLog
from hubbub_server.http.clock import NEVER, Clock
from hubbub_server.http.errors import ClientDisconnected, RequestError
from hubbub_server.http.exchange import Exchange
from hubbub_server.http.limits import Limits
from hubbub_server.http.request import PREFACE, HeadParser, check_partial
from hubbub_server.http.response import error_response
from hubbub_server.http.sending import Sender

__all__ = ["IDLE", "READING", "RECEIVE", "RUNNING", "Connection", "Service"]

RECEIVE: Final = 65536
"""Bytes that are asked of the kernel at a time."""
_shutdown = Socket.__bases__[0].shutdown  # type: ignore[attr-defined]  # not TLS's, which would forget the session

_recv = Socket.__bases__[0].recv  # type: ignore[attr-defined]  # of the kernel, whatever TLS makes of it
_DONTWAIT = getattr(socket, "MSG_DONTWAIT", 0)

# What the connection waits to receive.
RUNNING, IDLE, READING, _LINGERING = range(4)


class Service(Protocol):
    """What the requests of connections are served by: the server."""

    clock: Clock
    limits: Limits
    """What clients may do."""
    stopping: bool
    """Whether each response is to be its connection's last."""
    base_env: dict[str, Any]
    """What the environ of every request starts with."""
    access_log: EntryLog | None
    http2: bool
    """Whether HTTP/2 is served."""
    lends_request: bool
    """Whether ``environ["hubbub.request"]`` is there, a :class:`~hubbub_server.http.lent.LentRequest`."""
    only_calls: bool
    """Whether :meth:`serve_request` does nothing but call the service's ``application``, as PEP 3333 has it."""

    @property
    def ssl_enabled(self) -> bool:
        """Whether connections are TLS."""

    def serve_request(self, exchange: Exchange) -> None:
        """Answer a request, in the greenlet of its connection. Whatever it raises is answered by the exchange."""

    def client_disconnected(self, environ: dict[str, Any]) -> None:
        """A client was gone before it had its response."""

    def log_error(self, environ: dict[str, Any], message: str) -> None:
        """The application did something wrong that its client need not know."""

    def log_exception(self, environ: dict[str, Any], error: BaseException) -> None:
        """The application has failed."""


class Connection(Sender):
    """Serves the requests of one client, one after the other. ``run`` is called in the greenlet of the connection.

    The server looks at :attr:`deadline` of all connections at each tick of its clock, and calls :meth:`expire`.

    :param service: what answers requests.
    :param sock: the connected socket; the server closes it.
    :param address: the client's, as :meth:`socket.socket.accept` gave it.
    :param parser: of the heads of its requests.
    :param adjust: called with the environ of each of its requests, or None; may raise RequestError.
    """

    __slots__ = (
        "_body_patience",
        "_buffer",
        "_phase",
        "adjust",
        "deadline",
        "expired",
        "host",
        "limits",
        "parser",
        "port",
        "preface",
        "request",
        "service",
        "since",
    )

    is_stream = False
    """Whether it is a part of another."""

    def __init__(
        self,
        service: Service,
        sock: Any,
        address: Any,
        parser: HeadParser,
        adjust: Callable[[dict[str, Any]], object] | None = None,
    ) -> None:
        clock = service.clock
        super().__init__(sock, clock)
        self.service: Service = service
        self.limits: Limits = service.limits
        self.deadline: float = NEVER
        """When the present wait to receive has lasted too long, in ticks of the clock."""
        self.request: Exchange | None = None
        """The one that is being answered."""
        self.expired: bool = False
        """Whether it has."""
        self.preface: bytes | None = None
        """What was received, if it begins with the preface of HTTP/2 and that is served; else None."""
        self.since: float = 0.0
        """When it became idle, as :func:`time.monotonic` has it; the present wait, if it is."""
        self._phase = RUNNING
        self._buffer = b""
        self._body_patience = clock.body.ticks
        known = isinstance(address, tuple)
        self.host: str = address[0] if known else ""
        """The client's address, as the environ and the log have it; empty for a UNIX socket."""
        self.port: str | None = str(address[1]) if known else None
        """The same for its port."""
        self.adjust: Callable[[dict[str, Any]], object] | None = adjust
        self.parser: HeadParser = parser

    # Life -----------------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Serve until either side has enough."""
        try:
            if self._serve():
                self._linger()
        except ClientDisconnected:
            return

    def _serve(self) -> bool:
        """Serve requests. True: the client may be sending still, so linger before closing."""
        service = self.service
        left = self.limits.requests_per_connection
        usual = self.parser.usual if service.only_calls and left is None else None
        patience = self.clock.body.ticks
        count = 0
        while True:
            try:
                data = self._next_head(count)
            except RequestError as error:
                self._refuse(error)
                return True
            if data is None:
                return False
            if not count and data.startswith(PREFACE) and service.http2:
                self.preface = data + self._buffer
                return False
            count += 1
            self._body_patience = patience
            if usual is not None:
                unserved = usual.serve(self, data)
                if type(unserved) is bool:
                    return unserved
                if unserved is None:
                    continue  # it has served this one, and what came after it
                data = unserved
            exchange = Exchange(self, not (service.stopping or count == left))
            if not exchange.run(data):
                return exchange.lingers
            del exchange, data  # a connection that waits for its next request holds nothing of the last
            if self._buffer:
                hubbub.sleep(0)  # yield: a client may have sent many requests at once

    def expire(self) -> None:
        """The time to receive is up: end the present wait. Called on the hub."""
        self.expired = True
        self.deadline = NEVER
        self._shut(socket.SHUT_RD)

    def expire_writing(self) -> None:
        """The client does not read: nothing more can be said to it, and what is queued is dropped. On the hub."""
        self.expired = True
        self.write_deadline = NEVER
        self.reset_on_close()
        self._shut(socket.SHUT_RDWR)

    def _shut(self, how: int) -> None:
        try:
            _shutdown(self.sock, how)
        except OSError:
            return  # it is gone already

    @property
    def idle(self) -> bool:
        """Whether it waits for a request."""
        return self._phase == IDLE

    @property
    def state(self) -> str:
        """What it does, for who counts: ``"answering"`` a request, ``"idle"``, ``"reading"`` one, or ``"closing"``."""
        if self.request is not None:
            return "answering"
        return "idle" if self._phase == IDLE else "closing" if self._phase == _LINGERING else "reading"

    def retire(self) -> bool:
        """Close an idle connection to make room. False: a request has arrived meanwhile, and is going to be served."""
        if not self.idle or self._has_arrived():
            return False
        self._phase = RUNNING  # once is enough
        self._shut(socket.SHUT_RD)
        return True

    def _has_arrived(self) -> bool:
        """Whether the kernel has something of the client's that was not read."""
        try:
            return bool(_recv(self.sock, 1, socket.MSG_PEEK | _DONTWAIT))
        except OSError:
            return False

    def hurry(self, deadline: float) -> None:
        """The server stops: a request that is to be served here must come before ``deadline``."""
        if self._phase == IDLE:
            self.deadline = min(self.deadline, deadline)

    # Receiving ------------------------------------------------------------------------------------------------------

    def _receive(self, size: int) -> bytes:
        """What the client sent, or nothing when it has ended, failed or timed out."""
        try:
            data: bytes = self.sock.recv(size)
        except OSError:
            data = b""
        finally:  # also if the reading greenlet is killed, and another goes on with the connection
            self.deadline = NEVER
            self._phase = RUNNING
        return data

    def _next_head(self, count: int) -> bytes | None:
        """The next request's head, or None when there is none.

        :raises RequestError: it is not going to be one.
        """
        data = self._buffer
        if data:
            self._buffer = b""
        else:
            self._phase = IDLE
            self.since = monotonic()
            if count:
                self.deadline = self.clock.idle_deadline
            else:
                self.deadline = self.clock.now + self.clock.first_ticks
                self._await_first()
            data = self._receive(RECEIVE)
            if not data:
                return None
        end = data.find(b"\r\n\r\n") + 4
        if end < 4 or data[0] == 13:
            return self._collect_head(data)
        if end == len(data):
            return data
        self._buffer = data[end:]
        return data[:end]

    def _await_first(self) -> None:
        """Wait before the first attempt to read.

        The attempt would often be in vain, and the wait that follows such a one takes 0.6 KiB more, for as long as it
        lasts: the frame that the exception has shown, and C stack. (TLS may have read the request with the handshake.)
        """
        sock = self.sock
        if type(sock) is Socket:
            try:
                sock.wait_readable()
            except OSError:
                return  # the attempt will say it

    def _collect_head(self, data: bytes) -> bytes | None:
        """The same for a head that arrives in pieces, or after an empty line (RFC 9112, 2.2)."""
        deadline = self.clock.now + self.clock.header_ticks
        buffer = bytearray(data)
        seen = 0
        stripped = False
        while True:
            if not stripped and len(buffer) >= 2 and buffer[:2] == b"\r\n":
                del buffer[:2]
                stripped = True
                seen = 0
            end = buffer.find(b"\r\n\r\n", max(seen - 3, 0)) + 4
            if end >= 4:
                self._buffer = bytes(buffer[end:])
                return bytes(buffer[:end])
            if buffer and buffer != b"\r" and not (self.service.http2 and PREFACE.startswith(buffer)):
                check_partial(buffer, seen, self.limits, self.parser)
            seen = len(buffer)
            self._phase = READING
            self.deadline = deadline
            data = self._receive(RECEIVE)
            if not data:
                if self.expired and buffer:
                    raise RequestError("408 Request Timeout", "The head of the request took too long.")
                return None
            buffer += data

    # What a Body asks for -------------------------------------------------------------------------------------------

    def buffered(self, size: int) -> bytes:
        """What was received already, at most ``size`` bytes."""
        data = self._buffer
        self._buffer = data[size:]
        return data[:size]

    def body_data(self, size: int) -> bytes:
        """The next of a body.

        :raises ClientDisconnected: there will be no more.
        :raises RequestError: 408.
        """
        data = self.buffered(size)
        if data:
            return data
        clock = self.clock
        self.note_work(size)
        self._phase = READING
        began = clock.now
        self.deadline = began + self._body_patience
        data = self._receive(size)
        if data:
            self._body_patience = clock.body.after(self._body_patience, clock.now - began, len(data))
            return data
        raise self._body_error()

    def _body_error(self) -> Exception:
        """Why no more of a body comes."""
        if self.expired:
            return RequestError("408 Request Timeout", "The body of the request took too long.")
        return ClientDisconnected("the client closed the connection before the end of the request's body")

    def wait_end(self) -> bool:
        """Wait until the client has ended its side, by any greenlet while no body is read.

        :returns: False if that cannot be seen, because the client sends request after request without a pause.
        """
        while len(self._buffer) < RECEIVE:
            data = self._receive(RECEIVE)
            if not data:
                return True
            self._buffer += data
        return False

    def has_more(self) -> bool:
        """Whether something was received that is not served yet."""
        return bool(self._buffer)

    def give_back(self, data: bytes) -> None:
        """What follows a body."""
        self._buffer = data + self._buffer

    def send_continue(self) -> None:
        """Send "100 Continue"."""
        self.send(b"HTTP/1.1 100 Continue\r\n\r\n")

    # The end --------------------------------------------------------------------------------------------------------

    def _refuse(self, error: RequestError) -> None:
        """Answer something that is no request."""
        data = error_response(error.status, error.detail)
        self.log_refused("", error)
        self.send(data)

    def log_refused(self, line: str, error: RequestError) -> None:
        """A line of the access log for a request that never reached the application."""
        log = self.service.access_log
        if log is not None:
            log.write(Entry(self.host, line, int(error.status[:3]), 0, 0.0, {}))

    def _linger(self) -> None:
        """Read what the client still sends for a while: closing at once would reset the connection and with it the
        answer, on its way or unread (RFC 9112, 9.6)."""
        try:
            self._end_writing()
        except OSError:
            return
        deadline = self.clock.now + self.clock.linger_ticks
        left = self.limits.discard_bytes * 16
        self.expired = False
        while left > 0 and not self.expired:
            self._phase = _LINGERING
            self.deadline = deadline
            data = self._receive(RECEIVE)
            if not data:
                return
            left -= len(data)
            self.note_work(len(data))

    def _end_writing(self) -> None:
        if self.service.ssl_enabled:
            send_close_notify(self.sock)
        _shutdown(self.sock, socket.SHUT_WR)
