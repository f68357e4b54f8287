"""The star: every package depends on core alone, through its public part; only the facade sees them all."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Package

CORE = "hubbub"
FACADE = "hubbub_gevent"


def imports(tree: ast.AST) -> Iterator[str]:
    """Every dotted name that the source imports, names taken from modules included."""
    for node in ast.walk(tree):
        match node:
            case ast.Import():
                yield from (alias.name for alias in node.names)
            case ast.ImportFrom(module=str(module), level=0):
                yield module
                yield from (f"{module}.{alias.name}" for alias in node.names)
            case ast.Call(
                func=ast.Name("__import__" | "import_module") | ast.Attribute(attr="import_module"),
                args=[ast.Constant(str(module)), *_],
            ):
                yield module


def private_attributes(tree: ast.AST, siblings: set[str]) -> Iterator[str]:
    """Every private attribute that is read from or set on a name imported from a sibling."""
    bound = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.partition(".")[0] in siblings:
                    bound[alias.asname or alias.name.partition(".")[0]] = alias.name
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] in siblings:
            bound |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            base = node.value
            while isinstance(base, ast.Attribute):
                base = base.value
            if isinstance(base, ast.Name) and base.id in bound:
                yield f"{bound[base.id]}: {ast.unparse(node)}"


def is_private(name: str) -> bool:
    """Whether a name is private by its underscore; dunder names are the language's."""
    return name.startswith("_") and not name.endswith("__")


def violations(source: str, own: str, siblings: set[str]) -> list[str]:
    """What a module of package ``own`` does against the star."""
    tree = ast.parse(source)
    others = siblings - {own}
    found = []
    for name in imports(tree):
        top = name.partition(".")[0]
        if top in others and top != CORE and own != FACADE:
            found.append(f"imports {name}")
        if top in others and any(map(is_private, name.split("."))):
            found.append(f"imports private {name}")
    found += [f"uses private {name}" for name in private_attributes(tree, others)]
    return found


SIBLINGS = {"hubbub", "hubbub_net", "hubbub_server", "hubbub_gevent"}


@pytest.mark.parametrize(
    ("own", "source"),
    [
        ("hubbub_server", "import hubbub_net.socket"),
        ("hubbub_server", "from hubbub_net import socket"),
        ("hubbub_server", "def f():\n    import hubbub_net"),
        ("hubbub_server", "import importlib\nimportlib.import_module('hubbub_net')"),
        ("hubbub", "import hubbub_net"),
        ("hubbub_net", "import hubbub_gevent"),
        ("hubbub_net", "import hubbub._state"),
        ("hubbub_net", "from hubbub import _state"),
        ("hubbub_net", "from hubbub.hub import Hub\nHub._current"),
        ("hubbub_net", "import hubbub\nhubbub.hub.get_hub()\nhubbub.hub._hubs = {}"),
        ("hubbub_gevent", "from hubbub_net._parts import x"),
    ],
)
def test_forbidden(own: str, source: str) -> None:
    """Another spoke, and anything private of a package, is found however it is imported."""
    assert violations(source, own, SIBLINGS)


@pytest.mark.parametrize(
    ("own", "source"),
    [
        ("hubbub", "import os\nfrom hubbub.hub import Hub\nfrom hubbub._parts import x\nHub._y"),
        ("hubbub_net", "from hubbub import lowlevel\nlowlevel.park()\nimport hubbub_net._parts"),
        ("hubbub_net", "import hubbub\nhubbub.__version__\nclass A:\n    def f(self): self._hubbub"),
        ("hubbub_gevent", "import hubbub_net.socket, hubbub_server\nimport hubbub"),
    ],
)
def test_allowed(own: str, source: str) -> None:
    """Core's public part, a package's own parts and the facade's imports are let through."""
    assert violations(source, own, SIBLINGS) == []


def test_imports(package: Package, packages: list[Package], root: Path) -> None:
    """No module of a package imports another package than core, nor anything private of it."""
    siblings = {other.import_name for other in packages}
    found = [
        f"{path.relative_to(root)}: {violation}"
        for path in package.modules().values()
        for violation in violations(path.read_text(), package.import_name, siblings)
    ]
    assert not found, "\n".join(found)


def test_declared(package: Package, packages: list[Package]) -> None:
    """The declared dependencies have the same shape as the imports."""
    siblings = {other.project["name"] for other in packages}
    declared = {requirement.partition(">")[0].strip() for requirement in package.project["dependencies"]}
    expected: set[str] = set() if package.import_name == CORE else {CORE}
    if package.import_name == FACADE:
        assert declared & siblings >= expected
    else:
        assert declared & siblings == expected
