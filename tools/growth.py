"""The plot of how costs grow with connections and greenlets, drawn from ``docs/growth.json``.

``python -m tools.growth`` draws it anew. With ``--servers FILE``, what ``./do bench-servers -- --json FILE realistic
realistic_1000 realistic_8000`` has written, and ``--rows FILE``, what ``./do bench -- --json FILE sleepers`` has, the
figures are taken from there first.
"""

from __future__ import annotations

import argparse
import html
import json
import math
from pathlib import Path
from typing import Any

__all__ = ["draw", "greenlets", "main", "requests"]

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "docs" / "growth.json"
COLOURS = {"hubbub": "#2a78b5", "gevent": "#8a8a8a", "uvicorn": "#c77d1e", "bjoern": "#4f9a57"}
PROGRAMS = {64: "realistic", 1_000: "realistic_1000", 8_000: "realistic_8000"}
WIDTH, HEIGHT, LEFT, TOP, BOTTOM, RIGHT = 360, 260, 48, 44, 40, 76


def requests(servers: dict[str, Any]) -> dict[str, Any]:
    """The panel of requests, of what bench-servers has written: microseconds by connections, for each server."""
    series: dict[str, dict[str, float]] = {}
    for connections, program in PROGRAMS.items():
        for name, result in servers[program].items():
            series.setdefault(name.split()[0], {})[str(connections)] = round(result["cpu"], 1)
    return {"title": "CPU time of a realistic request", "by": "connections", "series": series}


def greenlets(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The panel of greenlets, of what bench has written: microseconds to spawn, wake and end one of so many."""
    series: dict[str, dict[str, float]] = {"hubbub": {}, "gevent": {}}
    for row in sorted((row for row in rows if row["program"] == "sleepers"), key=lambda row: int(row["size"])):
        for name, points in series.items():
            if row[name] is not None:  # gevent's, where it could not be measured
                points.setdefault(str(row["size"]), round(row[name] * 1e6, 1))
    return {"title": "CPU time of a greenlet that sleeps", "by": "greenlets", "series": series}


def draw(panels: list[dict[str, Any]]) -> str:
    """An SVG with the panels side by side. The horizontal axes are logarithmic."""
    width = len(panels) * WIDTH
    parts = [_panel(panel, index * WIDTH) for index, panel in enumerate(panels)]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{HEIGHT}" viewBox="0 0 {width} {HEIGHT}" '
        'role="img" font-family="sans-serif" font-size="11">\n'
        "<title>CPU time by numbers of connections and of greenlets; lower is better</title>\n"
        f'<rect width="{width}" height="{HEIGHT}" fill="#ffffff"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _panel(panel: dict[str, Any], left: int) -> str:
    sizes = sorted({int(size) for points in panel["series"].values() for size in points})
    top = _round_up(max(value for points in panel["series"].values() for value in points.values()))
    first, last = math.log(sizes[0]), math.log(sizes[-1])
    right, bottom = left + WIDTH - RIGHT, HEIGHT - BOTTOM

    def x(size: int) -> float:
        return round(left + LEFT + (right - left - LEFT) * (math.log(size) - first) / (last - first), 1)

    def y(value: float) -> float:
        return round(bottom - (bottom - TOP) * value / top, 1)

    lines = [
        f'<text x="{left + LEFT}" y="18" font-size="13">{html.escape(panel["title"])}</text>',
        f'<text x="{left + LEFT - 6}" y="{TOP - 10}" text-anchor="end">µs</text>',
        f'<text x="{(left + LEFT + right) / 2}" y="{HEIGHT - 6}" text-anchor="middle">{panel["by"]}</text>',
    ]
    for mark in range(5):
        height = y(top * mark / 4)
        lines.append(f'<path d="M{left + LEFT} {height}H{right}" stroke="#dddddd"/>')
        lines.append(f'<text x="{left + LEFT - 6}" y="{height + 4}" text-anchor="end">{top * mark / 4:g}</text>')
    lines += [f'<text x="{x(size)}" y="{bottom + 16}" text-anchor="middle">{size:,}</text>' for size in sizes]
    for name, height in _labels(
        {name: y(list(points.values())[-1]) for name, points in panel["series"].items()}
    ).items():
        colour = COLOURS.get(name, "#000000")
        points = {int(size): value for size, value in panel["series"][name].items()}
        path = " ".join(f"{x(size)},{y(points[size])}" for size in sorted(points))
        lines.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        lines += [f'<circle cx="{x(size)}" cy="{y(value)}" r="3" fill="{colour}"/>' for size, value in points.items()]
        lines.append(f'<text x="{right + 8}" y="{height + 4}" fill="{colour}">{html.escape(name)}</text>')
    return "\n".join(lines)


def _labels(ends: dict[str, float]) -> dict[str, float]:
    """Where names stand: at the ends of their lines, but not upon one another."""
    placed: dict[str, float] = {}
    before = -math.inf
    for name, height in sorted(ends.items(), key=lambda end: end[1]):
        before = max(height, before + 13)
        placed[name] = before
    return placed


def _round_up(value: float) -> float:
    """The next number that four marks divide well."""
    step: float = 10.0 ** math.floor(math.log10(value)) * 0.4
    return math.ceil(value / step) * step


def main() -> None:
    """Take the figures, if any are given, and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--servers", type=Path, metavar="FILE")
    parser.add_argument("--rows", type=Path, metavar="FILE")
    given = parser.parse_args()
    panels = json.loads(DATA.read_text()) if DATA.exists() else [{}, {}]
    if given.servers:
        panels[0] = requests(json.loads(given.servers.read_text()))
    if given.rows:
        panels[1] = greenlets(json.loads(given.rows.read_text()))
    DATA.write_text(json.dumps(panels, indent=1) + "\n")
    DATA.with_suffix(".svg").write_text(draw(panels))


if __name__ == "__main__":
    main()
