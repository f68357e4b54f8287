"""The tree as it was at another revision, to compare with."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

__all__ = ["against", "copy_of"]


def against(arguments: Sequence[str]) -> tuple[str | None, list[str]]:
    """The revision of ``--against REVISION``, or None, and the other arguments.

    :raises ValueError: the option is there without a revision.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--against", metavar="REVISION")
    try:
        given, others = parser.parse_known_args(arguments)
    except argparse.ArgumentError as error:
        raise ValueError("--against needs a revision: ./do bench -- --against v1.0") from error
    return given.against, others


def copy_of(revision: str, root: Path, folder: Path) -> Path:
    """A copy of the tree of the repository at ``root``, in a folder below ``folder`` that is named by the commit.

    It is there as a whole or not at all, whatever interrupts this, and git knows nothing of it.

    :raises ValueError: there is no such revision.
    """
    command = ["git", "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}"]
    found = subprocess.run(command, cwd=root, stdout=subprocess.PIPE, text=True, check=False)
    if found.returncode:
        raise ValueError(f"there is no revision {revision}")
    commit = found.stdout.split()[-1]
    copy = folder / commit[:12]
    if not copy.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            archive = Path(scratch, "tree.zip")
            subprocess.run(["git", "archive", "-o", archive, commit], cwd=root, check=True)
            shutil.unpack_archive(archive, Path(scratch, "tree"))
            Path(scratch, "tree").rename(copy)
    return copy
