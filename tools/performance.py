"""The page of performance, the README's table and both plots, of what the benches have measured.

``python -m tools.performance --rows FILE --servers FILE`` takes what ``./do bench -- --json FILE`` and ``./do
bench-servers -- --json FILE`` have written into ``docs/performance.json``, where what is not measured anew stays as it
was, and makes all of it anew. Without files it only does the latter. ``./do figures`` measures the rows first.
"""

from __future__ import annotations

import argparse
import ast
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

from tools import chart, growth

__all__ = ["main", "merged", "page"]

ROOT = Path(__file__).resolve().parent.parent
BENCHMARKS = ROOT / "benchmarks"
DATA = ROOT / "docs" / "performance.json"
PAGE = ROOT / "docs" / "performance.md"
LATENCIES = "latency"
"""How the programs begin whose clients come at a rate of their own."""
_HEAD = """\
# Performance

What things cost beside gevent and others, in CPU time of the whole process, user and system. {where}

Each figure is the least of the runs that were made, each a process of its own, in turn with those of the others, so
that a machine that slows down or speeds up does so for all. The ratio says how many times as much the other costs;
where it is below 1, hubbub costs more, and it is **bold**. Ratios can be compared with those of another machine,
figures cannot: the tables may come of different machines. `./do bench` and `./do bench-servers` measure on yours;
`docs/performance.json` has these figures.

![CPU time by numbers of connections and of greenlets, hubbub beside others](growth.svg)
"""
_LIBRARY = """\
## Beside gevent

Microseconds (or bytes) an operation, on libev. The program of each row is a file of `benchmarks/`.

| program | what it does | hubbub | gevent | ratio |
|---|---|---|---|---|
"""
_REFERENCES = """\
Beside the echo server, microseconds a message: the same server in C (one thread, epoll), and as one writes it for other
libraries.

| connections | hubbub | {names} |
|---|---|{rule}
"""
_SERVERS = """\
## Servers

One process of each, asked by one client. Microseconds of CPU a request and how many of them the kernel used; response
times in milliseconds: half of the requests, 99 of 100 and, where clients come at a rate of their own, 999 of 1,000
had theirs by then.
"""


def merged(
    data: Mapping[str, Any], rows: Iterable[Mapping[str, Any]], servers: Mapping[str, Any], day: date
) -> dict[str, Any]:
    """The figures with those that were measured anew in their place, of hubbub's first loop.

    :param rows: of ``benchmarks/run.py``, in seconds or bytes per operation.
    :param servers: of ``benchmarks/servers/compare.py``.
    """
    fresh: dict[tuple[str, Any], dict[str, Any]] = {}
    for row in rows:
        fresh.setdefault(
            (row["program"], row["size"]),
            {
                "program": row["program"],
                "size": row["size"],
                "unit": row["unit"],
                "hubbub": _rounded(row["hubbub"]),
                "gevent": None if row["gevent"] is None else _rounded(row["gevent"]),
                "references": {name: _rounded(cost) for name, cost in row["references"].items()},
            },
        )
    known = {(row["program"], row["size"]): row for row in data.get("rows", ())} | fresh
    measured = {
        program: {name: {kind: _rounded(value) for kind, value in result.items()} for name, result in found.items()}
        for program, found in servers.items()
    }
    where = {"python": "{}.{}".format(*sys.version_info), "month": f"{day:%B %Y}"}
    return {
        "where": where if fresh or measured else data["where"],
        "rows": sorted(known.values(), key=lambda row: (row["program"], row["size"] or 0)),
        "servers": {**data.get("servers", {}), **measured},
    }


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


def page(data: Mapping[str, Any]) -> str:
    """The page, of the figures."""
    where = "CPython {python}, Debian 12, two virtual processors, {month}.".format(**data["where"])
    parts = [_HEAD.format(where=where), _LIBRARY + "\n".join(_library(data["rows"])) + "\n"]
    parts += [_references([row for row in data["rows"] if row["references"]]), _SERVERS]
    parts += [_server(program, found) for program, found in data["servers"].items()]
    return "\n".join(part for part in parts if part)


def _library(rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    for row in rows:
        name = f"`{row['program']}`" + ("" if row["size"] is None else f" {row['size']:,}")
        ours, theirs = row["hubbub"], row["gevent"]
        beside = ["failed", ""] if theirs is None else [_cost(row, theirs), f"{theirs / ours:.2f}"]
        if theirs is not None and ours > theirs:
            beside[1] = f"**{beside[1]}**"
        yield f"| {' | '.join((name, _what(row['program']), _cost(row, ours), *beside))} |"


def _cost(row: Mapping[str, Any], cost: float) -> str:
    return f"{cost:,.0f} B" if row["unit"] == "bytes" else _shown(cost * 1e6)


def _shown(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _what(program: str) -> str:
    """The first paragraph of a program's documentation, in a line."""
    written = ast.get_docstring(ast.parse((BENCHMARKS / f"{program}.py").read_text())) or ""
    return " ".join(written.partition("\n\n")[0].split()).replace("|", "\\|")


def _references(rows: list[Mapping[str, Any]]) -> str:
    if not rows:
        return ""
    names = list(dict.fromkeys(name for row in rows for name in row["references"]))
    lines = []
    for row in rows:
        others = (row["references"].get(name) for name in names)
        cells = [_shown(row["hubbub"] * 1e6), *("" if cost is None else _shown(cost * 1e6) for cost in others)]
        lines.append(f"| {row['size']:,} | {' | '.join(cells)} |")
    return _REFERENCES.format(names=" | ".join(names), rule="---|" * len(names)) + "\n".join(lines) + "\n"


def _server(program: str, found: Mapping[str, Mapping[str, float]]) -> str:
    rated = program.startswith(LATENCIES)
    with_memory = any(result["memory"] for result in found.values())
    head = ["server", "CPU", "kernel", "half", "99 %"] + ["99.9 %"] * rated + ["KiB each"] * with_memory
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for name, result in found.items():
        kinds = ["cpu", "kernel", "p50", "p99"] + ["p999"] * rated
        cells = [name, *(_shown(result[kind]) for kind in kinds)]
        cells += [_shown(result["memory"]) if result["memory"] else ""] * with_memory
        lines.append(f"| {' | '.join(cells)} |")
    return f"### {program}\n\n{_programs()[program]}\n\n" + "\n".join(lines) + "\n"


def _programs() -> dict[str, str]:
    """What each program of the comparison of servers is, as it says itself."""
    tree = ast.parse((BENCHMARKS / "servers" / "compare.py").read_text())
    (made,) = (
        node.value
        for node in tree.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == "PROGRAMS"
    )
    assert isinstance(made, ast.Dict)
    told = ((ast.literal_eval(key), value) for key, value in zip(made.keys, made.values, strict=True) if key)
    return {name: ast.literal_eval(value.elts[0]) for name, value in told if isinstance(value, ast.Tuple)}


def main() -> None:
    """Take the figures, if any are given, and make everything anew."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=Path, metavar="FILE")
    parser.add_argument("--servers", type=Path, metavar="FILE")
    given = parser.parse_args()
    rows = json.loads(given.rows.read_text()) if given.rows else []
    servers = json.loads(given.servers.read_text()) if given.servers else {}
    data = merged(json.loads(DATA.read_text()) if DATA.exists() else {}, rows, servers, date.today())
    DATA.write_text(json.dumps(data, indent=1) + "\n")
    PAGE.write_text(page(data))
    PAGE.with_name("growth.svg").write_text(growth.draw(growth.panels(data)))
    readme = ROOT / "README.md"
    readme.write_text(chart.updated(readme.read_text(), data))
    PAGE.with_name("speed.svg").write_text(chart.draw(chart.measured(readme.read_text())))


if __name__ == "__main__":
    main()
