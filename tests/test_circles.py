"""No module of a package imports, by way of others, itself: not inside of functions either."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Package


def imported(tree: ast.AST) -> Iterator[str]:
    """Every dotted name that the source imports when it runs: what only type checkers see is left out."""
    match tree:
        case ast.If(test=ast.Name("TYPE_CHECKING") | ast.Attribute(attr="TYPE_CHECKING")):
            for other in tree.orelse:
                yield from imported(other)
            return
        case ast.Import():
            yield from (alias.name for alias in tree.names)
        case ast.ImportFrom(module=str(module), level=0):
            yield from (f"{module}.{alias.name}" for alias in tree.names)
        case ast.Call(
            func=ast.Name("__import__" | "import_module") | ast.Attribute(attr="import_module"),
            args=[ast.Constant(str(module)), *_],
        ):
            yield module
    for node in ast.iter_child_nodes(tree):
        yield from imported(node)


def graph(sources: Mapping[str, str]) -> dict[str, set[str]]:
    """Which modules each module imports; ``sources`` has the text of all by name."""
    return {
        name: {
            owner for wanted in imported(ast.parse(source)) if (owner := owner_of(wanted, sources)) not in (name, "")
        }
        for name, source in sources.items()
    }


def owner_of(wanted: str, sources: Mapping[str, str]) -> str:
    """The module among ``sources`` that an import of ``wanted`` runs, or an empty string."""
    owner, rest = wanted, ""
    while owner and owner not in sources:
        owner, _, rest = owner.rpartition(".")
    package = any(name.startswith(f"{owner}.") for name in sources)
    if owner and rest and package and not re.search(rf"\b{rest}\b", sources[owner]):
        return ""  # the package does not know the name: it is that of a compiled module
    return owner


def circle(sources: Mapping[str, str]) -> str:
    """One circle of imports, as text, or an empty string."""
    try:
        TopologicalSorter(graph(sources)).prepare()
    except CycleError as error:
        return " imports ".join(reversed(error.args[1]))
    return ""


@pytest.mark.parametrize(
    "source",
    ["import p.b", "from p import b", "from p.b import x", "def f():\n    from p.b import x", "import_module('p.b')"],
)
def test_circle_is_found(source: str) -> None:
    """A module that comes back to itself is found however it is imported."""
    assert circle({"p": "", "p.a": source, "p.b": "import p.a"}) in (
        "p.a imports p.b imports p.a",
        "p.b imports p.a imports p.b",
    )


def test_package_itself_counts() -> None:
    """Who takes a name that the package re-exports imports all that it imports."""
    assert circle({"p": "from p.c import x", "p.c": "import p.a", "p.a": "from p import x"})


def test_compiled_module_is_no_circle() -> None:
    """A compiled module in a package is not the package."""
    assert not circle({"p": "import p.a", "p.a": "from p import _native"})


def test_what_only_type_checkers_see_is_no_circle() -> None:
    """Imports under TYPE_CHECKING are not made."""
    assert not circle({"p": "", "p.a": "if TYPE_CHECKING:\n    import p.b", "p.b": "import p.a"})


def test_packages(package: Package) -> None:
    """There is no circle among the modules of a package."""
    found = circle({name: path.read_text() for name, path in package.modules().items()})
    assert not found, found
