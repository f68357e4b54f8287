"""Each package installed alone, from a folder in the place of an index, and what its README says tried there."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tools import readmes, wheels
from tools.environment import Environment
from tools.packages import Package

__all__ = ["VERSION", "Attempt", "attempt", "fill", "follow", "pages", "table"]

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
    """How one package, or the pages that name the same packages, did."""

    installed: list[str]
    """What pip was told to install."""
    brought: int
    """Distributions that the environment has then, besides pip."""
    examples: int
    """Lines of the README or the pages that were run, all of which printed what it says there."""
    seconds: float
    """From an empty environment to the last example."""


def attempt(environment: Environment, package: Package, index: Path) -> Attempt:
    """Installs a package in an empty environment as its README says, and runs the examples of that.

    What does not work is raised, as by ``environment.run``.
    """
    readme = package.folder / "README.md"
    done = follow(environment, readmes.installs(readme.read_text()) or [package.name], [readme], index)
    version = package.settings["project"]["version"]
    environment.run("-c", VERSION, package.source.name, package.name, version, silent=True, log=False)
    return done


def follow(environment: Environment, wanted: list[str], texts: Iterable[Path], index: Path) -> Attempt:
    """Installs what is ``wanted`` in an empty environment, and runs examples. Raises like :func:`attempt`."""
    began = time.monotonic()
    environment.pip("--find-links", index, *wanted, what=f"{' '.join(wanted)}, from {index.name}")
    environment.run("-m", "pip", "check", silent=True, log=False)
    examples = 0
    for text in texts:
        said = environment.run(*readmes.run(text), silent=True, log=False)
        examples += int(said.splitlines()[-1].split()[1])
    seconds = time.monotonic() - began
    listed = environment.run("-m", "pip", "list", "--format=freeze", silent=True, log=False)
    brought = [line for line in listed.splitlines() if "==" in line and not line.startswith("pip==")]
    return Attempt(wanted, len(brought), examples, seconds)


def pages(docs: Path) -> dict[tuple[str, ...], list[Path]]:
    """The pages with examples, by what they have their reader install; that is hubbub[all] where they do not say."""
    found: dict[tuple[str, ...], list[Path]] = {}
    for path in sorted([*docs.glob("*.md"), *docs.glob("howto/*.md"), *docs.glob("explanation/*.md")]):
        text = path.read_text()
        if re.search("^>>> ", text, re.MULTILINE):
            found.setdefault(tuple(readmes.installs(text)) or ("hubbub[all]",), []).append(path)
    return found


def table(attempts: Iterable[Attempt], python: str) -> str:
    """The attempts as a table in Markdown."""
    rows = [f"| {' '.join(one.installed)} | {one.brought} | {one.examples} | {one.seconds:.0f} |" for one in attempts]
    head = [f"| pip install, on Python {python} | distributions | examples | seconds |", "|---|---|---|---|"]
    return "\n".join([*head, *rows])
