"""What a release must fulfil before anything is built, and what it changes in the tree."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from tools import changelogs
from tools.packages import Package, packages

__all__ = ["Release", "Repository"]


class Repository:
    """A work tree of git."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def git(self, *words: str) -> str:
        """Run git and return what it prints.

        :raises subprocess.CalledProcessError: it failed.
        """
        done = subprocess.run(["git", *words], cwd=self.root, stdout=subprocess.PIPE, text=True, check=True)
        return done.stdout

    def released(self, package: Package) -> list[Version]:
        """The versions of a package that have a tag, the oldest first."""
        prefix = f"{package.short}-v"
        tags = self.git("tag", "--list", f"{prefix}*").split()
        return sorted(Version(tag.removeprefix(prefix)) for tag in tags)

    def changed(self) -> list[str]:
        """The files that differ from the last commit."""
        return self.git("status", "--porcelain").splitlines()

    def export(self, revision: str, folder: Path, *paths: str) -> Path:
        """Write the files of a revision into a folder, and return it."""
        folder.mkdir(parents=True)
        archive = subprocess.run(
            ["git", "archive", revision, *paths], cwd=self.root, stdout=subprocess.PIPE, check=True
        ).stdout
        subprocess.run(["tar", "-x", "-C", folder], input=archive, check=True)
        return folder


@dataclass(frozen=True)
class Release:
    """A version of a package that is to be published."""

    package: Package
    version: str

    @property
    def tag(self) -> str:
        """The name of its tag, such as ``net-v0.2.0``."""
        return f"{self.package.short}-v{self.version}"

    @property
    def changelog(self) -> Path:
        """The changelog of its package."""
        return self.package.folder / "CHANGELOG.md"

    def problems(self, repository: Repository) -> list[str]:
        """What speaks against it, all at once."""
        try:
            version = Version(self.version)
        except InvalidVersion:
            return [f"{self.version!r} is no version (PEP 440)"]
        found = [] if str(version) == self.version else [f"{self.version!r} is written {str(version)!r}"]
        released = repository.released(self.package)
        if released and version <= released[-1]:
            found.append(f"{self.package.name} {released[-1]} has been released: the next version is a later one")
        return found + self._of_changelog() + self._of_ranges(version, repository.root)

    def _of_changelog(self) -> list[str]:
        """A changelog that names the version already, with its day, is taken as it is."""
        try:
            changelog = changelogs.parse(self.changelog.read_text())
        except ValueError as error:
            return [f"{self.changelog.name}: {error}"]
        if changelog.sections[0].empty and not changelog.find(self.version):
            return [f"{self.changelog.name} says nothing of what is new"]
        return []

    def _of_ranges(self, version: Version, root: Path) -> list[str]:
        """Whoever depends on the package must take the version: the packages of one tree fit together."""
        return [
            f"{other.name} takes {requirement} only: try it with {version}, and widen its range in the same commit"
            for other in packages(root).values()
            for requirement in map(Requirement, other.use)
            if canonicalize_name(requirement.name) == self.package.name and requirement.specifier
            if not requirement.specifier.contains(version, prereleases=True)
        ]

    def apply(self, day: date) -> None:
        """Set the version and date the changelog, in the tree that the package is of."""
        settings = self.package.folder / "pyproject.toml"
        text, count = re.subn(
            r'^version = ".*"$', f'version = "{self.version}"', settings.read_text(), count=1, flags=re.MULTILINE
        )
        if not count:
            raise ValueError(f"{settings} has no line 'version = ...'")
        settings.write_text(text)
        log = self.changelog.read_text()
        if not changelogs.parse(log).find(self.version):
            self.changelog.write_text(changelogs.release(log, self.version, day))

    def cores(self, repository: Repository) -> list[Version]:
        """The oldest and the newest released version of core that the package takes; none for core itself."""
        core = packages(repository.root)["core"]
        ranges = [word.specifier for word in map(Requirement, self.package.runtime) if word.name == core.name]
        fitting = [
            version
            for version in repository.released(core)
            if ranges and all(specifier.contains(version, prereleases=True) for specifier in ranges)
        ]
        return sorted({fitting[0], fitting[-1]}) if fitting else []
