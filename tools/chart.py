"""The README's table of measured speed, of the figures in ``docs/performance.json``, and the chart drawn from it."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from typing import Any

__all__ = ["PROGRAMS", "draw", "measured", "updated"]

_ROW = re.compile(
    r"^\| (?P<what>[^|]+) \| (?P<ours>[\d.,]+)[^|]*µs[^|]*\| (?P<theirs>[\d.,]+)[^|]*µs[^|]*\|$", re.MULTILINE
)
_FIGURE = re.compile(r"[\d.,]+(?: to [\d.,]+)? µs")
_WHERE = re.compile(r"^(CPU time per operation, )CPython [\d.]+(, .*, )\w+ \d{4};", re.MULTILINE)
PROGRAMS: Mapping[str, tuple[str, int | None]] = {
    "switch there and back between two greenlets over a socket": ("pingpong", None),
    "TCP echo of 100 connections, a message": ("tcp_echo", 100),
    "spawn and join": ("spawn_join", None),
    "a time limit that does not strike": ("timer_start_cancel", None),
    "WSGI request, keep-alive": ("http_realistic", 64),
    "TLS, bulk, a MiB": ("tls_bulk", None),
}
"""The rows of the table, and which program of benchmarks/ in which size measures each."""
WIDTH, BAR, GAP, LEFT = 720, 14, 12, 390
COLOURS = {"hubbub": "#2a78b5", "gevent": "#b0b0b0"}


def measured(readme: str) -> list[tuple[str, float, float]]:
    """The rows of the table: what was measured, and the microseconds of hubbub and of gevent."""
    return [(row["what"], _number(row["ours"]), _number(row["theirs"])) for row in _ROW.finditer(readme)]


def _number(text: str) -> float:
    return float(text.replace(",", ""))


def updated(readme: str, data: Mapping[str, Any]) -> str:
    """The README with the figures of its table, and of where and when they were measured.

    :param data: as ``docs/performance.json``; rows of the table that it lacks, or that gevent could not run, stay.
    """
    rows = (row for row in data["rows"] if row["gevent"] is not None)
    costs = {(row["program"], row["size"]): (row["hubbub"], row["gevent"]) for row in rows}

    def fill(found: re.Match[str]) -> str:
        program = PROGRAMS.get(found["what"])
        if program not in costs:
            return found[0]
        fresh = iter(costs[program])
        return _FIGURE.sub(lambda _: _shown(next(fresh) * 1e6), found[0])

    where = data["where"]
    return _ROW.sub(fill, _WHERE.sub(rf"\1CPython {where['python']}\g<2>{where['month']};", readme))


def _shown(microseconds: float) -> str:
    return f"{microseconds:.1f} µs" if microseconds < 100 else f"{microseconds:,.0f} µs"


def draw(rows: list[tuple[str, float, float]]) -> str:
    """An SVG: for each row two bars, in parts of the longer one, so that rows of all sizes can be seen."""
    lines = []
    y = 30
    for what, ours, theirs in rows:
        longest = max(ours, theirs)
        lines.append(f'<text x="{LEFT - 10}" y="{y + BAR + 4}" text-anchor="end">{html.escape(what)}</text>')
        for value, colour in zip((ours, theirs), COLOURS.values(), strict=True):
            length = round((WIDTH - LEFT - 80) * value / longest)
            lines.append(f'<rect x="{LEFT}" y="{y}" width="{length}" height="{BAR}" fill="{colour}"/>')
            lines.append(f'<text x="{LEFT + length + 6}" y="{y + BAR - 3}">{value:,g} µs</text>')
            y += BAR
        y += GAP
    key = "".join(
        f'<rect x="{LEFT + 90 * place}" y="8" width="12" height="12" fill="{colour}"/>'
        f'<text x="{LEFT + 90 * place + 18}" y="18">{name}</text>'
        for place, (name, colour) in enumerate(COLOURS.items())
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}" viewBox="0 0 {WIDTH} {y}" '
        'role="img" font-family="sans-serif" font-size="12">\n'
        "<title>CPU time per operation, hubbub and gevent; shorter is better</title>\n"
        f'<rect width="{WIDTH}" height="{y}" fill="#ffffff"/>\n' + "\n".join([key, *lines]) + "\n</svg>\n"
    )
