"""Tables and lengths of time as text; with colours if the package ``rich`` is installed and a terminal looks on."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from typing import Any

__all__ = ["duration", "shortened", "size", "table", "write"]

_STYLES = {
    "deadlock": "bold red",
    "blocked": "bold red",
    "running": "green",
    "ready": "cyan",
    "busy": "green",
    "new": "dim",
}


def write(text: str) -> None:
    """To the standard output."""
    sys.stdout.write(text if text.endswith("\n") else text + "\n")


def duration(seconds: float | None) -> str:
    """A length of time in at most six characters."""
    if seconds is None:
        return "-"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 100:
        return f"{seconds:.1f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h"


def size(count: float) -> str:
    """A number of bytes."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            break
        count /= 1024
    return f"{count:.0f} {unit}"


def shortened(text: str | None, width: int) -> str:
    """At most ``width`` characters; the end is kept, as it tells most of a path."""
    text = (text or "-").replace("\n", " ")
    return text if len(text) <= width else "…" + text[len(text) - width + 1 :]


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], terminal: bool | None = None) -> str:
    """Columns below their headings.

    :param terminal: whether a terminal shows it, which is as wide as it is, and may have colours. None: look.
    """
    if terminal if terminal is not None else sys.stdout.isatty():
        rich = _rich()
        if rich is not None:
            return _rich_table(rich, headings, rows)
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
    lines = [
        "  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip()
        for row in (headings, *rows)
    ]
    return "\n".join(lines) + "\n"


def _rich() -> Any:
    try:
        import rich.console
        import rich.table
        import rich.text
    except ImportError:
        return None  # plain text will do
    return rich


def _rich_table(rich: Any, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    made = rich.table.Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        made.add_column(heading, overflow="ellipsis", no_wrap=True)
    for row in rows:
        made.add_row(*(rich.text.Text(word, style=_STYLES.get(word.partition(" ")[0], "")) for word in row))
    console = rich.console.Console(width=shutil.get_terminal_size().columns, force_terminal=True)
    with console.capture() as captured:
        console.print(made)
    text: str = captured.get()
    return text
