"""The entry points by which the packages find one another."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import Package


FOREIGN = {"pyinstaller40"}
"""Groups whose one name everybody registers."""


def declared(package: Package) -> list[EntryPoint]:
    """What the package's pyproject.toml registers."""
    return [
        EntryPoint(name, value, group)
        for group, members in package.project.get("entry-points", {}).items()
        for name, value in members.items()
    ]


def test_installed(package: Package) -> None:
    """Every entry point that a package declares is installed as declared."""
    for entry in declared(package):
        values = [found.value for found in entry_points(group=entry.group, name=entry.name)]
        assert values == [entry.value] or (entry.group in FOREIGN and entry.value in values), entry


def test_loads(package: Package) -> None:
    """Every entry point leads to an object."""
    for entry in declared(package):
        assert entry.load() is not None, entry


def test_each_name_once(packages: list[Package]) -> None:
    """No two packages register the same name in a group."""
    entries = [entry for package in packages for entry in declared(package)]
    keys = [(entry.group, entry.name) for entry in entries if entry.group not in FOREIGN]
    assert len(set(keys)) == len(keys)
