"""The versions of Python stand in one place, core's classifiers; everything else derives from them or agrees."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Package

OR_LATER = re.compile(r"Python\s+(3\.\d+)\s+(?:or|and)\s+later")
RANGE = re.compile(r"Python\s+(3\.\d+)\s+to\s+(3\.\d+)")


def minor(version: str) -> int:
    """The minor number of a version."""
    return int(version.partition(".")[2])


def test_no_gap(versions: list[str]) -> None:
    """Core's classifiers name versions that follow one another, the oldest first."""
    assert [minor(version) for version in versions] == list(range(minor(versions[0]), minor(versions[-1]) + 1))


def test_packages_agree(package: Package, versions: list[str]) -> None:
    """Every package names the versions that core names, and takes none that is older."""
    assert package.pythons == versions
    assert package.project["requires-python"] == f">={versions[0]}"


def test_checkers_look_for_the_oldest(root: Path, versions: list[str]) -> None:
    """Linter and type checker take the code for that of the oldest version."""
    settings = tomllib.loads((root / "pyproject.toml").read_text())["tool"]
    assert settings["ruff"]["target-version"] == "py" + versions[0].replace(".", "")
    assert settings["mypy"]["python_version"] == versions[0]


def test_tools_derive(root: Path) -> None:
    """No tool has a version of its own."""
    for path in (root / "do", root / "noxfile.py", root / ".ci" / "run", *root.glob("tools/*.py")):
        assert re.findall(r"\b3\.1\d\b", path.read_text()) == [], path


def texts(root: Path) -> dict[Path, str]:
    """The documentation, by path."""
    found = [root / "README.md", *root.glob("docs/*.md"), *root.glob("packages/*/README.md")]
    return {path: path.read_text() for path in found}


def test_texts_agree(root: Path, versions: list[str]) -> None:
    """Where the documentation says which versions there are, it says what the classifiers say."""
    ranges = {path: RANGE.findall(text) for path, text in texts(root).items()}
    wrong = {path: found for path, found in ranges.items() if set(found) - {(versions[0], versions[-1])}}
    assert wrong == {}
    for name in ("README.md", "docs/quickstart.md", "docs/development.md"):
        assert ranges[root / name], f"{name} does not say for which versions hubbub is"


@pytest.mark.parametrize("name", ["README.md", "docs/quickstart.md"])
def test_oldest_in_texts(root: Path, name: str, versions: list[str]) -> None:
    """A text that tells what is needed at least names the oldest version."""
    assert set(OR_LATER.findall((root / name).read_text())) <= {versions[0]}


def test_nothing_of_cpython_alone_is_demanded(package: Package) -> None:
    """No module needs the C half of the standard queues, which other implementations have not, to be imported."""
    for path in package.modules().values():
        for node in ast.parse(path.read_text()).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            assert "_queue" not in names, path
