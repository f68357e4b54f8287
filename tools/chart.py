"""The chart of measured speed, drawn from the table in the README: ``python -m tools.chart``."""

from __future__ import annotations

import html
import re
from pathlib import Path

__all__ = ["draw", "main", "measured"]

ROOT = Path(__file__).resolve().parent.parent
_ROW = re.compile(
    r"^\| (?P<what>[^|]+) \| (?P<ours>[\d.,]+)[^|]*µs[^|]*\| (?P<theirs>[\d.,]+)[^|]*µs[^|]*\|$", re.MULTILINE
)
WIDTH, BAR, GAP, LEFT = 720, 14, 12, 390
COLOURS = {"hubbub": "#2a78b5", "gevent": "#b0b0b0"}


def measured(readme: str) -> list[tuple[str, float, float]]:
    """The rows of the table: what was measured, and the microseconds of hubbub and of gevent."""
    return [(row["what"], _number(row["ours"]), _number(row["theirs"])) for row in _ROW.finditer(readme)]


def _number(text: str) -> float:
    return float(text.replace(",", ""))


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


def main() -> None:
    """Draw it anew."""
    (ROOT / "docs" / "speed.svg").write_text(draw(measured((ROOT / "README.md").read_text())))


if __name__ == "__main__":
    main()
