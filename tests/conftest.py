"""What the repository's tests share: the packages, found by their pyproject.toml."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

PYTHON = "Programming Language :: Python :: "
ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Package:
    """One folder of packages/."""

    folder: Path
    settings: dict[str, Any]

    @property
    def project(self) -> dict[str, Any]:
        """The [project] table of its pyproject.toml."""
        table: dict[str, Any] = self.settings["project"]
        return table

    @property
    def source(self) -> Path:
        """The folder that is installed."""
        (folder,) = (p for p in (self.folder / "src").iterdir() if (p / "py.typed").exists())
        return folder

    @property
    def import_name(self) -> str:
        """What an import statement says."""
        return self.source.name

    @property
    def pythons(self) -> list[str]:
        """The minor versions of Python that its classifiers name, in their order."""
        names = [word.removeprefix(PYTHON) for word in self.project["classifiers"] if word.startswith(PYTHON)]
        return [name for name in names if name.count(".") == 1]

    def modules(self) -> dict[str, Path]:
        """Its modules by dotted name."""
        found = {}
        for path in sorted(self.source.rglob("*.py")):
            parts = list(path.relative_to(self.source.parent).with_suffix("").parts)
            if parts[-1] == "__init__":
                parts.pop()
            found[".".join(parts)] = path
        return found


def _packages() -> list[Package]:
    return [
        Package(path.parent, tomllib.loads(path.read_text())) for path in sorted(ROOT.glob("packages/*/pyproject.toml"))
    ]


@pytest.fixture(scope="session")
def root() -> Path:
    """The top of the repository."""
    return ROOT


@pytest.fixture(scope="session")
def packages() -> list[Package]:
    """All packages."""
    return _packages()


@pytest.fixture(scope="session")
def versions(packages: list[Package]) -> list[str]:
    """The minor versions of Python that hubbub is for, the oldest first: core's classifiers."""
    (core,) = (package for package in packages if package.folder.name == "core")
    return core.pythons


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Runs a test that asks for ``package`` once per package, for ``module`` once per public module.

    One that asks for ``starting`` runs once per package that does something at the start of the interpreter, one that
    asks for ``native`` once per package that is compiled.
    """
    found = _packages()
    if "starting" in metafunc.fixturenames:
        starting = [package for package in found if (package.folder / f"{package.import_name}.pth").exists()]
        metafunc.parametrize("starting", starting, ids=[package.folder.name for package in starting])
    if "native" in metafunc.fixturenames:
        native = [package for package in found if (package.folder / "hatch_build.py").exists()]
        metafunc.parametrize("native", native, ids=[package.folder.name for package in native])
    if "package" in metafunc.fixturenames:
        metafunc.parametrize("package", found, ids=[package.folder.name for package in found])
    if "module" in metafunc.fixturenames:
        modules = {
            name: path
            for package in found
            for name, path in package.modules().items()
            if not any(part.startswith("_") for part in name.split("."))
        }
        metafunc.parametrize("module", modules.items(), ids=list(modules))
