"""The Pythons of this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

__all__ = ["find", "version_of"]


def find(versions: Iterable[str]) -> tuple[list[str], list[str]]:
    """The Python that runs this, then one of each of the versions that the machine has.

    :param versions: minor ones, each as text.
    :returns: their paths, and the versions that the machine has not.
    """
    ours = "{}.{}".format(*sys.version_info)
    found, missing = [sys.executable], []
    for version in versions:
        if version == ours:
            continue
        path = next((path for path in _candidates(version) if version_of(path) == version), None)
        if path is None:
            missing.append(version)
        else:
            found.append(path)
    return found, missing


def version_of(path: str) -> str | None:
    """The minor version of the Python at ``path``; None if nothing runs there.

    pyenv puts names on PATH also for what it has not activated.
    """
    command = [path, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def _candidates(version: str) -> list[str]:
    """Where a Python of this version may be: on PATH, or among those that pyenv has built."""
    on_path = shutil.which(f"python{version}")
    pyenv = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser()
    built = sorted(str(path) for path in pyenv.glob(f"versions/{version}.*/bin/python"))
    return [on_path, *built] if on_path else built
