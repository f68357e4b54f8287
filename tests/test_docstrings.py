"""The docstrings of the tests are the specification."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path


def promises(source: str) -> Iterator[tuple[str, str | None]]:
    """Every test of a file with its docstring."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test"):
            yield node.name, ast.get_docstring(node)


def test_finder() -> None:
    """Tests without a docstring are found, in classes too."""
    source = "def test_a():\n    'Says.'\nclass TestB:\n    def test_c(self): pass\ndef helper(): pass"
    assert dict(promises(source)) == {"test_a": "Says.", "test_c": None}


def test_every_test_says_its_promise(root: Path) -> None:
    """Every test has a docstring."""
    files = [*root.glob("packages/*/tests/**/test_*.py"), *root.glob("tests/test_*.py")]
    silent = [
        f"{path.relative_to(root)}: {name}"
        for path in files
        for name, docstring in promises(path.read_text())
        if not docstring
    ]
    assert not silent, "\n".join(silent)
