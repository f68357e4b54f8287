"""Spans of OpenTelemetry and greenlets, with the SDK in memory."""

from __future__ import annotations

import pytest
from hubbub import Event, Greenlet, GreenletExit, TaskGroup, sleep, spawn
from hubbub.tracing import greenlet_spans
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode


@pytest.fixture
def exporter():
    return InMemorySpanExporter()


@pytest.fixture
def tracer(exporter):
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider.get_tracer(__name__)


def parents(exporter):
    """The name of the parent of each span that has ended, by name."""
    spans = {span.context.span_id: span for span in exporter.get_finished_spans()}
    return {span.name: spans[span.parent.span_id].name if span.parent else None for span in spans.values()}


def test_a_span_follows_spawns(hub, tracer, exporter):
    """A span that a greenlet begins is a child of the span it was spawned in, though others run in between."""

    def works(name):
        sleep(0)
        with tracer.start_as_current_span(name):
            sleep(0)

    with tracer.start_as_current_span("request 1"):
        first = spawn(works, "query 1")
    with tracer.start_as_current_span("request 2"), TaskGroup() as group:
        group.spawn(works, "query 2")
    first.join()
    assert parents(exporter) == {
        "request 1": None,
        "request 2": None,
        "query 1": "request 1",
        "query 2": "request 2",
    }


def test_each_greenlet_has_a_span(hub, tracer, exporter):
    """In the block each greenlet has a span of its own between its spawner's and those it begins; after it none has."""

    def works():
        with tracer.start_as_current_span("query"):
            sleep(0)

    with greenlet_spans(tracer):
        with tracer.start_as_current_span("request"):
            greenlet = spawn(works)
        greenlet.join()
    assert Greenlet.spawn_hook is None
    spawn(works).join()
    name = next(name for name in parents(exporter) if name.startswith("greenlet "))
    assert name.endswith("works")
    assert len(exporter.get_finished_spans()) == 4
    assert parents(exporter)[name] == "request"


@pytest.mark.parametrize("killed", [True, False])
def test_failures_are_recorded(killed, hub, tracer, exporter):
    """A failure is an exception of the greenlet's span, and its status; being killed is none."""
    hub.exception_stream = None

    def fails():
        Event().wait() if killed else int("x")

    with greenlet_spans(tracer):
        greenlet = spawn(fails)
        sleep(0)
        greenlet.kill(GreenletExit)
        sleep(0)  # its links are called
    (span,) = exporter.get_finished_spans()
    assert (span.status.status_code is StatusCode.ERROR) is not killed
    assert [event.attributes["exception.type"] for event in span.events] == ([] if killed else ["ValueError"])
