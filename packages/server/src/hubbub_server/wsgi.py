"""The HTTP server for WSGI applications (PEP 3333)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from hubbub_server.events import ErrorEvents, EventLog
from hubbub_server.http.accesslog import Entry
from hubbub_server.http.body import EmptyInput, Input
from hubbub_server.http.exchange import Exchange
from hubbub_server.http.filewrapper import FileWrapper
from hubbub_server.http.forwarded import FIELDS
from hubbub_server.http.lent import LentSocket
from hubbub_server.http.limits import Limits
from hubbub_server.http.request import NOTHING
from hubbub_server.http.server import HTTPServer
from hubbub_server.http.upgrades import serve_websocket
from hubbub_server.http.wsgi import Application, Response

__all__ = ["Application", "WSGIServer"]


class WSGIServer(HTTPServer):
    """Serves a WSGI application over HTTP/1.1 and HTTP/1.0, and over HTTP/2 if asked to.

    :param application: called as ``application(environ, start_response)``, in the greenlet of the connection.
    :param error_log: failures of the application, and ``wsgi.errors``; as ``log``.

    All other parameters are those of :class:`~hubbub_server.http.server.HTTPServer`.
    """

    __slots__ = ("application",)  # see the base class

    application: Application

    def __init__(
        self,
        listener: Any,
        application: Application | None = None,
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
        if application is not None:
            self.application = application
        super().__init__(
            listener,
            backlog,
            spawn,
            log,
            error_log,
            environ,
            ssl_context=ssl_context,
            limits=limits,
            log_format=log_format,
            handshake_timeout=handshake_timeout,
            reuse_port=reuse_port,
            max_memory=max_memory,
            proxy_from=proxy_from,
            forwarded_from=forwarded_from,
            forwarded_fields=forwarded_fields,
            events=events,
            request_ids=request_ids,
            http2=http2,
        )
        self.lends_request: bool = bool(getattr(application, "wants_request", False))
        self.only_calls: bool = type(self).serve_request is WSGIServer.serve_request

    def _application_environ(self) -> dict[str, Any]:
        return {
            "wsgi.input": EmptyInput(),
            "wsgi.version": (1, 0),
            "wsgi.errors": self._errors(),
            "wsgi.multithread": False,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
            "wsgi.input_terminated": True,
            "wsgi.file_wrapper": FileWrapper,
        }

    def _errors(self) -> Any:
        if self.events is not None:
            return ErrorEvents(self.events, self.error_log)
        return self.error_log if self.error_log is not None else _Nowhere()

    def serve_request(self, exchange: Exchange) -> None:
        """Have the application answer. Raises whatever it raises."""
        environ = exchange.environ
        if exchange.meaning is not NOTHING:
            if exchange.body is not None:
                environ["wsgi.input"] = Input(exchange.body)
            if exchange.upgradable:
                environ["hubbub.upgrade"] = exchange.upgrade
                environ["werkzeug.socket"] = LentSocket(exchange.upgrade)
                if "hubbub.websocket" not in environ and "websocket" in environ["HTTP_UPGRADE"].lower():
                    serve_websocket(exchange, self)  # comes back here with that entry
                    return
        response = Response(exchange)
        response.finish(self.application(environ, response.start))


class _Nowhere:
    """``wsgi.errors`` when there is no error log."""

    def write(self, text: str) -> None:
        """Forget it."""

    def writelines(self, lines: Iterable[str]) -> None:
        """Forget them."""

    def flush(self) -> None:
        """Nothing is kept."""
