"""A server of HTTP/1 connections, whatever answers their requests: time limits, room, logs, the end."""

from __future__ import annotations

import importlib
import math
import socket
from collections.abc import Callable, Iterable
from typing import Any

import hubbub
from greenlet import getcurrent, greenlet
from hubbub.inspect import stack_of
from hubbub.lowlevel import interrupt

from hubbub_server._networks import Networks
from hubbub_server._proxy import ProxiedAddress
from hubbub_server.acceleration import usual_maker
from hubbub_server.events import EventLog, new_request_id, request_id, valid_request_id
from hubbub_server.http.accesslog import Entry
from hubbub_server.http.clock import Clock
from hubbub_server.http.connection import Connection
from hubbub_server.http.errors import RequestTimeout
from hubbub_server.http.exchange import Exchange
from hubbub_server.http.forwarded import FIELDS, Forwarding
from hubbub_server.http.limits import Limits
from hubbub_server.http.reporting import ReportingServer
from hubbub_server.http.request import HeadParser, Usual

__all__ = ["HTTPServer"]

_BUSY = 30.0
"""Seconds in which clients of HTTP/2 may go on, when a server stops that has no time limit for that."""
_AGAIN = 1.0
"""Seconds after which a request that was interrupted and goes on is interrupted again."""
_ROOMY = 22
"""Entries that a dict must have had for its table to have room for the fields of most requests, twenty."""


class HTTPServer(ReportingServer):
    """Serves HTTP/1.1 and HTTP/1.0. Subclasses say what answers a request: :meth:`serve_request`.

    :param listener: see :class:`~hubbub_server.baseserver.BaseServer`.
    :param backlog: how many connections the kernel queues; by default 1024.
    :param spawn: see :class:`~hubbub_server.baseserver.BaseServer`.
    :param log: the access log: ``"default"`` for stderr, None for none, a file-like object, or a
        :class:`logging.Logger`.
    :param error_log: failures of the application; as ``log``.
    :param environ: more entries for every request's environ.
    :param ssl_context: see :class:`~hubbub_server.stream.StreamServer`.
    :param limits: what clients may do.
    :param log_format: ``"common"``, ``"combined"``, ``"json"``, or a function from an
        :class:`~hubbub_server.http.accesslog.Entry` to a line.
    :param proxy_from: see :class:`~hubbub_server.stream.StreamServer`.
    :param forwarded_from: networks of proxies that are believed when they say, in header fields, by whom and how they
        were asked; see :class:`~hubbub_server.http.forwarded.Forwarding`. Other clients are not, and their fields of
        that kind are removed, once there are such networks.
    :param forwarded_fields: the fields that these proxies set.
    :param events: where events go, besides the two logs: ``request``, ``error``, ``exception``, ``log``, ``listening``,
        ``stopping``, ``stopped``.
    :param request_ids: give each request an id: ``environ["hubbub.request_id"]`` and ``HTTP_X_REQUEST_ID``, the field
        ``X-Request-ID`` of the response, and :data:`hubbub_server.events.request_id`. That of a proxy of
        ``forwarded_from`` is taken over.
    :param http2: serve HTTP/2 too (RFC 9113): to those who begin with its preface, and over TLS to those who chose it
        by ALPN, if ``ssl_context`` offers ``h2``. Needs ``hubbub-server[http2]``.
    :param max_memory: bytes in use by the process beyond which idle connections are closed; None for no limit.

    When there is no room for another client (of descriptors, of memory, or by the number that ``spawn`` says) the
    connection that is idle for longest is closed, never one with a request under way.
    """

    __slots__ = ("base_env", "lends_request", "stopping")  # see the base class

    def __init__(
        self,
        listener: Any,
        backlog: int | None = None,
        spawn: Any = "default",
        log: Any = "default",
        error_log: Any = "default",
        environ: dict[str, Any] | None = None,
        *,
        ssl_context: Any = None,
        limits: Limits | None = None,
        log_format: str | Callable[[Entry], str] = "common",
        handshake_timeout: float | None = 10.0,
        reuse_port: bool = False,
        max_memory: int | None = None,
        proxy_from: Iterable[str] = (),
        forwarded_from: Iterable[str] = (),
        forwarded_fields: Iterable[str] = FIELDS[:2],
        events: EventLog | None = None,
        request_ids: bool = False,
        http2: bool = False,
    ) -> None:
        self.limits: Limits = limits if limits is not None else Limits()
        self.request_ids: bool = request_ids
        self.parser: HeadParser = HeadParser(self.limits)
        self.forwarding: Forwarding | None = (
            Forwarding(Networks(forwarded_from), forwarded_fields) if forwarded_from else None
        )
        """What is believed of proxies in the fields of requests."""
        self.lends_request: bool = False
        self.websockets: set[Any] = set()
        """Those that are open; see :mod:`hubbub_server.websocket`."""
        self.only_calls = False
        self.http2: bool = http2
        """Whether HTTP/2 is served."""
        if http2:
            self._http2: Any = _http2_connection()
        self.stopping: bool = False
        self.max_memory = max_memory
        self._next_look = 0.0
        self.clock: Clock = Clock(self.limits)
        self._ticker: Any = None
        """The timer that the clock counts."""
        self.base_env: dict[str, Any] = {}
        """What every request's environ starts with; complete once the server has started."""
        self._more_environ = dict(environ or {})
        self._make_usual: Callable[[HeadParser], Usual] | None = None
        super().__init__(
            listener,
            self._serve,
            1024 if backlog is None else backlog,
            spawn,
            log,
            error_log,
            log_format=log_format,
            events=events,
            ssl_context=ssl_context,
            handshake_timeout=handshake_timeout,
            reuse_port=reuse_port,
            proxy_from=proxy_from,
        )

    # The environ ----------------------------------------------------------------------------------------------------

    def _set_base_environ(self) -> None:
        host, port = self.server_host, self.server_port
        if host in ("", "0.0.0.0", "::"):
            host = socket.gethostname()
        environ: dict[str, Any] = {
            # Set for each request; here they are so that its copy has room for them.
            **dict.fromkeys(["REQUEST_METHOD", "REQUEST_URI", "PATH_INFO", "QUERY_STRING", "SERVER_PROTOCOL"], ""),
            "SCRIPT_NAME": "",
            "SERVER_NAME": host if host is not None else "localhost",
            "SERVER_PORT": str(port) if port is not None else "80",
            "SERVER_SOFTWARE": "hubbub",
            "hubbub.early_hints": self.early_hints,
            "hubbub.send_trailers": self.send_trailers,
            "hubbub.set_deadline": self.set_deadline,
            "hubbub.trailers": self.trailers,
            "wsgi.url_scheme": "https" if self.ssl_enabled else "http",
        }
        if self.ssl_enabled:
            environ["HTTPS"] = "on"
        environ.update(self._application_environ())
        environ.update(self._more_environ)
        # A dict keeps the room that it has had, and copies have the same: so none grows when a request's fields come.
        room = [f"room.{number}" for number in range(len(environ), _ROOMY)]
        for name in room:
            environ[name] = None
        for name in room:  # the fewer the better: each leaves a mark on which others stumble
            del environ[name]
        self.base_env = environ

    def _application_environ(self) -> dict[str, Any]:
        """What the kind of application wants to find in every environ."""
        return {}

    def set_environ(self, environ: dict[str, Any] | None = None) -> None:
        """Replace the extra entries of the environ."""
        self._more_environ = dict(environ or {})
        self._set_base_environ()

    def get_environ(self) -> dict[str, Any]:
        """A new environ, as far as it does not depend on the request."""
        return self.base_env.copy()

    def connection_environ(self, sock: Any, address: Any) -> dict[str, Any] | None:
        """What the environ of all requests of one connection is to say of it besides the client's address.

        Nothing; override to say what the client's certificate says, for instance.
        """
        return None

    def parser_for(self, address: Any) -> HeadParser:
        """The parser of requests that come from ``address``. Override to treat some clients in another way."""
        return self.parser

    # The clock ------------------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        now = self.clock.tick()
        for handler, connection in list(self.handlers.items()):
            if connection is None:
                continue
            if connection.request is not None and connection.request.deadline <= now:
                self._end_request(handler, connection, connection.request)
            if connection.deadline <= now:
                connection.expire()
            if connection.write_deadline <= now:
                connection.expire_writing()
        for websocket in [each for each in self.websockets if each.deadline <= now]:
            websocket.expire()
        events = None if self.events is None else self.events.stream
        for log in (getattr(self.access_log, "stream", None), self.error_log, events):
            if log is not None and log.outlet is not None and log.outlet.waiting:
                log.outlet.pump()
        self._forget_scarcity()
        if self.max_memory is not None and now >= self._next_look:
            self._next_look = now + 1.0 / self.clock.seconds
            self._look_at_memory(self.max_memory)

    def _end_request(self, handler: greenlet, connection: Connection, exchange: Exchange) -> None:
        """The time for a request is over: interrupt it, after the shields that it is in."""

        exchange.deadline = never = float("inf")  # a number of its own: who sets another takes the interrupt back

        def is_wanted() -> bool:
            if connection.request is not exchange or exchange.deadline is not never:
                return False
            exchange.deadline = self.clock.now + self.clock.ticks(_AGAIN)
            return True

        stack = "\n".join(f"  {line}" for line in stack_of(handler.gr_frame))
        self.log_error(
            exchange.environ, f"the time for the request is over; it is interrupted where it waits:\n{stack}"
        )
        interrupt(handler, RequestTimeout(self.limits.request_seconds), is_wanted)

    def set_deadline(self, seconds: float | None) -> None:
        """Give the request that the calling greenlet answers so many seconds from now.

        It is ``environ["hubbub.set_deadline"]``, for applications.

        :param seconds: None for no limit.
        :raises ValueError: not a number of seconds above 0.
        :raises RuntimeError: the calling greenlet is not one in which this server answers a request.
        """
        if seconds is not None and not 0 < seconds < math.inf:
            raise ValueError(f"a deadline is a number of seconds above 0, or None, not {seconds!r}")
        self._exchange().deadline = self.clock.now + self.clock.ticks(seconds)

    def _exchange(self) -> Exchange:
        """The one that the calling greenlet answers."""
        connection = self.handlers.get(getcurrent())
        if connection is None or connection.request is None:
            raise RuntimeError("this can be called in the greenlet that answers a request, and in no other")
        exchange: Exchange = connection.request
        return exchange

    def early_hints(self, fields: list[tuple[str, str]]) -> bool:
        """Send an interim response ``103 Early Hints`` (RFC 8297) for the request that the calling greenlet answers,
        such as ``[("Link", "</style.css>; rel=preload; as=style")]``, so that the client can begin to fetch these.

        It is ``environ["hubbub.early_hints"]``, for applications. It may be called several times.

        :returns: False if nothing was sent: the client is one of HTTP/1.0, or the response has begun.
        :raises TypeError: a name or a value is not a str.
        :raises ValueError: one would not be valid.
        :raises ClientDisconnected: the client is gone, or does not read.
        :raises RuntimeError: as :meth:`set_deadline`.
        """
        return self._exchange().early_hints(fields)

    def send_trailers(self, fields: list[tuple[str, str]]) -> bool:
        """Have the response that the calling greenlet gives end with trailers (RFC 9110, 6.5), such as
        ``[("Grpc-Status", "0")]``. Those of an earlier call are replaced.

        It is ``environ["hubbub.send_trailers"]``, for applications. Call it before the application returns, or in the
        generator that it has returned.

        :returns: False if they will not be sent: the client has not said that it wants trailers (``TE: trailers``,
            HTTP/1.1), or the response cannot have any.
        :raises TypeError: a name or a value is not a str.
        :raises ValueError: one would not be valid, or must not be in trailers.
        :raises RuntimeError: as :meth:`set_deadline`.
        """
        return self._exchange().set_trailers(fields)

    def trailers(self) -> list[tuple[str, str]]:
        """The trailers with which the request that the calling greenlet answers has ended, names lowered. None are
        there until the body was read to its end.

        It is ``environ["hubbub.trailers"]``, for applications.

        :raises RuntimeError: as :meth:`set_deadline`.
        """
        return self._exchange().trailers()

    # Connections ----------------------------------------------------------------------------------------------------

    def _serve(self, sock: Any, address: Any) -> None:
        parser = self.parser_for(address)
        if parser.usual is None and self._make_usual is not None:
            parser.usual = self._make_usual(parser)
        connection = Connection(self, sock, address, parser, self._adjustment(sock, address))
        if self.http2 and self.ssl_enabled and sock.selected_alpn_protocol() == "h2":
            self._serve_http2(connection, sock, address, b"")
            return
        self.handlers[getcurrent()] = connection
        connection.run()
        if connection.preface is not None:
            self._serve_http2(connection, sock, address, connection.preface)

    def _serve_http2(self, begun: Connection, sock: Any, address: Any, received: bytes) -> None:
        """Go on with a connection that turned out to be HTTP/2.

        :param received: what was received already.
        """
        connection = self._http2(self, sock, address, begun.parser, begun.adjust, received, self._serve_stream)
        self.handlers[getcurrent()] = connection
        connection.run()

    def _serve_stream(self, stream: Any) -> None:
        """Answer a request of HTTP/2, in a greenlet of its own. To the clock, and when the server stops, that is a
        handler like others."""
        current = getcurrent()
        self.handlers[current] = stream
        try:
            stream.connection.serve_stream(stream)
        finally:
            self.handlers.pop(current, None)

    def _adjustment(self, sock: Any, address: Any) -> Callable[[dict[str, Any]], object] | None:
        """What the environ of each request of a connection needs besides the client's address."""
        own = dict(self.connection_environ(sock, address) or {})
        if type(address) is ProxiedAddress:
            own.update(_environ_of_proxied(address))
        forwarding = self.forwarding
        if forwarding is None and not self.request_ids:
            return (lambda environ: environ.update(own)) if own else None

        def adjust(environ: dict[str, Any]) -> None:
            environ.update(own)
            if forwarding is not None:
                forwarding.apply(environ, address)
            if self.request_ids:
                self._set_request_id(environ, address)

        return adjust

    def _set_request_id(self, environ: dict[str, Any], address: Any) -> None:
        given = environ.get("HTTP_X_REQUEST_ID", "")
        if not (
            given and self.forwarding is not None and self.forwarding.believes(address) and valid_request_id(given)
        ):
            given = new_request_id()
        environ["hubbub.request_id"] = environ["HTTP_X_REQUEST_ID"] = given
        request_id.set(given)

    def serve_request(self, exchange: Exchange) -> None:
        """Answer a request. Called in the greenlet of its connection, for one request after the other.

        What it raises is answered: 500 if nothing was sent yet, else the connection is broken off.
        """
        raise NotImplementedError

    # Life -----------------------------------------------------------------------------------------------------------

    def start_accepting(self) -> None:
        """Accept from now on."""
        self._set_base_environ()  # the port is known now
        self._make_usual = usual_maker()
        self._set_descriptor_mark()
        if self.socket.family in (socket.AF_INET, socket.AF_INET6):
            # Accepted sockets inherit it. A response leaves when it is written, not 40 ms later.
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._ticker is None:
            self._ticker = hubbub.get_hub().loop.timer(self.clock.seconds, self.clock.seconds, ref=False)
            self._ticker.start(self._tick)
        super().start_accepting()
        self.tell_server("listening")

    def stop(self, timeout: float | None = None) -> None:
        """Accept no more; let requests that have arrived be answered, with ``Connection: close``; then as
        :meth:`~hubbub_server.baseserver.BaseServer.stop`."""
        if self.started:
            self.tell_server("stopping")
        self.stopping = True
        if timeout is None:
            timeout = self.stop_timeout
        # A request may be on its way on a connection that looks idle, so those are not closed at once.
        grace = 0.5 if timeout is None else min(0.5, timeout / 2)
        deadline = self.clock.hurry(grace, _BUSY if timeout is None else timeout / 2)
        for connection in self.connections:
            connection.hurry(deadline)
        for websocket in list(self.websockets):
            websocket.go_away()
        super().stop(timeout)
        if self._ticker is not None:
            self._ticker.close()
            self._ticker = None
            self.tell_server("stopped")


def _http2_connection() -> Any:
    """The class of connections of HTTP/2.

    :raises ImportError: the package h2 is not installed.
    """
    try:
        return importlib.import_module("hubbub_server._http2.connection").Http2Connection
    except ModuleNotFoundError as error:
        if error.name not in ("h2", "hpack"):
            raise
        raise ImportError("HTTP/2 needs the package h2: install hubbub-server[http2]", name=error.name) from error


def _environ_of_proxied(address: ProxiedAddress) -> dict[str, Any]:
    """What the header of a proxy adds to the environ of all requests of its connection."""
    own: dict[str, Any] = {"hubbub.peer": address.peer}
    if address.encrypted:
        own.update({"wsgi.url_scheme": "https", "HTTPS": "on"})
    return own
