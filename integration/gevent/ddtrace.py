# /// script
# dependencies = ["ddtrace>=2.10", "requests>=2.31"]
#
# [tool.hubbub]
# environment = { HUBBUB_GEVENT = "1", DD_INSTRUMENTATION_TELEMETRY_ENABLED = "0" }
# ///
"""ddtrace's integration with gevent: it is switched on, and spans go over from a greenlet to those that it spawns."""

from __future__ import annotations

import gevent.monkey

gevent.monkey.patch_all()

import logging

import ddtrace
from ddtrace import patch

messages: list[str] = []


class Collect(logging.Handler):
    """Keeps what ddtrace warns of."""

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        messages.append(record.getMessage())


logging.getLogger("ddtrace").addHandler(Collect(logging.WARNING))
patch(gevent=True)

import gevent
import gevent._imap
import gevent.pool

try:
    from ddtrace.trace import tracer
except ImportError:
    from ddtrace import tracer

troubles = [message for message in messages if "gevent" in message]
assert troubles == [], troubles
# It has put its own classes in the places that gevent has for them.
for owner in (gevent, gevent.greenlet):
    assert owner.Greenlet.__module__.startswith("ddtrace."), owner.Greenlet
for owner in (gevent.pool, gevent._imap):
    for name in ("IMap", "IMapUnordered"):
        assert getattr(owner, name).__module__.startswith("ddtrace."), (owner, name)
assert gevent.pool.Group.greenlet_class.__module__.startswith("ddtrace.")


def child(number: int) -> tuple[int, int | None]:
    """A span of its own; the trace that it belongs to, and its parent."""
    with tracer.trace(f"child-{number}") as span:
        gevent.sleep(0.01)
        return span.trace_id, span.parent_id


with tracer.trace("root") as root:
    pool = gevent.pool.Pool(3)
    found = [greenlet.get(timeout=20) for greenlet in [gevent.spawn(child, number) for number in range(3)]]
    found.append(gevent.spawn_later(0.001, child, 3).get(timeout=20))
    found += pool.map(child, range(4, 7))
    found += pool.imap(child, range(7, 10))
    found += pool.imap_unordered(child, range(10, 13))
    assert set(found) == {(root.trace_id, root.span_id)}, found
assert tracer.current_span() is None
tracer.shutdown()  # and there is no agent that it could send anything to
print(f"{len(found)} spans of greenlets below their spawner's; version {ddtrace.__version__}")
