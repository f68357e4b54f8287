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
    rows: dict[int, int] = {0: _HUB}
    names = {_HUB: "hub"}
    arrows: dict[int, int] = {}
    for number, (kind, began, ended, ident, label, by) in enumerate(found):
        if kind == "spawn" or (ident not in rows and kind != "error"):
            # The number of a greenlet that has ended is used again: by one that is spawned.
            rows[ident] = len(names) + _HUB
            names[rows[ident]] = label or f"greenlet {ident:#x}"
        at = {"pid": pid, "tid": rows.get(ident, _HUB), "ts": began * 1e6}
        if kind in ("run", "poll"):
            yield {**at, "ph": "X", "name": label or kind, "cat": kind, "dur": (ended - began) * 1e6}
            if kind == "run" and ident in arrows:
                yield {**at, "ph": "f", "bp": "e", "id": arrows.pop(ident), "name": "wake", "cat": "wake"}
        else:
            yield {**at, "ph": "i", "s": "t", "name": f"{kind}: {label}" if kind == "error" else kind, "cat": kind}
            if kind in ("wake", "spawn", "timer"):
                arrows[ident] = number + 1
                start = {**at, "tid": rows.get(by, _HUB), "ts": began * 1e6 - 0.001}
                yield {**start, "ph": "s", "id": number + 1, "name": "wake", "cat": "wake"}
    for row, name in names.items():
        yield {"ph": "M", "name": "thread_name", "pid": pid, "tid": row, "args": {"name": name}}
