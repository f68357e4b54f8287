"""Spans of OpenTelemetry for greenlets.

A greenlet starts with a copy of its spawner's context variables, where OpenTelemetry keeps the current span. So spans
that a greenlet begins are children of the span in which it was spawned, with nothing done for it. What is here adds a
span for each greenlet itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from greenlet import GreenletExit

from hubbub.greenlet import Greenlet

__all__ = ["greenlet_spans"]


@contextmanager
def greenlet_spans(tracer: Any) -> Iterator[None]:
    """While the block runs, each new greenlet gets a span, from its making to its end.

    The span is a child of the one in which the greenlet was made, and the current one in the greenlet. A failure is
    recorded as an exception of the span, and is its status. Needs the package ``opentelemetry-api``.

    :param tracer: an :class:`opentelemetry.trace.Tracer`.
    :raises ImportError: that package is not installed.
    """
    from opentelemetry import context, trace

    def begin(new: Greenlet[Any]) -> None:
        if former is not None:
            former(new)
        name = getattr(getattr(new, "_run", None), "__qualname__", type(new).__name__)
        span = tracer.start_span(f"greenlet {name}")
        own = new.gr_context
        if own is not None:
            own.run(context.attach, trace.set_span_in_context(span))

        def end(ended: Greenlet[Any]) -> None:
            error = ended.exception
            if error is not None and not isinstance(error, GreenletExit):
                span.record_exception(error)
                span.set_status(trace.Status(trace.StatusCode.ERROR, f"{type(error).__name__}: {error}"))
            span.end()

        new.rawlink(end)

    former = Greenlet.spawn_hook
    Greenlet.spawn_hook = staticmethod(begin)
    try:
        yield
    finally:
        if Greenlet.spawn_hook is begin:
            Greenlet.spawn_hook = staticmethod(former) if former is not None else None
