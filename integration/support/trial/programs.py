"""Programs of the system: where they are, and installing what brings them."""

from __future__ import annotations

import glob
import os
import shutil
import subprocess
from collections.abc import Iterable

__all__ = ["find_program", "install", "is_installed", "missing"]

# Where Debian puts servers, beside what is on PATH.
_PLACES = ("/usr/sbin", "/sbin", "/usr/lib/postgresql/*/bin", "/usr/lib/rabbitmq/bin", "/usr/lib/openssh")
# Servers that are installed are not to be started by Debian: every script starts one of its own.
_SETTINGS = {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}


def find_program(name: str) -> str | None:
    """The path of a program, or None."""
    folders = [place for pattern in _PLACES for place in sorted(glob.glob(pattern), reverse=True)]
    return shutil.which(name) or shutil.which(name, path=os.pathsep.join(folders))


def is_installed(package: str) -> bool:
    """Whether a package of Debian's is installed."""
    if shutil.which("dpkg-query") is None:
        return False
    query = ["dpkg-query", "--show", "--showformat=${db:Status-Status}", package]
    return subprocess.run(query, capture_output=True, text=True, check=False).stdout == "installed"


def missing(programs: Iterable[str], debian: Iterable[str]) -> list[str]:
    """Which programs are not there; where none are named, which packages."""
    programs = list(programs)
    if programs:
        return [name for name in programs if find_program(name) is None]
    return [name for name in debian if not is_installed(name)]


def install(packages: Iterable[str]) -> str:
    """Install packages of Debian's. Does nothing but say why where that is impossible.

    :returns: what went wrong; nothing if they are installed.
    """
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        return f"to install it as root: apt-get install {' '.join(packages)}"
    command = ["apt-get", "-q", "install", "-y", "--no-install-recommends", *packages]
    if _apt(command) == "":
        return ""
    _apt(["apt-get", "-q", "update"])
    return _apt(command)


def _apt(command: list[str]) -> str:
    done = subprocess.run(
        command,
        env=os.environ | _SETTINGS,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        return ""
    lines = [line for line in done.stdout.splitlines() if line.strip()]
    return lines[-1] if lines else f"{command[0]} ended with {done.returncode}"
