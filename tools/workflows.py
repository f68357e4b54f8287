"""What the workflows of .github ask the tree for: ``python -m tools.workflows``.

``versions``, ``package NAME`` and ``tag TAG`` print lines of ``name=value`` for later steps; ``notes TAG`` prints what
the changelog says of a version.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from tools import changelogs
from tools.packages import ROOT, packages, versions
from tools.releasing import Release

__all__ = ["answer", "main"]


def answer(words: Sequence[str], root: Path = ROOT) -> str:
    """The answer to one question.

    :raises ValueError: it cannot be answered; the message says why.
    """
    match words:
        case ["versions"]:
            pythons = versions(root)
            return f"pythons={json.dumps(pythons)}\noldest={pythons[0]}"
        case ["package", name] if name in packages(root):
            return f"native={json.dumps(packages(root)[name].native)}"
        case ["package", name]:
            raise ValueError(f"{name!r} is no package; there are {', '.join(packages(root))}")
        case ["tag", tag]:
            release = _tagged(tag, root)
            return f"package={release.package.short}\nname={release.package.name}\nversion={release.version}"
        case ["notes", tag]:
            release = _tagged(tag, root)
            section = changelogs.parse(release.changelog.read_text()).find(release.version)
            return section.text if section else ""
    raise ValueError(f"{' '.join(words)!r} is no question: versions, package NAME, tag TAG or notes TAG")


def _tagged(tag: str, root: Path) -> Release:
    """:raises ValueError: the tag does not fit the tree: nothing may be published by it."""
    name, _, version = tag.rpartition("-v")
    package = packages(root).get(name)
    if package is None:
        raise ValueError(f"{tag!r} names no package; there are {', '.join(packages(root))}")
    release = Release(package, version)
    if package.settings["project"]["version"] != version:
        raise ValueError(f"{tag!r} is not the version of {package.name}, {package.settings['project']['version']}")
    if changelogs.parse(release.changelog.read_text()).find(version) is None:
        raise ValueError(f"the changelog of {package.name} has no {version}")
    return release


def main() -> None:
    """The command."""
    try:
        sys.stdout.write(f"{answer(sys.argv[1:])}\n")
    except ValueError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
