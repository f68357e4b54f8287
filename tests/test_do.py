"""The script that sets everything up, in a tree of its own with a stand-in for nox."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="do is a POSIX shell script")

TOOLS = ("sh", "dirname", "cat", "readlink", "id", "tr")
NOX = "import os, sys\nprint('nox', sys.argv[1:], 'in', os.getcwd())\n"


@pytest.fixture(scope="module")
def tree(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree with the script alone, under a path with spaces; nox.py stands for nox."""
    tree = tmp_path_factory.mktemp("with spaces")
    shutil.copy(root / "do", tree / "do")
    (tree / "nox.py").write_text(NOX)
    (tree / "requirements").mkdir()
    (tree / "requirements" / "nox.txt").write_text("# nothing\n")
    return tree


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for PATH with what a shell script needs, and neither Python, compiler nor apt-get."""
    folder = tmp_path_factory.mktemp("bin")
    for tool in TOOLS:
        path = shutil.which(tool)
        assert path
        (folder / tool).symlink_to(path)
    return folder


def run(tree: Path, *arguments: str, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs the script as CI does: without standard input."""
    settings = {"PYTHON": sys.executable, **environment}
    return subprocess.run(
        [str(tree / "do"), *arguments],
        cwd=cwd or tree,
        env=os.environ | settings,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


@pytest.fixture(scope="module")
def made(tree: Path, tools: Path) -> Path:
    """The same tree after a first run, which makes the environment and needs no system packages."""
    done = run(tree, PATH=str(tools), CC="true")
    assert done.returncode == 0, done.stderr
    assert "making .venv-nox" in done.stderr
    return tree


def test_default(made: Path, tools: Path) -> None:
    """Without arguments nox runs its default sessions, and a second run makes nothing anew."""
    done = run(made, PATH=str(tools), CC="true")
    assert done.stdout == f"nox [] in {made}\n"
    assert done.stderr == ""


def test_sessions(made: Path, tools: Path, tmp_path: Path) -> None:
    """Words name sessions, what follows -- is handed on, and the working directory does not matter."""
    done = run(made, "tests-all", "lint", "--", "net", "libuv", cwd=tmp_path, PATH=str(tools), CC="true")
    assert done.stdout == f"nox ['-s', 'tests-all', 'lint', '--', 'net', 'libuv'] in {made}\n"


def test_options(made: Path, tools: Path) -> None:
    """Options go to nox as they are."""
    assert run(made, "--list", PATH=str(tools), CC="true").stdout == f"nox ['--list'] in {made}\n"


def test_exit_status(made: Path, tools: Path) -> None:
    """The exit status is that of nox."""
    (made / "nox.py").write_text("raise SystemExit(7)\n")
    try:
        assert run(made, PATH=str(tools), CC="true").returncode == 7
    finally:
        (made / "nox.py").write_text(NOX)


def test_missing_libraries(made: Path, tools: Path) -> None:
    """Without compiler and libraries the commands that install them are printed, and the run goes on."""
    done = run(made, "demo", PATH=str(tools), CC="false")
    assert done.returncode == 0
    assert done.stdout == f"nox ['-s', 'demo'] in {made}\n"
    for word in ("apt-get install", "dnf install", "brew install", "libev-dev", "libuv1-dev", "gcc"):
        assert word in done.stderr


def test_no_python(tree: Path, tools: Path) -> None:
    """Without a fitting Python the script says what it needs and ends."""
    done = run(tree, PATH=str(tools), PYTHON="no-such-python")
    assert done.returncode == 1
    assert "Python 3.11 or later is needed" in done.stderr
    assert done.stdout == ""


def test_old_python(tree: Path, tools: Path, tmp_path: Path) -> None:
    """A Python that is too old is passed over."""
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    done = run(tree, PATH=f"{tmp_path}:{tools}", PYTHON="python3")
    assert done.returncode == 1
    assert "Python 3.11 or later is needed" in done.stderr
