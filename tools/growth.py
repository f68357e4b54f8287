"""The plot of how costs grow with connections and greenlets, of the figures in ``docs/performance.json``."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["draw", "panels"]

COLOURS = {"hubbub": "#2a78b5", "gevent": "#8a8a8a", "uvicorn": "#c77d1e", "bjoern": "#4f9a57"}
PROGRAMS = {64: "realistic", 1_000: "realistic_1000", 8_000: "realistic_8000"}
WIDTH, HEIGHT, LEFT, TOP, BOTTOM, RIGHT = 360, 260, 48, 44, 40, 76


def panels(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What is to be drawn, of the figures: a panel for requests, one for greenlets."""
    return [_requests(data["servers"]), _greenlets(data["rows"])]


def _requests(servers: Mapping[str, Any]) -> dict[str, Any]:
    """Microseconds by connections, for each server that has a colour."""
    series: dict[str, dict[int, float]] = {}
    for connections, program in PROGRAMS.items():
        for name, result in servers[program].items():
            if (server := name.split()[0]) in COLOURS:
                series.setdefault(server, {})[connections] = result["cpu"]
    return {"title": "CPU time of a realistic request", "by": "connections", "series": series}


def _greenlets(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Microseconds to spawn, wake and end one of so many."""
    series: dict[str, dict[int, float]] = {"hubbub": {}, "gevent": {}}
    for row in sorted((row for row in rows if row["program"] == "sleepers"), key=lambda row: int(row["size"])):
        for name, points in series.items():
            if row[name] is not None:  # gevent's, where it could not be measured
                points[row["size"]] = row[name] * 1e6
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
    sizes = sorted({size for points in panel["series"].values() for size in points})
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
        points = panel["series"][name]
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
