"""Checks of types beside mypy's over the sources: which public names lack types, and what checkers find in examples."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tools.environment import Environment
from tools.packages import Package

__all__ = ["differences", "expected", "found", "importable", "lay_out", "untyped", "verify"]

_FOUND = re.compile(r"([\w.-]+\.py):(\d+):(?:\d+ -)? error")


def importable(package: Package) -> list[str]:
    """The names of the packages that it installs, modules left out."""
    return sorted(path.parent.name for path in package.folder.glob("src/*/__init__.py"))


def lay_out(packages: Iterable[Package], folder: Path) -> None:
    """Links the packages side by side in ``folder``: pyright does not verify what is installed as editable."""
    for package in packages:
        for name in importable(package):
            (folder / name).symlink_to(package.folder / "src" / name, target_is_directory=True)


def verify(environment: Environment, name: str, folder: Path) -> list[str]:
    """What pyright misses in the types of the package ``name``; see :func:`lay_out` for ``folder``."""
    output = environment.run(
        *("-m", "pyright", "--pythonpath", environment.python, "--outputjson"),
        *("--verifytypes", name, "--ignoreexternal"),
        env={"PYTHONPATH": str(folder)},
        silent=True,
        success_codes=[0, 1],
    )
    return untyped(json.loads(output))


def untyped(report: dict[str, Any]) -> list[str]:
    """What a report of ``pyright --verifytypes --outputjson`` finds missing, a line each."""
    found = [diagnostic["message"] for diagnostic in report["generalDiagnostics"]]
    completeness = report.get("typeCompleteness", {})
    symbols = [symbol for symbol in completeness.get("symbols", []) if symbol["isExported"]]
    if not found and not symbols:
        found.append("no public names were found")
    for symbol in symbols:
        if not symbol["isTypeKnown"]:
            reasons = {" ".join(diagnostic["message"].split()) for diagnostic in symbol["diagnostics"]}
            found.append(f"{symbol['name']}: {'; '.join(sorted(reasons)) or 'partially unknown'}")
    return found


# Examples -------------------------------------------------------------------------------------------------------------


def expected(source: str) -> set[int]:
    """The lines of an example that say that they are wrong."""
    return {number for number, line in enumerate(source.splitlines(), 1) if "  # wrong" in line}


def found(output: str, name: str) -> set[int]:
    """The lines of the file ``name`` in which a checker found errors, by its output (of mypy or pyright)."""
    return {int(line) for file, line in _FOUND.findall(output) if file == name}


def differences(checker: str, example: Path, output: str) -> list[str]:
    """Where ``checker`` and an example disagree, a line each."""
    wrong, errors = expected(example.read_text()), found(output, example.name)
    missed = [f"{example.name}:{line}: {checker} lets it pass" for line in sorted(wrong - errors)]
    return missed + [f"{example.name}:{line}: {checker} finds an error" for line in sorted(errors - wrong)]
