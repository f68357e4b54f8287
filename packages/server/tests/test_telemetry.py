"""Spans and measurements for OpenTelemetry."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hubbub
import pytest
from hubbub_server import Limits
from hubbub_server.telemetry import Telemetry
from served_process import APPLICATION, free_port, get

trace = pytest.importorskip("opentelemetry.trace")
sdk = pytest.importorskip("opentelemetry.sdk.trace")
export = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")
simple = pytest.importorskip("opentelemetry.sdk.trace.export")
sdk_metrics = pytest.importorskip("opentelemetry.sdk.metrics")
reading = pytest.importorskip("opentelemetry.sdk.metrics.export")

PARENT = b"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n"


class Told:
    """What was told."""

    def __init__(self) -> None:
        self.exporter = export.InMemorySpanExporter()
        self.spans = sdk.TracerProvider()
        self.spans.add_span_processor(simple.SimpleSpanProcessor(self.exporter))
        self.reader = reading.InMemoryMetricReader()
        self.metrics = sdk_metrics.MeterProvider(metric_readers=[self.reader])

    def finished(self, count: int = 1) -> list[Any]:
        """So many spans, once they have ended."""
        with hubbub.Timeout(5):
            while len(found := self.exporter.get_finished_spans()) < count:
                hubbub.sleep(0.001)
        return list(found)

    def points(self, name: str) -> list[Any]:
        """What was measured under a name."""
        data = self.reader.get_metrics_data()
        return [
            point
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        ]


@pytest.fixture
def told() -> Iterator[Told]:
    made = Told()
    yield made
    made.spans.shutdown()
    made.metrics.shutdown()


@pytest.fixture
def telling(serve: Any, told: Told) -> Any:
    """Start a server that tells."""

    def make(application: Any, **options: Any) -> Any:
        server = serve(application, **options)
        Telemetry(told.spans, told.metrics).watch(server)
        return server

    return make


def ok(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [b"ok"]


def test_span(telling: Any, told: Told, connect: Any) -> None:
    """A request is a span, a child of the client's, with the attributes of the conventions, and without the query."""
    client = connect(telling(ok))
    client.send(b"GET /path?secret=1 HTTP/1.1\r\nHost: x\r\nUser-Agent: me\r\n%b\r\n" % PARENT)
    client.response()
    (span,) = told.finished()
    assert span.name == "GET"
    assert span.kind is trace.SpanKind.SERVER
    assert f"{span.context.trace_id:x}" == "af7651916cd43dd8448eb211c80319c"
    assert f"{span.parent.span_id:x}" == "b7ad6b7169203331"
    assert dict(span.attributes) == {
        "http.request.method": "GET",
        "url.scheme": "http",
        "network.protocol.version": "1.1",
        "url.path": "/path",
        "client.address": "127.0.0.1",
        "server.address": "127.0.0.1",
        "user_agent.original": "me",
        "http.response.status_code": 200,
    }
    assert span.status.is_unset


def test_measurements(telling: Any, told: Told, connect: Any) -> None:
    """Durations are measured by method and status; while a request runs it counts as active, and then no more."""
    active: list[int] = []

    def application(environ: Any, start_response: Any) -> list[bytes]:
        active.extend(point.value for point in told.points("http.server.active_requests"))
        return ok(environ, start_response)

    client = connect(telling(application))
    for method in (b"GET", b"GET", b"BREW"):
        client.send(b"%b / HTTP/1.1\r\nHost: x\r\n\r\n" % method)
        client.response()
    told.finished(3)
    assert active[0] == 1
    points = told.points("http.server.request.duration")
    assert sorted((point.attributes["http.request.method"], point.count) for point in points) == [
        ("GET", 2),
        ("_OTHER", 1),
    ]
    assert {point.attributes["http.response.status_code"] for point in points} == {200}
    assert {point.value for point in told.points("http.server.active_requests")} == {0}


def test_context(telling: Any, told: Told, connect: Any) -> None:
    """The span is the current one of the greenlet that answers and of what it spawns, of two requests at a time each
    has its own, and between requests there is none."""
    seen: dict[str, list[Any]] = {}

    def application(environ: Any, start_response: Any) -> list[bytes]:
        name = environ["PATH_INFO"]
        seen[name] = [trace.get_current_span()]
        hubbub.sleep(0.02)
        seen[name].append(trace.get_current_span())
        seen[name].append(hubbub.spawn(trace.get_current_span).get())
        seen[name].append(environ["hubbub.span"])
        return ok(environ, start_response)

    server = telling(application)
    clients = [connect(server) for _ in range(2)]
    for client, path in zip(clients, (b"/a", b"/b"), strict=True):
        client.send(b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % path)
    for client in clients:
        client.response()
    spans = {span.attributes["url.path"]: span.context.span_id for span in told.finished(2)}
    for path, found in seen.items():
        assert {span.get_span_context().span_id for span in found} == {spans[path]}
    assert not trace.get_current_span().get_span_context().is_valid


@pytest.mark.parametrize(
    ("path", "status", "error"),
    [
        (b"/raise", 500, "builtins.ZeroDivisionError"),
        (b"/late", 503, "hubbub_server.http.errors.RequestTimeout"),
        (b"/part", 200, "builtins.ZeroDivisionError"),
        (b"/500", 500, "500"),
        (b"/404", 404, None),
    ],
)
def test_failures(telling: Any, told: Told, connect: Any, path: bytes, status: int, error: str | None) -> None:
    """A request that fails is an error with its type and the status that the client sees; a 404 is none."""

    def application(environ: Any, start_response: Any) -> Any:
        if environ["PATH_INFO"] == "/late":
            hubbub.sleep(60)
        if environ["PATH_INFO"] == "/part":
            start_response("200 OK", [])(b"part")
        if environ["PATH_INFO"] in ("/500", "/404"):
            start_response(f"{environ['PATH_INFO'][1:]} It Is", [])
            return [b"ok"]
        raise ZeroDivisionError("on purpose")

    client = connect(telling(application, limits=Limits(request_seconds=0.1)))
    client.send(b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % path)
    (span,) = told.finished()
    assert span.attributes["http.response.status_code"] == status
    assert span.attributes.get("error.type") == error
    assert (span.status.status_code is trace.StatusCode.ERROR) == (error is not None)
    assert [event.name for event in span.events] == (["exception"] if error and "." in error else [])


def test_streams(serve: Any, told: Told, http2: Any) -> None:
    """Requests of HTTP/2 are told of alike."""
    server = serve(ok, http2=True)
    Telemetry(told.spans, told.metrics).watch(server)
    peer = http2(server)
    peer.request(1)
    peer.answer(1)
    assert told.finished()[0].attributes["network.protocol.version"] == "2"


def test_websockets(telling: Any, told: Told, raw: Any) -> None:
    """A WebSocket is one span, from its opening to its end."""

    def application(environ: Any, start_response: Any) -> list[bytes]:
        assert trace.get_current_span() is environ["hubbub.span"]
        with environ["hubbub.websocket"]():
            pass
        return []

    raw(telling(application)).client.sock.close()
    (span,) = told.finished()
    assert span.attributes["http.response.status_code"] == 101


def test_off_is_free(serve: Any) -> None:
    """A server that is not watched has its own method, and the requests of its class go the usual way."""
    server = serve(ok)
    assert "serve_request" not in vars(server)


def test_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without opentelemetry-api it is said what to install."""
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(ImportError, match=r"hubbub-server\[telemetry\]"):
        Telemetry()


@pytest.mark.skipif(sys.platform == "win32", reason="signals and fork")
def test_command(start: Any, folder: Path) -> None:
    """--telemetry tells the providers that the application has set."""
    setting = (
        "\nfrom opentelemetry import trace\nfrom opentelemetry.sdk.trace import TracerProvider\n"
        "from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor\n"
        "import sys\nprovider = TracerProvider()\n"
        "provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter(out=sys.stderr)))\n"
        "trace.set_tracer_provider(provider)\n"
    )
    (folder / "site_app.py").write_text(APPLICATION + setting)
    port = free_port()
    process = start("site_app:app", "-b", f"127.0.0.1:{port}", "--telemetry", "--access-log", "none")
    get(port, "/seen")
    process.says('"url.path": "/seen"')
    process.signal(signal.SIGTERM)
    assert process.ends() == 0
