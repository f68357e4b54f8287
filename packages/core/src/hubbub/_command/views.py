"""What ``hubbub ps``, ``tree``, ``stacks`` and ``hubs`` show of a snapshot."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hubbub._command.text import duration, shortened, table

__all__ = ["hubs", "places", "processes", "stacks", "tree"]

Entry = Mapping[str, Any]


def _in_cycles(snapshot: Entry) -> dict[int, int]:
    """The number of the cycle of waits that a greenlet is in, by its ident."""
    return {ident: number for number, cycle in enumerate(snapshot["cycles"], 1) for ident in cycle}


def _place(info: Entry) -> str:
    if info["file"] is None:
        return "-"
    return f"{os.path.basename(info['file'])}:{info['line']} {info['function'].rpartition('.')[2]}"


def _state(info: Entry, cycles: Mapping[int, int]) -> str:
    number = cycles.get(info["ident"])
    return f"deadlock #{number}" if number is not None else info["state"]


def _names(snapshot: Entry) -> dict[int, str]:
    return {info["ident"]: info["name"] for info in snapshot["greenlets"]}


def _held_by(info: Entry, names: Mapping[int, str], most: int = 3) -> str:
    holders = [names.get(ident, "one that has ended") for ident in info["held_by"]]
    more = f" and {len(holders) - most} more" if len(holders) > most else ""
    return ", ".join(holders[:most]) + more


def _sorted(infos: Sequence[Entry], by: str) -> list[Entry]:
    keys = {
        "since": lambda info: -(info["seconds"] or 0.0),
        "age": lambda info: -(info["age"] or 0.0),
        "name": lambda info: info["name"],
        "state": lambda info: (info["state"], info["name"]),
    }
    return sorted(infos, key=keys[by])


def processes(snapshot: Entry, by: str = "since", limit: int | None = None) -> str:
    """A line for each greenlet and each task."""
    cycles, names = _in_cycles(snapshot), _names(snapshot)
    chosen = _sorted(snapshot["greenlets"], by)
    rows = [
        (
            info["name"],
            shortened(info["runs"], 32),
            _state(info, cycles),
            duration(info["age"]),
            duration(info["seconds"]),
            info["operation"] or "-",
            shortened(info["waits_for"], 48),
            _held_by(info, names) or "-",
            _place(info),
        )
        for info in chosen[:limit]
    ]
    parts = [
        summary(snapshot),
        table(("GREENLET", "RUNS", "STATE", "AGE", "SINCE", "WAITS IN", "FOR", "HELD BY", "AT"), rows),
        *deadlocks(snapshot),
    ]
    if limit is not None and len(chosen) > limit:
        parts.insert(2, f"... and {len(chosen) - limit} more\n")
    if snapshot["tasks"]:
        parts.append(_tasks(snapshot))
    return "\n".join(parts)


def places(snapshot: Entry) -> str:
    """A line for each place at which greenlets are, the most frequent first: a leak stands at the top."""
    groups: dict[tuple[str, str, str, str], list[Entry]] = {}
    for info in snapshot["greenlets"]:
        key = (info["runs"] or info["name"], info["state"], info["operation"] or "-", _place(info))
        groups.setdefault(key, []).append(info)
    rows = [
        (
            str(len(members)),
            *key,
            duration(max((info["age"] or 0.0 for info in members), default=0.0)),
            duration(max((info["seconds"] or 0.0 for info in members), default=0.0)),
        )
        for key, members in sorted(groups.items(), key=lambda item: -len(item[1]))
    ]
    headings = ("COUNT", "RUNS", "STATE", "WAITS IN", "AT", "OLDEST", "LONGEST WAIT")
    return "\n".join([summary(snapshot), table(headings, rows)])


def summary(snapshot: Entry) -> str:
    """The process in a line, and a line for each hub that is not in order."""
    counts: dict[str, int] = {}
    for info in snapshot["greenlets"]:
        counts[info["state"]] = counts.get(info["state"], 0) + 1
    counted = ", ".join(f"{number} {state}" for state, number in sorted(counts.items()))
    lines = [f"process {snapshot['pid']}, Python {snapshot['python']}: {counted or 'no greenlets'}"]
    lines += [_blocked(hub) for hub in snapshot["hubs"] if hub["state"] == "blocked"]
    return "\n".join(lines) + "\n"


def _blocked(hub: Entry) -> str:
    head = f"BLOCKED: {hub['name']} has not polled for {duration(hub['busy_seconds'])}: {hub['running']} runs"
    return "\n    ".join([f"{head} {hub['at'] or 'code of hubbub'}", *hub["stack"]])


def deadlocks(snapshot: Entry) -> Iterator[str]:
    """Each cycle of waits."""
    infos = {info["ident"]: info for info in snapshot["greenlets"]}
    for number, cycle in enumerate(snapshot["cycles"], 1):
        members = [infos[ident] for ident in cycle if ident in infos]
        names = _names(snapshot)
        lines = [f"DEADLOCK #{number}: {len(members)} greenlets wait for one another:"]
        for info in members:
            lines.append(
                f"    {info['name']} waits in {info['operation']} for {info['waits_for']}, "
                f"held by {_held_by(info, names)}, at {_place(info)}"
            )
        yield "\n".join(lines) + "\n"


def _tasks(snapshot: Entry) -> str:
    rows = [
        (task["name"], task["state"], shortened(" > ".join(task["waits_for"]), 60), shortened(_last(task), 60))
        for task in snapshot["tasks"]
    ]
    return table(("TASK", "STATE", "AWAITS", "AT"), rows)


def _last(entry: Entry) -> str:
    return entry["stack"][-1] if entry["stack"] else "-"


def hubs(snapshot: Entry) -> str:
    """A line for each hub."""
    rows = []
    for hub in snapshot["hubs"]:
        counts = hub["statistics"]
        rows.append(
            (
                hub["name"],
                hub["state"],
                duration(hub["busy_seconds"]),
                hub["running"] or "-",
                hub["loop"],
                *(str(counts[name]) for name in ("greenlets", "ready", "timers", "descriptors", "threads", "switches")),
                duration(counts["longest_turn"]),
            )
        )
    headings = ("HUB", "STATE", "BUSY", "RUNS", "LOOP", "GREENLETS", "READY", "TIMERS", "FDS", "THREADS", "SWITCHES")
    blocked = [_blocked(hub) + "\n" for hub in snapshot["hubs"] if hub["state"] == "blocked"]
    return "\n".join([table((*headings, "LONGEST TURN"), rows), *blocked])


def stacks(snapshot: Entry, pattern: str = "") -> str:
    """The stack of each greenlet and each task whose name or function has ``pattern`` in it."""
    cycles, names = _in_cycles(snapshot), _names(snapshot)
    blocks = [summary(snapshot)]
    for info in snapshot["greenlets"]:
        if pattern in info["name"] or pattern in (info["runs"] or ""):
            blocks.append("\n    ".join([_headline(info, cycles, names), *info["stack"]]) + "\n")
    for task in snapshot["tasks"]:
        if pattern in task["name"]:
            head = f"task {task['name']}: {task['state']} for {' > '.join(task['waits_for']) or 'nothing'}"
            blocks.append("\n    ".join([head, *task["stack"]]) + "\n")
    return "\n".join(blocks)


def _headline(info: Entry, cycles: Mapping[int, int], names: Mapping[int, str]) -> str:
    words = [f"{info['name']}: {_state(info, cycles)}"]
    if info["operation"] is not None:
        words.append(f"in {info['operation']} for {shortened(info['waits_for'], 80)}")
    if info["held_by"]:
        words.append(f"held by {_held_by(info, names)}")
    if info["seconds"] is not None:
        words.append(f"since {duration(info['seconds'])}")
    if info["file"] is not None:
        words.append(f"at {_place(info)}")
    return " ".join(words)


def tree(snapshot: Entry) -> str:
    """The greenlets below their hubs, task groups and spawners, and the tasks below their event loops."""
    cycles, names = _in_cycles(snapshot), _names(snapshot)
    infos = {info["ident"]: info for info in snapshot["greenlets"]}
    below: dict[Any, list[tuple[Any, str]]] = {}
    for info in snapshot["greenlets"]:
        above: Any = info["parent"] if info["parent"] in infos and info["parent"] != info["ident"] else info["hub"]
        if info["group"] is not None:
            node = (above, info["group"])
            if node not in below:
                below.setdefault(above, []).append((node, info["group"]))
                below[node] = []
            above = node
        below.setdefault(above, []).append((info["ident"], _headline(info, cycles, names)))
    roots = [(name, f"hub {name}") for name in dict.fromkeys(info["hub"] for info in snapshot["greenlets"])]
    event_loops = dict.fromkeys(task["event_loop"] for task in snapshot["tasks"])
    for loop in event_loops:
        roots.append((("loop", loop), f"event loop {loop}"))
        below["loop", loop] = [
            (("task", number), f"{task['name']}: {task['state']} {' > '.join(task['waits_for'])}")
            for number, task in enumerate(snapshot["tasks"])
            if task["event_loop"] == loop
        ]
    shown: set[Any] = set()
    parts = [summary(snapshot), *(_branches(roots, below, shown))]
    # Spawners whose places were taken by others may form a circle, which hangs from no hub.
    for ident in infos:
        if ident not in shown:
            parts += _branches([(ident, _headline(infos[ident], cycles, names))], below, shown)
    return "\n".join([*parts, "", *deadlocks(snapshot)])


def _branches(roots: Sequence[tuple[Any, str]], below: Mapping[Any, Any], shown: set[Any]) -> Iterator[str]:
    """Depth first, without recursion: chains of spawners can be long."""
    left = [(node, text, "", "") for node, text in reversed(roots)]
    while left:
        node, text, indent, twig = left.pop()
        if node in shown:
            continue
        shown.add(node)
        yield indent + twig + text
        inner = indent + {"": "", "├─ ": "│  ", "└─ ": "   "}[twig]
        children = below.get(node, [])
        for place, (child, line) in reversed(list(enumerate(children))):
            left.append((child, line, inner, "└─ " if place == len(children) - 1 else "├─ "))
