"""Every package has the same skeleton."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hatchling.builders.wheel import WheelBuilder
from packaging.requirements import Requirement
from packaging.version import Version

if TYPE_CHECKING:
    from conftest import Package

FILES = ("pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE")


def core_of(packages: list[Package]) -> Package:
    """The package that all others depend on."""
    (core,) = (package for package in packages if package.project["name"] == "hubbub")
    return core


def test_files(package: Package) -> None:
    """Every package has the same files, tests among them, and native ones a build hook."""
    missing = [name for name in FILES if not (package.folder / name).is_file()]
    assert not missing
    assert (package.source / "__init__.py").is_file()
    assert list(package.folder.glob("tests/test_*.py"))
    hooks = package.settings["tool"]["hatch"]["build"]["targets"]["wheel"].get("hooks", {})
    assert (package.folder / "hatch_build.py").is_file() == ("custom" in hooks)


def test_names(package: Package) -> None:
    """The folder, the distribution and the import of a package have the same name."""
    name = package.project["name"]
    short = package.folder.name
    assert name == ("hubbub" if short == "core" else f"hubbub-{short}")
    assert package.import_name == name.replace("-", "_")


def test_licence(package: Package, root: Path) -> None:
    """Every package carries the licence of the repository, and those of the libraries that its wheel brings along."""
    assert (package.folder / "LICENSE").read_text() == (root / "LICENSE").read_text()
    others = [path.relative_to(package.folder).as_posix() for path in package.folder.glob("licenses/*")]
    assert package.project["license"].split(" AND ")[0] == "MIT"
    assert (package.project["license"] != "MIT") == bool(others)
    assert package.project["license-files"] == ["LICENSE", *others]


def test_version(package: Package) -> None:
    """The version is static: a release says it, no tool guesses it."""
    assert "dynamic" not in package.project
    assert str(Version(package.project["version"])) == package.project["version"]


def test_siblings_are_ranged(package: Package, packages: list[Package]) -> None:
    """A dependency on a package of this repository takes its present version and has both bounds."""
    versions = {other.project["name"]: Version(other.project["version"]) for other in packages}
    extras = package.project.get("optional-dependencies", {})
    declared = [*package.project["dependencies"], *(word for extra in extras.values() for word in extra)]
    for requirement in map(Requirement, declared):
        if requirement.name in versions and requirement.name != package.project["name"]:
            assert {bound.operator for bound in requirement.specifier} == {">=", "<"}, requirement
            assert versions[requirement.name] in requirement.specifier, requirement


def test_extras_of_core(packages: list[Package]) -> None:
    """Every package that a program may want at run time is an extra of core, and ``all`` has each of them; two
    are for people who look at a program."""
    core = core_of(packages)
    extras = core.project["optional-dependencies"]
    assert set(extras) == {
        "libev",
        "libuv",
        "net",
        "dns",
        "server",
        "monkey",
        "speed",
        "server-speed",
        "asyncio",
        "asyncio-speed",
        "net-speed",
        "opentelemetry",
        "rich",
        "all",
    }
    (everything,) = map(Requirement, extras["all"])
    assert everything.name == "hubbub"
    assert everything.extras == set(extras) - {"all", "opentelemetry", "rich"}


def shipped(package: Package) -> set[str]:
    """The paths in the wheel of a package, but for what its build hook adds."""
    builder = WheelBuilder(str(package.folder))
    return {file.distribution_path for file in builder.recurse_included_files()}


def test_typed(package: Package) -> None:
    """The wheel of every package carries py.typed and none of its tests; beside its folder at most how it starts."""
    found = shipped(package)
    assert f"{package.import_name}/py.typed" in found
    assert f"{package.import_name}/__init__.py" in found
    beside = {path for path in found if not path.startswith(f"{package.import_name}/")}
    start = {f"{package.import_name}{ending}" for ending in (".pth", ".start", "_start.py")}
    assert beside in (set(), start)


def test_source_distribution(package: Package) -> None:
    """The sdist of every package holds all that building and testing it takes."""
    included = set(package.settings["tool"]["hatch"]["build"]["targets"]["sdist"]["include"])
    wanted = {"/src", "/tests", *(f"/{name}" for name in FILES if name != "pyproject.toml")}
    wanted |= {f"/{name}" for name in ("hatch_build.py", "licenses") if (package.folder / name).exists()}
    assert wanted <= included
