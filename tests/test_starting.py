"""Files that the interpreter reads at its start: ``.pth`` everywhere, ``.start`` from CPython 3.15 on (PEP 829)."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Package

# Puts a folder in the place of site-packages: site reads the files there as at the start of the interpreter.
READ = "import site, sys; site.addsitedir(sys.argv[1]); print('read')"
STAND_IN = "def start(): print('started')\n"


def put(package: Package, folder: Path, *endings: str) -> None:
    """Puts the files with these endings into a folder, and a stand-in for the module that they name."""
    for ending in endings:
        name = f"{package.import_name}{ending}"
        (folder / name).write_bytes((package.folder / name).read_bytes())
    (folder / f"{package.import_name}_start.py").write_text(STAND_IN)


def read(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Has an interpreter without site-packages of its own read the files in a folder."""
    return subprocess.run(
        [sys.executable, "-S", *options, "-c", READ, str(folder)],
        env=os.environ | {"HUBBUB_MONKEY": "", "HUBBUB_GEVENT": ""},
        capture_output=True,
        text=True,
        timeout=150,
        check=True,
    )


def test_pytest_does_not_warn(starting: Package) -> None:
    """The module says that pytest need not rewrite it; else pytest warns where a wheel is installed."""
    path = starting.folder / "src" / f"{starting.import_name}_start.py"
    assert "PYTEST_DONT_REWRITE" in (ast.get_docstring(ast.parse(path.read_text())) or "")


def test_both_files_start_once(starting: Package, tmp_path: Path) -> None:
    """With both files, as they are installed, the start runs once on every version."""
    put(starting, tmp_path, ".pth", ".start")
    done = read(tmp_path)
    assert done.stdout == "started\nread\n"
    assert done.stderr == ""


@pytest.mark.skipif(sys.version_info >= (3, 18), reason="import lines of .pth files are over")
def test_old_file_is_enough(starting: Package, tmp_path: Path) -> None:
    """The ``.pth`` file does it alone, as on versions that know no other."""
    put(starting, tmp_path, ".pth")
    assert read(tmp_path).stdout == "started\nread\n"


@pytest.mark.skipif(sys.version_info < (3, 15), reason="PEP 829 is of CPython 3.15")
def test_new_file_is_enough(starting: Package, tmp_path: Path) -> None:
    """The ``.start`` file does it alone, as on versions that take no import lines any more."""
    put(starting, tmp_path, ".start")
    assert read(tmp_path).stdout == "started\nread\n"


@pytest.mark.skipif(sys.version_info < (3, 15), reason="PEP 829 is of CPython 3.15")
def test_nothing_deprecated(starting: Package, tmp_path: Path) -> None:
    """With both files the interpreter does not say that one of them is of an old kind."""
    put(starting, tmp_path, ".pth", ".start")
    assert "deprecated" not in read(tmp_path, "-v").stderr.partition("read")[0]


def test_files_agree(starting: Package) -> None:
    """Both files call the same function, which the package has."""
    module = f"{starting.import_name}_start"
    assert (starting.folder / f"{starting.import_name}.start").read_text() == f"{module}:start\n"
    assert (starting.folder / f"{starting.import_name}.pth").read_text() == f"import {module}; {module}.start()\n"
    assert (starting.source.parent / f"{module}.py").is_file()


def test_little_is_imported(starting: Package) -> None:
    """The function imports nothing of hubbub unless the environment asks for it."""
    module = f"{starting.import_name}_start"
    source = f"import {module}, sys; {module}.start(); print([name for name in sys.modules if 'hubbub' in name])"
    done = subprocess.run(
        [sys.executable, "-S", "-c", source],
        env=os.environ | {"PYTHONPATH": str(starting.source.parent), "HUBBUB_MONKEY": "0", "HUBBUB_GEVENT": " "},
        capture_output=True,
        text=True,
        timeout=150,
        check=True,
    )
    assert done.stdout == f"['{module}']\n"
