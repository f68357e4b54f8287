"""Each package installed alone, from a folder in the place of an index, and what its README says tried there."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tools import readmes, wheels
from tools.environment import Environment
from tools.packages import Package

__all__ = ["VERSION", "Attempt", "attempt", "fill", "table"]

VERSION = """
import importlib, importlib.metadata, sys
module, name, version = sys.argv[1:]
assert importlib.metadata.version(name) == version, importlib.metadata.version(name)
assert importlib.import_module(module).__version__ == version
"""
"""For a Python: whether a package that is installed is of a version, and says so."""


def fill(builder: Environment, packages: Iterable[Package], index: Path, scratch: Path) -> None:
    """Builds the sdists and wheels of packages into a new folder, from which pip installs by ``--find-links``."""
    shutil.rmtree(index, ignore_errors=True)
    index.mkdir(parents=True)
    for package in packages:
        out = scratch / package.short
        wheel = wheels.build(builder, package, out)
        for path in (*out.glob("*.tar.gz"), wheel):
            shutil.copy(path, index)


@dataclass(frozen=True)
class Attempt:
    """How one package did."""

    package: str
    installed: list[str]
    """What pip was told to install."""
    brought: int
    """Distributions that the environment has then, besides pip."""
    examples: int
    """Lines of the README that were run, all of which printed what it says."""
    seconds: float
    """From an empty environment to the last example."""


def attempt(environment: Environment, package: Package, index: Path) -> Attempt:
    """Installs a package in an empty environment as its README says, and runs the examples of that.

    What does not work is raised, as by ``environment.run``.
    """
    began = time.monotonic()
    readme = package.folder / "README.md"
    wanted = readmes.installs(readme.read_text()) or [package.name]
    environment.pip("--find-links", index, *wanted, what=f"{' '.join(wanted)}, from {index.name}")
    environment.run("-m", "pip", "check", silent=True, log=False)
    version = package.settings["project"]["version"]
    environment.run("-c", VERSION, package.source.name, package.name, version, silent=True, log=False)
    said = environment.run(*readmes.run(readme), silent=True, log=False)
    seconds = time.monotonic() - began
    listed = environment.run("-m", "pip", "list", "--format=freeze", silent=True, log=False)
    brought = [line for line in listed.splitlines() if "==" in line and not line.startswith("pip==")]
    return Attempt(package.name, wanted, len(brought), int(said.splitlines()[-1].split()[1]), seconds)


def table(attempts: Iterable[Attempt], python: str) -> str:
    """The attempts as a table in Markdown."""
    rows = [f"| {' '.join(one.installed)} | {one.brought} | {one.examples} | {one.seconds:.0f} |" for one in attempts]
    head = [f"| pip install, on Python {python} | distributions | README's examples | seconds |", "|---|---|---|---|"]
    return "\n".join([*head, *rows])
