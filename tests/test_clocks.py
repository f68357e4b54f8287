"""The clock of time limits."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tools.packages import packages


def taken_from_time(path: Path) -> Iterator[str]:
    """The names that a module imports from the module time."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "time":
            yield from (name.name for name in node.names)


def test_time_limits_go_on_where_time_is_frozen() -> None:
    """Tests that freeze time replace time.monotonic wherever it is. Packages take that of core, which is a copy."""
    modules = [path for package in packages().values() for path in package.folder.glob("src/**/*.py")]
    modules = [path for path in modules if path.name != "_originals.py"]  # which makes the copy
    assert len(modules) > 200
    assert [str(path) for path in modules if "monotonic" in taken_from_time(path)] == []
