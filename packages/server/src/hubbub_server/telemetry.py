"""OpenTelemetry: a span and measurements for each request, by the package ``opentelemetry-api``.

What becomes of them is for the program to say, by the SDK of OpenTelemetry or another; without one nothing does. Names
and attributes are those of OpenTelemetry's semantic conventions for HTTP servers. Of a target the path is told, and not
the query, in which secrets may be.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from hubbub import GreenletExit
from hubbub.lowlevel import monotonic

from hubbub_server.http.accesslog import as_text
from hubbub_server.http.errors import ClientDisconnected, RequestError, RequestTimeout

if TYPE_CHECKING:
    from hubbub_server.http.exchange import Exchange
    from hubbub_server.http.server import HTTPServer

__all__ = ["Telemetry"]

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY"})
"""Those that are told as they are. Any token may be a method, and a client could make up millions."""
_BOUNDS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
_MARK: Final = "hubbub.span"


class Telemetry:
    """Tells of the requests of servers.

    The context that the client sends (``traceparent``, or what propagators are set) is the parent of the span. The
    span is the current one in the greenlet that answers, and in what that spawns; it is ``environ["hubbub.span"]`` too.

    :param tracer_provider: makes the spans; None for the program's.
    :param meter_provider: takes the measurements ``http.server.request.duration`` and ``http.server.active_requests``;
        None for the program's.
    :raises ImportError: ``opentelemetry-api`` is not installed.
    """

    def __init__(self, tracer_provider: Any = None, meter_provider: Any = None) -> None:
        try:
            from opentelemetry import context, metrics, propagate, trace
        except ImportError as error:
            raise ImportError(
                "telemetry needs opentelemetry-api: pip install 'hubbub-server[telemetry]'", name=error.name
            ) from error
        self._context, self._propagate, self._trace = context, propagate, trace
        self._tracer = trace.get_tracer("hubbub_server", tracer_provider=tracer_provider)
        meter = metrics.get_meter("hubbub_server", meter_provider=meter_provider)
        self._durations = meter.create_histogram(
            "http.server.request.duration",
            "s",
            "Duration of HTTP server requests.",
            explicit_bucket_boundaries_advisory=_BOUNDS,
        )
        self._active = meter.create_up_down_counter(
            "http.server.active_requests", "{request}", "Number of active HTTP server requests."
        )

    def watch(self, server: HTTPServer) -> None:
        """Tell of all requests of a server, from the next on."""
        serve = server.serve_request

        def serve_request(exchange: Exchange) -> None:
            if _MARK in exchange.environ:  # a WebSocket: the server comes here a second time, with its object
                serve(exchange)
            else:
                self._serve(serve, exchange)

        server.serve_request = serve_request  # type: ignore[method-assign]  # a request without telemetry pays nothing
        server.only_calls = False

    def _serve(self, serve: Callable[[Exchange], None], exchange: Exchange) -> None:
        environ = exchange.environ
        common = _common(exchange)
        span = self._tracer.start_span(
            common["http.request.method"].replace("_OTHER", "HTTP"),
            self._propagate.extract(_fields(environ)),
            self._trace.SpanKind.SERVER,
            {**common, **_described(environ)},
        )
        environ[_MARK] = span
        token = self._context.attach(self._trace.set_span_in_context(span))
        self._active.add(1, common)
        began = monotonic()
        outcome: dict[str, Any] = {}
        try:
            serve(exchange)
            outcome = _outcome(exchange, None)
        except BaseException as error:
            outcome = _outcome(exchange, error)
            if not isinstance(error, (ClientDisconnected, RequestError)):
                span.record_exception(error)
            raise
        finally:
            self._durations.record(monotonic() - began, {**common, **outcome})
            self._active.add(-1, common)
            self._context.detach(token)
            span.set_attributes(outcome)
            if outcome.get("http.response.status_code", 0) >= 500 or "error.type" in outcome:
                span.set_status(self._trace.StatusCode.ERROR)
            span.end()


def _common(exchange: Exchange) -> dict[str, Any]:
    """What both spans and measurements are told by."""
    method = exchange.request.method
    return {
        "http.request.method": method if method in _METHODS else "_OTHER",
        "url.scheme": as_text(exchange.environ.get("wsgi.url_scheme")),
        "network.protocol.version": exchange.request.protocol.removeprefix("HTTP/").replace("2.0", "2"),
    }


def _described(environ: dict[str, Any]) -> dict[str, Any]:
    """What a span tells besides."""
    found = {
        "url.path": "PATH_INFO",
        "client.address": "REMOTE_ADDR",
        "server.address": "SERVER_NAME",
        "user_agent.original": "HTTP_USER_AGENT",
        "http.request.method_original": "REQUEST_METHOD",
        "hubbub.request_id": "hubbub.request_id",
    }
    if environ["REQUEST_METHOD"] in _METHODS:
        del found["http.request.method_original"]
    return {name: as_text(environ[key]) for name, key in found.items() if environ.get(key)}


def _fields(environ: dict[str, Any]) -> dict[str, str]:
    """The header fields, by the names that propagators look for."""
    return {key[5:].replace("_", "-").lower(): value for key, value in environ.items() if key.startswith("HTTP_")}


def _outcome(exchange: Exchange, error: BaseException | None) -> dict[str, Any]:
    """How a request has ended: what the client was sent, or will be, and what was wrong."""
    if error is None or isinstance(error, ClientDisconnected):
        status = 0 if exchange.head is None or not exchange.started else exchange.head.code
    elif exchange.started and exchange.head is not None:
        status = exchange.head.code
    elif isinstance(error, RequestError):
        status = int(error.status[:3])
    else:
        status = 503 if isinstance(error, (RequestTimeout, GreenletExit)) else 500
    outcome: dict[str, Any] = {"http.response.status_code": status} if status else {}
    if error is not None and not isinstance(error, RequestError):
        outcome["error.type"] = f"{type(error).__module__}.{type(error).__qualname__}"
    elif status >= 500:
        outcome["error.type"] = str(status)
    return outcome
