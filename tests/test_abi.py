"""The C table that core's ring loop drives is declared once, in a text that every native loop carries."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import Package


def headers(packages: list[Package]) -> dict[Path, str]:
    """The C headers of the packages that register a loop, by path."""
    loops = [package for package in packages if "hubbub.loops" in package.project.get("entry-points", {})]
    return {path: path.read_text() for package in loops for path in package.folder.rglob("*.h")}


def test_same_declarations(packages: list[Package]) -> None:
    """The cdef of the native loops is the same, letter by letter."""
    texts = {path: text for path, text in headers(packages).items() if path.name.endswith(".cdef.h")}
    assert len(texts) >= 2
    assert len(set(texts.values())) == 1, list(texts)


def test_same_shared_headers(packages: list[Package]) -> None:
    """Headers that have the same name in several native loops have the same text."""
    found = headers(packages)
    for path, text in found.items():
        for other, theirs in found.items():
            if other.name == path.name:
                assert text == theirs, f"{path} and {other}"
