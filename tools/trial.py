"""A release tried before it is made: built in a copy of the tree, installed alone, its README and tests run there."""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from tools import readmes, wheels
from tools.alone import VERSION
from tools.environment import Environment
from tools.packages import ROOT, Package, installable, packages, split
from tools.releasing import Release, Repository
from tools.shell import Shell

__all__ = ["Trial"]


class Trial:
    """One release, built in a copy of the tree and tried in environments of its own."""

    def __init__(self, release: Release, repository: Repository, shell: Shell, folder: Path, builder: Path) -> None:
        """Copy the last commit, set version and changelog there, and make what builds.

        :param folder: a new one, for all that is made.
        :param builder: the folder of the environment that builds; it may be used again.
        """
        self.repository = repository
        self.shell = shell
        self.folder = folder
        tree = repository.export("HEAD", folder / "tree")
        self.release = Release(packages(tree)[release.package.short], release.version)
        self.release.apply(date.today())
        # Read again: the version is another one now.
        packages.cache_clear()
        self.packages = packages(tree)
        self.package = self.packages[release.package.short]
        self.root = tree
        self.builder = self._builder(builder)
        self._built: dict[tuple[str, str], Path] = {}

    def _builder(self, folder: Path) -> Environment:
        builder = Environment(self.shell, folder)
        needed = [word for package in self.packages.values() for word in package.building]
        ours, others = split(needed, self.root)
        builder.requirements(ROOT / "requirements" / "build.txt", ROOT / "requirements" / "release.txt")
        builder.others("build-system", *others)
        # From the copy of the tree, and before the others: its headers are compiled against.
        builder.pip("--no-build-isolation", "--force-reinstall", "--no-deps", *{package.folder for package in ours})
        return builder

    def wheel(self, package: Package, tag: str = "") -> Path:
        """The wheel of a package, from the tree or from a tag. Its sdist is beside it."""
        key = (package.short, tag)
        if key not in self._built:
            source = package
            if tag:
                place = self.folder / "tags" / tag
                exported = self.repository.export(tag, place, f"packages/{package.short}")
                source = packages(exported)[package.short]
            out = self.folder / "built" / (tag or package.short)
            self.shell.log(f"building {tag or package.name}")
            self._built[key] = wheels.build(self.builder, source, out)
        return self._built[key]

    def sibling(self, name: str, core: str) -> Path:
        """The wheel of one of our packages: the released one that is tried, the package's own, or the tree's."""
        (package,) = (package for package in self.packages.values() if package.name == name)
        if package.short == "core" and core:
            return self.wheel(package, f"core-v{core}")
        return self.wheel(package)

    def artefacts(self) -> list[Path]:
        """What is to be published: the sdist and the wheel."""
        wheel = self.wheel(self.package)
        folder = self.folder / "built" / self.package.short
        return [*folder.glob("*.tar.gz"), wheel]

    def check(self) -> None:
        """Have the artefacts looked at as the index will, and look for what must be in them."""
        sdist, wheel = self.artefacts()
        self.builder.run("-m", "twine", "check", "--strict", sdist, wheel, silent=True)
        with zipfile.ZipFile(wheel) as archive:
            names = archive.namelist()
        wanted = [f"licenses/{name}" for name in self.package.settings["project"]["license-files"]]
        if self.package.loops and self.package.native:
            wanted.append(f"sboms/{self.package.name}.cdx.json")
        for name in wanted:
            if not any(path.endswith(f".dist-info/{name}") for path in names):
                raise SystemExit(f"{wheel.name} has no {name}")

    def try_alone(self, core: str, options: Sequence[str]) -> None:
        """Install the wheel with what its README names, run the examples, then the tests of its sdist.

        :param core: the released version of core to try it with; empty for the tree's.
        :param options: for pytest.
        """
        name = f"with-core-{core or 'of-the-tree'}"
        readme = self.package.folder / "README.md"
        environment = Environment(self.shell, self.folder / name)
        self.install(environment, readmes.installs(readme.read_text()) or [self.package.name], core)
        environment.run("-m", "pip", "check", silent=True)
        environment.run("-c", VERSION, self.package.source.name, self.package.name, self.release.version, silent=True)
        said = environment.run(*readmes.run(readme), silent=True)
        self.shell.log(f"{name}: README, {said.splitlines()[-1]}")
        self.install(environment, [self.package.name, *self.package.test], core)
        tests = self._unpacked() / "tests"
        said = environment.run("-m", "pytest", "-q", "-c", ROOT / "pyproject.toml", tests, *options, silent=True)
        self.shell.log(f"{name}: tests, {said.strip().splitlines()[-1]}")

    def install(self, environment: Environment, requirements: Sequence[str], core: str) -> None:
        """Install requirements, ours from the wheels built here."""
        ours, others = installable(requirements, self.root)
        paths = []
        for name, extras in ours.items():
            path = str(self.sibling(name, core))
            paths.append(f"{path}[{','.join(sorted(extras))}]" if extras else path)
        environment.pip(*paths, *others)

    def _unpacked(self) -> Path:
        sdist, _ = self.artefacts()
        place = self.folder / "unpacked"
        if not place.exists():
            with tarfile.open(sdist) as archive:
                archive.extractall(place, filter="data")
        (folder,) = place.iterdir()
        return folder
