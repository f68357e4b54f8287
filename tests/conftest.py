"""What the repository's tests share: the packages, found by their pyproject.toml."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tools import packages as found


class Package(found.Package):
    """One folder of packages/, with what is tested of it."""

    @property
    def project(self) -> dict[str, Any]:
        """The [project] table of its pyproject.toml."""
        table: dict[str, Any] = self.settings["project"]
        return table

    @property
    def import_name(self) -> str:
        """What an import statement says."""
        return self.source.name

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
    return [Package(package.folder, package.settings) for package in found.packages().values()]


@pytest.fixture(scope="session")
def root() -> Path:
    """The top of the repository."""
    return ROOT


@pytest.fixture(scope="session")
def packages() -> list[Package]:
    """All packages."""
    return _packages()


@pytest.fixture(scope="session")
def versions() -> list[str]:
    """The minor versions of Python that hubbub is for, the oldest first."""
    return found.versions()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Runs a test that asks for ``package`` once per package, for ``module`` once per public module.

    One that asks for ``starting`` runs once per package that does something at the start of the interpreter, one that
    asks for ``native`` once per package that is compiled.
    """
    known = _packages()
    if "starting" in metafunc.fixturenames:
        starting = [package for package in known if (package.folder / f"{package.import_name}.pth").exists()]
        metafunc.parametrize("starting", starting, ids=[package.folder.name for package in starting])
    if "native" in metafunc.fixturenames:
        native = [package for package in known if (package.folder / "hatch_build.py").exists()]
        metafunc.parametrize("native", native, ids=[package.folder.name for package in native])
    if "package" in metafunc.fixturenames:
        metafunc.parametrize("package", known, ids=[package.folder.name for package in known])
    if "module" in metafunc.fixturenames:
        modules = {
            name: path
            for package in known
            for name, path in package.modules().items()
            if not any(part.startswith("_") for part in name.split("."))
        }
        metafunc.parametrize("module", modules.items(), ids=list(modules))
