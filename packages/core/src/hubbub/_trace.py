"""Events of hubs in the trace format of Chrome (Google's "Trace Event Format"), which Perfetto reads."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

__all__ = ["as_trace"]

_HUB = 1
"""The row of a hub."""


def as_trace(hubs: Iterable[tuple[int, Sequence[Any]]]) -> dict[str, Any]:
    """A trace in which each hub is a process, and each greenlet a row of it.

    :param hubs: the thread of each hub, and its events: :class:`hubbub.timeline.Event` or the same as lists.
    """
    events: list[dict[str, Any]] = []
    for number, (thread, found) in enumerate(hubs, os.getpid()):
        name = f"hub of thread {thread:#x}"
        events.append({"ph": "M", "name": "process_name", "pid": number, "tid": _HUB, "args": {"name": name}})
        events += _of_hub(number, found)
    return {"traceEvents": events, "displayTimeUnit": "ms"}


def _of_hub(pid: int, found: Sequence[Any]) -> Iterator[dict[str, Any]]:
    rows: dict[tuple[int, str | None], int] = {(0, None): _HUB}
    names = {_HUB: "hub"}
    current: dict[int, int] = {0: _HUB}
    arrows: dict[int, int] = {}
    for number, (kind, began, ended, ident, label, by) in enumerate(found):
        if kind != "error":
            # A number is used again when its greenlet has ended; the new one has another label, or is spawned.
            key = (ident, label) if ident else (0, None)
            if kind == "spawn" or key not in rows:
                rows[key] = len(rows) + _HUB if kind != "spawn" else max(rows.values()) + 1
                names[rows[key]] = label or f"greenlet {ident:#x}"
            current[ident] = rows[key]
        at = {"pid": pid, "tid": current.get(ident, _HUB), "ts": began * 1e6}
        if kind in ("run", "poll"):
            yield {**at, "ph": "X", "name": label or kind, "cat": kind, "dur": (ended - began) * 1e6}
            if kind == "run" and ident in arrows:
                yield {**at, "ph": "f", "bp": "e", "id": arrows.pop(ident), "name": "wake", "cat": "wake"}
        else:
            yield {**at, "ph": "i", "s": "t", "name": f"{kind}: {label}" if kind == "error" else kind, "cat": kind}
            if kind in ("wake", "spawn", "timer"):
                arrows[ident] = number + 1
                start = {**at, "tid": current.get(by, _HUB), "ts": began * 1e6 - 0.001}
                yield {**start, "ph": "s", "id": number + 1, "name": "wake", "cat": "wake"}
    for row, name in names.items():
        yield {"ph": "M", "name": "thread_name", "pid": pid, "tid": row, "args": {"name": name}}
