"""Which tests of core run methods that hubbub-speed has a second time in C: those of whatever stands on a marked class.

The marks (``@twin`` and its kin, see ``hubbub/_twins.py``) are read from the source: nothing has to be importable.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

__all__ = ["rooms"]

_MARKS = {"twin", "mirrored"}


def rooms(core: Path) -> list[Path]:
    """The test files of core that name a class with a marked method, or one that is made of such a class.

    :param core: the folder of the package.
    """
    trees = [ast.parse(path.read_text()) for path in sorted((core / "src").rglob("*.py"))]
    classes = [node for tree in trees for node in tree.body if isinstance(node, ast.ClassDef)]
    concerned = {cls.name for cls in classes if any(map(_is_marked, cls.body))}
    concerned |= {cls.name for cls in classes if concerned & set(_names(cls))}
    tests = sorted((core / "tests").glob("test_*.py"))
    return [path for path in tests if concerned & set(_names(ast.parse(path.read_text())))]


def _is_marked(node: ast.stmt) -> bool:
    return isinstance(node, ast.FunctionDef) and any(
        isinstance(mark, ast.Call) and isinstance(mark.func, ast.Name) and mark.func.id in _MARKS
        for mark in node.decorator_list
    )


def _names(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.alias(name=name):
                yield name
