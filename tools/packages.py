"""The packages of the repository, found by their pyproject.toml, and the versions of Python that they are for."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

__all__ = ["ROOT", "Choice", "Package", "choose", "closure", "installable", "packages", "split", "versions"]

ROOT = Path(__file__).resolve().parent.parent
_PYTHON = "Programming Language :: Python :: "


@dataclass(frozen=True, eq=False)
class Package:
    """One folder of packages/."""

    folder: Path
    settings: dict[str, Any]

    @property
    def short(self) -> str:
        """What a session's arguments call it: the name of its folder."""
        return self.folder.name

    @property
    def name(self) -> str:
        """The name of its distribution."""
        return canonicalize_name(self.settings["project"]["name"])

    @property
    def source(self) -> Path:
        """The folder of what is imported."""
        (folder,) = (path for path in (self.folder / "src").iterdir() if (path / "py.typed").exists())
        return folder

    @property
    def native(self) -> bool:
        """Whether building it takes a compiler."""
        return bool(self._hooks)

    @property
    def pythons(self) -> list[str]:
        """The minor versions of Python that its classifiers name, in their order."""
        classifiers: list[str] = self.settings["project"]["classifiers"]
        names = [word.removeprefix(_PYTHON) for word in classifiers if word.startswith(_PYTHON)]
        return [name for name in names if name.count(".") == 1]

    @property
    def loops(self) -> list[str]:
        """The names of the event loops it registers."""
        entry_points = self.settings["project"].get("entry-points", {})
        return list(entry_points.get("hubbub.loops", {}))

    @property
    def runtime(self) -> list[str]:
        """Its declared dependencies, without extras."""
        dependencies: list[str] = self.settings["project"].get("dependencies", [])
        return dependencies

    @property
    def test(self) -> list[str]:
        """What its tests need besides."""
        group: list[str] = self.settings.get("dependency-groups", {}).get("test", [])
        return group

    @property
    def building(self) -> list[str]:
        """What building it takes."""
        return [*self.settings["build-system"]["requires"], *self._hooks.get("custom", {}).get("compiling", [])]

    @property
    def use(self) -> list[str]:
        """What building it and using it, with all extras, takes."""
        extras = self.settings["project"].get("optional-dependencies", {})
        return [*self.building, *self.runtime, *(requirement for extra in extras.values() for requirement in extra)]

    @property
    def _hooks(self) -> dict[str, Any]:
        hooks: dict[str, Any] = self.settings["tool"]["hatch"]["build"]["targets"]["wheel"].get("hooks", {})
        return hooks

    def sources(self) -> list[Path]:
        """The files that an installation of it depends on: Python is read where it stands, C is compiled."""
        found = [self.folder / "pyproject.toml", *sorted(self.folder.glob("hubbub_*"))]
        if self.native:
            found += sorted(self.folder.glob("*.py"))
            kinds = {".c", ".h", ".py"}
            found += sorted(p for p in self.folder.glob("src/**/*") if p.suffix in kinds)
            for sibling in split(self.building, self.folder.parent.parent)[0]:
                found += sorted(sibling.folder.glob("src/**/*.h"))
        return found

    def compiled(self) -> dict[Path, int]:
        """The compiled modules beside its sources, of any Python, and when each was made: nanoseconds."""
        modules = (p for p in self.folder.glob("src/**/*") if p.suffix in {".so", ".pyd"})
        return {path: path.stat().st_mtime_ns for path in modules}


@cache
def packages(root: Path = ROOT) -> dict[str, Package]:
    """All packages by short name."""
    found = [Package(path.parent, tomllib.loads(path.read_text())) for path in root.glob("packages/*/pyproject.toml")]
    return {package.short: package for package in sorted(found, key=lambda package: package.short)}


def versions(root: Path = ROOT) -> list[str]:
    """The minor versions of Python that hubbub is for, the oldest first: core's classifiers say so, nothing else."""
    return packages(root)["core"].pythons


def split(requirements: Iterable[str], root: Path = ROOT) -> tuple[list[Package], list[str]]:
    """Parts requirements into packages of this repository and those of others."""
    siblings = {package.name: package for package in packages(root).values()}
    ours, others = [], []
    for requirement in requirements:
        sibling = siblings.get(canonicalize_name(Requirement(requirement).name))
        if sibling:
            ours.append(sibling)
        else:
            others.append(requirement)
    return ours, others


def closure(wanted: Sequence[Package], root: Path = ROOT) -> list[Package]:
    """The packages and all siblings that using and testing them takes."""
    found: list[Package] = []
    queue = list(wanted)
    while queue:
        package = queue.pop()
        if package not in found:
            found.append(package)
            needs = package.runtime + (package.test if package in wanted else [])
            queue += split(needs, root)[0]
    return found


def installable(requirements: Iterable[str], root: Path) -> tuple[dict[str, set[str]], list[str]]:
    """What installing requirements brings: packages of this repository with their extras, and requirements of others.

    pip looks for what is not given to it in an index, where the packages of this repository may be other ones.
    """
    siblings = {package.name: package for package in packages(root).values()}
    ours: dict[str, set[str]] = {}
    others: list[str] = []
    queue = list(requirements)
    while queue:
        requirement = Requirement(queue.pop(0))
        sibling = siblings.get(canonicalize_name(requirement.name))
        if sibling is None:
            others.append(str(requirement))
            continue
        if sibling.name not in ours:
            ours[sibling.name] = set()
            queue += [word for word in sibling.runtime if canonicalize_name(Requirement(word).name) in siblings]
        for extra in requirement.extras - ours[sibling.name]:
            ours[sibling.name].add(extra)
            extras = sibling.settings["project"].get("optional-dependencies", {})
            queue += [word for word in extras.get(extra, []) if canonicalize_name(Requirement(word).name) in siblings]
    return ours, list(dict.fromkeys(others))


@dataclass(frozen=True)
class Choice:
    """What the arguments of a session ask for."""

    packages: list[Package]
    loops: list[str]
    options: list[str]
    """All that follows the first option; the tool's own."""

    @property
    def everything(self) -> bool:
        """Whether nothing in particular was asked for."""
        return not self.packages and not self.loops

    @property
    def packages_or_all(self) -> list[Package]:
        """The packages that were named, or all."""
        return self.packages or list(packages().values())


def choose(words: Sequence[str], root: Path = ROOT) -> Choice:
    """Sorts a session's arguments: words are names of packages or loops, the rest is the tool's.

    :raises ValueError: a word that is neither.
    """
    known = packages(root)
    loops = [loop for package in known.values() for loop in package.loops]
    choice = Choice([], [], [])
    for place, word in enumerate(words):
        if word.startswith("-"):
            choice.options.extend(words[place:])
            break
        if word in known:
            choice.packages.append(known[word])
        elif word in loops:
            choice.loops.append(word)
        else:
            raise ValueError(f"{word!r} is neither a package ({', '.join(known)}) nor a loop ({', '.join(loops)})")
    return choice
