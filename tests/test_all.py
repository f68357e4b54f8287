"""``__all__`` against reality, both ways."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

FACADE = "hubbub_gevent"


def targets(node: ast.expr) -> Iterator[str]:
    """The names that an assignment to ``node`` binds."""
    if isinstance(node, ast.Name):
        yield node.id
    elif isinstance(node, ast.Starred):
        yield from targets(node.value)
    elif isinstance(node, ast.Tuple | ast.List):
        for element in node.elts:
            yield from targets(element)


def is_type_checking(node: ast.If) -> bool:
    """Whether a block is for type checkers only."""
    return ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}


def is_type_variable(node: ast.expr) -> bool:
    """Whether a value is a type variable, which its module has for annotations only."""
    return isinstance(node, ast.Call) and ast.unparse(node.func) in {"TypeVar", "ParamSpec", "TypeVarTuple"}


def bound(body: list[ast.stmt], with_imports: bool) -> Iterator[str]:
    """The names that the statements of a module bind when it is imported."""
    for node in body:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.name
            case ast.Assign() if not is_type_variable(node.value):
                for target in node.targets:
                    yield from targets(target)
            case ast.AnnAssign() if node.value:
                yield from targets(node.target)
            case ast.If():
                if not is_type_checking(node):
                    yield from bound(node.body, with_imports)
                yield from bound(node.orelse, with_imports)
            case ast.Try():
                blocks = [node.body, node.orelse, node.finalbody, *(handler.body for handler in node.handlers)]
                for block in blocks:
                    yield from bound(block, with_imports)
            case ast.With():
                yield from bound(node.body, with_imports)
            case ast.ImportFrom() if with_imports and node.module != "__future__":
                yield from (alias.asname or alias.name for alias in node.names)


def public(source: str, with_imports: bool) -> set[str]:
    """The public names of a module; of an ``__init__`` those that it imports too."""
    names = bound(ast.parse(source).body, with_imports)
    return {name for name in names if not name.startswith("_")}


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("def f(): pass\nclass C: pass\ndef _g(): pass", {"f", "C"}),
        ("a = b, _c = 1, 2\nd: int = 3\ne: int", {"a", "b", "d"}),
        ("import os\nfrom os import path", set()),
        ("if os.name == 'nt':\n    a = 1\nelse:\n    b = 1", {"a", "b"}),
        ("if TYPE_CHECKING:\n    a = 1", set()),
        ("T = TypeVar('T')", set()),
        ("try:\n    a = 1\nexcept OSError:\n    b = 1", {"a", "b"}),
    ],
)
def test_finder(source: str, names: set[str]) -> None:
    """The names a module defines are found wherever they are bound, and imports are not among them."""
    assert public(source, with_imports=False) == names


def test_listed_names_exist(module: tuple[str, Path]) -> None:
    """Every name in ``__all__`` exists, once."""
    name, _ = module
    loaded = importlib.import_module(name)
    listed = getattr(loaded, "__all__", [])
    assert [name for name in listed if not hasattr(loaded, name)] == []
    assert len(set(listed)) == len(listed)


def test_public_names_are_listed(module: tuple[str, Path]) -> None:
    """Every public name that a module defines is in ``__all__``; of a package, every name it re-exports.

    Not so the facade: there ``__all__`` is what gevent's module has, which its own tests see to.
    """
    name, path = module
    if name.partition(".")[0] == FACADE:
        return
    loaded = importlib.import_module(name)
    names = public(path.read_text(), with_imports=path.name == "__init__.py")
    if path.name != "__init__.py":
        names = {name for name in names if not isinstance(getattr(loaded, name, None), ModuleType)}  # optional imports
    here = {name for name in names if hasattr(loaded, name)}  # not what other platforms have
    assert here - set(getattr(loaded, "__all__", [])) == set()


def test_packages_only_re_export(module: tuple[str, Path]) -> None:
    """An ``__init__.py`` holds a docstring, imports, ``__all__``, second names of what it imports and its version."""
    _, path = module
    if path.name != "__init__.py":
        return
    docstring, *rest = ast.parse(path.read_text()).body
    assert isinstance(docstring, ast.Expr)
    for node in rest:
        imports = isinstance(node, ast.Import | ast.ImportFrom)
        listing = isinstance(node, ast.Assign | ast.AnnAssign) and set(bound([node], False)) <= {
            "__all__",
            "__version__",
        }
        alias = isinstance(node, ast.Assign) and isinstance(node.value, ast.Name)
        described = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        version = re.match(r"if not (typing\.)?TYPE_CHECKING:\n    __getattr__ = ", ast.unparse(node))
        assert imports or listing or alias or described or version, f"line {node.lineno}: {ast.unparse(node)}"
