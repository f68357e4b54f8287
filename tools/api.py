"""The difference between the public names of two versions of a package: ``./do api``.

It runs in an environment that has griffe, which reads the sources and runs none of them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Any

__all__ = ["differences", "main", "public_paths"]


def public_paths(module: Any) -> set[str]:
    """The full names of what a module of griffe says is public, members of classes included."""
    found = set()
    for name, member in module.members.items():
        # What an alias stands for may be of a package that is not here.
        if not member.is_public or name == "__getattr__":
            continue
        if member.is_alias or not member.is_module:
            found.add(f"{module.path}.{name}")
        if not member.is_alias and (member.is_module or member.is_class):
            found |= public_paths(member)
    return found


def differences(old: Iterable[str], new: Iterable[str]) -> list[str]:
    """A line for each name that came or went."""
    old, new = set(old), set(new)
    return [*(f"- {name}" for name in sorted(old - new)), *(f"+ {name}" for name in sorted(new - old))]


def main() -> None:
    """Compare two folders of sources."""
    griffe = import_module("griffe")  # only the session's environment has it
    parser = argparse.ArgumentParser(description="Status 1: something breaks who used the old version.")
    parser.add_argument("module", help="the name that is imported")
    parser.add_argument("old", type=Path, help="the folder that holds the old version")
    parser.add_argument("new", type=Path)
    chosen = parser.parse_args()
    old, new = (griffe.load(chosen.module, search_paths=[folder]) for folder in (chosen.old, chosen.new))
    for line in differences(public_paths(old), public_paths(new)):
        sys.stdout.write(f"{line}\n")
    breaking = [breakage.explain() for breakage in griffe.find_breaking_changes(old, new)]
    for text in breaking:
        sys.stdout.write(f"{text}\n")
    sys.exit(bool(breaking))


if __name__ == "__main__":
    main()
