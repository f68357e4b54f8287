"""Links of a built site that lead nowhere within it: ``python -m tools.links FOLDER``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

__all__ = ["broken", "main"]


class _Page(HTMLParser):
    """Collects what a page links to or shows, and the places in it that a link may name."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.places: set[str] = set()
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in {"href", "src"} and value and tag != "base":
                self.targets.append(value)
            elif name in {"id", "name"} and value:
                self.places.add(value)


def broken(folder: Path) -> Iterator[str]:
    """A line for each link to a file, or a place in one, that is not there. Links to other sites are passed over."""
    pages = {path: _Page(path) for path in sorted(folder.rglob("*.html"))}
    for path, page in pages.items():
        for target in dict.fromkeys(page.targets):
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                continue
            there = (path.parent / unquote(parts.path)).resolve() if parts.path else path.resolve()
            place = unquote(parts.fragment)
            if not there.exists():
                yield f"{path.relative_to(folder)}: {target} is not there"
            elif place and there in pages and place not in pages[there].places:
                yield f"{path.relative_to(folder)}: {target} names no place in that page"


def main() -> None:
    """The command: status 1 if there are any."""
    lines = list(broken(Path(sys.argv[1]).resolve()))
    sys.exit("\n".join(lines) or None)


if __name__ == "__main__":
    main()
