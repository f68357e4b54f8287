"""The wheels of native packages, built here and as a free-threaded build or another implementation would."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from packaging.requirements import Requirement

if TYPE_CHECKING:
    from conftest import Package

# Pretends before anything looks, then builds as pip's front end has it done.
BUILD = """
import sys, sysconfig
real = sysconfig.get_config_var
if {free_threaded}:
    sysconfig.get_config_var = lambda name: 1 if name == "Py_GIL_DISABLED" else real(name)
sys.implementation.name = {implementation!r}
from hatchling.builders.wheel import WheelBuilder
builder = WheelBuilder({folder!r})
print("needs", *sorted(builder.config.dependencies))
print("built", *builder.build(directory={out!r}, versions=["standard"]))
"""
IMPORT = """
import sys, sysconfig
real = sysconfig.get_config_var
sysconfig.get_config_var = lambda name: 1 if name == "Py_GIL_DISABLED" else real(name)
import {name}
"""


class Built:
    """A wheel and what was said."""

    def __init__(
        self,
        package: Package,
        out: Path,
        implementation: str = "cpython",
        free_threaded: bool = False,
        settings: dict[str, str] | None = None,
    ) -> None:
        program = BUILD.format(
            free_threaded=free_threaded, implementation=implementation, folder=str(package.folder), out=str(out)
        )
        command = [sys.executable, "-c", program]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=100,
            cwd=out,
            check=False,
            env=os.environ | (settings or {}),
        )
        assert done.returncode == 0, done.stderr
        self.said = done.stderr
        lines = dict(line.partition(" ")[::2] for line in done.stdout.splitlines() if line[:6] in ("needs ", "built "))
        self.needs = lines.get("needs", "")
        self.path = Path(lines["built"])
        self.interpreter, self.abi, self.platform = self.path.stem.split("-")[-3:]
        with zipfile.ZipFile(self.path) as archive:
            self.names = archive.namelist()
            bills = [name for name in self.names if ".dist-info/sboms/" in name]
            self.bills: list[dict[str, Any]] = [json.loads(archive.read(name)) for name in bills]

    @property
    def modules(self) -> list[str]:
        """The extension modules in it."""
        return [name for name in self.names if name.endswith((".so", ".pyd"))]


@pytest.mark.timeout(120)
def test_built_here(native: Package, tmp_path: Path) -> None:
    """A wheel has its modules. A loop is for the oldest version and all later ones, anything else for this one."""
    built = Built(native, tmp_path)
    this = f"cp{sys.version_info[0]}{sys.version_info[1]}"
    compiling = native.building[len(native.settings["build-system"]["requires"]) :]
    assert compiling
    assert all(Requirement(needed).name in built.needs for needed in compiling)
    assert built.platform != "any"
    if "hubbub.loops" in native.project["entry-points"]:
        assert (built.interpreter, built.abi) == ("cp" + native.pythons[0].replace(".", ""), "abi3")
        assert [".abi3." in name for name in built.modules] == [True]
        check_bill(built, native)
    else:
        assert (built.interpreter, built.abi) == (this, this)
        stubs = [f"{native.import_name}/{path.stem}." for path in native.source.glob("_*.pyi")]
        assert sorted(name[: name.index(".") + 1] for name in built.modules) == sorted(stubs)


def check_bill(built: Built, native: Package) -> None:
    """The wheel says in the place of PEP 770 which library is in it, and has the text of its licence."""
    library = native.short.removeprefix("loop-")
    (bill,) = built.bills
    (carried,) = bill["components"]
    assert bill["metadata"]["component"]["purl"] == f"pkg:pypi/{native.name}@{native.project['version']}"
    assert carried["purl"] == f"pkg:generic/{library}@{carried['version']}"
    assert re.fullmatch(r"[0-9]+(\.[0-9]+)+", carried["version"])
    assert any(name.endswith(f".dist-info/licenses/licenses/{library}.txt") for name in built.names)


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("implementation", "free_threaded"), [("cpython", True), ("graalpy", False)])
def test_nothing_to_build(native: Package, tmp_path: Path, implementation: str, free_threaded: bool) -> None:
    """Where nothing can be compiled, the build needs no compiler, says why the wheel is empty, and fits no other."""
    if free_threaded and sys.version_info >= (3, 14) and "hubbub.loops" in native.project["entry-points"]:
        pytest.skip("there is cffi, and so the loop")
    built = Built(native, tmp_path, implementation, free_threaded)
    assert built.modules == []
    assert not any(word in built.needs for word in ("cffi", "setuptools", "greenlet"))
    assert f"{native.import_name}/_support.py" in built.names
    assert ("free-threaded" if free_threaded else "graalpy") in built.said
    assert built.platform != "any"
    assert built.abi not in ("none", "abi3")


def test_import_says_why(native: Package) -> None:
    """What was installed with such a wheel says when it is imported why there is nothing."""
    if sys.version_info >= (3, 14) and "hubbub.loops" in native.project["entry-points"]:
        pytest.skip("there is cffi, and so the loop")
    done = subprocess.run(
        [sys.executable, "-c", IMPORT.format(name=native.import_name)],
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 1
    *_, last = done.stderr.strip().splitlines()
    assert last.startswith("hubbub.exceptions.PluginUnavailable: ")
    assert "free-threaded builds" in last


def test_installable_anywhere(package: Package) -> None:
    """No package needs cffi or greenlet on an implementation that brings its own."""
    for requirement in package.project["dependencies"]:
        if requirement.startswith(("cffi", "greenlet")):
            assert requirement.endswith("; implementation_name == 'cpython'")


def test_compilers_needs_are_asked_for_late(package: Package) -> None:
    """Nothing that only compiling takes is demanded before the build has decided that there is something to compile."""
    assert all(word.startswith(("hatchling", "packaging")) for word in package.settings["build-system"]["requires"])


# Notes what it is asked for and has the compiler do it.
COMPILER = """#!/bin/sh
echo "$*" >> {log}
exec {compiler} "$@"
"""


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("asked", "done"), [("-g -DX=-On", "-O2"), ("-g -O1", "-O1")])
def test_compiler_optimizes(native: Package, tmp_path: Path, asked: str, done: str) -> None:
    """CFLAGS without a word on that, as for debugging or for one's own processor, do not make a slow module."""
    log, compiler = tmp_path / "log", tmp_path / "compiler"
    compiler.write_text(COMPILER.format(log=log, compiler=shutil.which("cc")))
    compiler.chmod(0o755)
    Built(native, tmp_path, settings={"CFLAGS": asked, "CC": str(compiler)})
    calls = [line.split() for line in log.read_text().splitlines()]
    compiled = [[word for word in call if word.startswith("-O")] for call in calls if "-c" in call]
    assert compiled
    assert all(levels[-1:] == [done] for levels in compiled), compiled  # the last one counts


SHARED = ("dependencies", "finalize", "unsupported")
"""What every build hook has. Each sdist builds by itself, so each has its own file, and what is alike is kept alike."""


def functions(path: Path) -> dict[str, str]:
    """The functions of a module, methods among them, as their source says them."""
    nodes = ast.walk(ast.parse(path.read_text()))
    return {node.name: ast.unparse(node) for node in nodes if isinstance(node, ast.FunctionDef)}


def test_build_hooks_are_alike(packages: list[Package]) -> None:
    """A change of one package's build hook that the others have as well is made in all of them."""
    hooks = {package.short: functions(package.folder / "hatch_build.py") for package in packages if package.native}
    assert len(hooks) == 6
    for name in SHARED:
        assert len({hook[name] for hook in hooks.values()}) == 1, name
    assert hooks["loop-libev"] == hooks["loop-libuv"]
    accelerators = ("speed", "server-speed", "asyncio-speed", "net-speed")
    for name in ("put", "flags"):
        assert len({hooks[accelerator][name] for accelerator in accelerators}) == 1, name
