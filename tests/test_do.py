"""The script that sets everything up, in a tree of its own with a stand-in for nox."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from shlex import quote

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="do is a POSIX shell script")

TOOLS = ("sh", "cat", "dirname", "id", "mkdir", "readlink", "tail", "tr", "wc")
VERSION = "python{}.{}".format(*sys.version_info)
NOX = "import os, sys\nprint('nox', sys.argv[1:], 'in', os.getcwd())\n"


@pytest.fixture(scope="module")
def tree(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree with the script alone, under a path with spaces; nox.py stands for nox."""
    tree = tmp_path_factory.mktemp("with spaces")
    shutil.copy(root / "do", tree / "do")
    (tree / "nox.py").write_text(NOX)
    (tree / "packages" / "core").mkdir(parents=True)
    shutil.copy(root / "packages" / "core" / "pyproject.toml", tree / "packages" / "core")
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
        timeout=150,
        check=False,
    )


@pytest.fixture(scope="module")
def made(tree: Path, tools: Path) -> Path:
    """The same tree after a first run, which makes the environment and needs no system packages."""
    done = run(tree, PATH=str(tools), CC="true")
    assert done.returncode == 0, done.stderr
    assert f"making .nox/nox-{VERSION}" in done.stderr
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


@pytest.mark.parametrize("words", [["lint"], ["workflows", "lint"], ["--list"], ["api", "--", "net"]])
def test_nothing_is_looked_for_that_the_job_does_not_need(made: Path, tools: Path, words: list[str]) -> None:
    """A job that compiles nothing says nothing of compilers and libraries."""
    done = run(made, *words, PATH=str(tools), CC="false")
    assert done.returncode == 0
    assert done.stderr == ""


def test_options_may_name_a_job_that_compiles(made: Path, tools: Path) -> None:
    """What nox is told by its own options is not understood here, and so may compile something."""
    assert "libev-dev" in run(made, "-s", "tests", PATH=str(tools), CC="false").stderr


def fake_system(folder: Path, apt: str, user: int) -> None:
    """Programs for PATH: an apt-get, and an id that says who the user is."""
    stand_in(folder, "apt-get", apt)
    stand_in(folder, "id", f"echo {user}")


@pytest.mark.parametrize(("user", "install", "runs"), [(0, "1", True), (0, "0", False), (1000, "1", False)])
def test_installing(made: Path, tools: Path, tmp_path: Path, user: int, install: str, runs: bool) -> None:
    """Only root installs, and only if it is not told otherwise; what apt-get prints goes to the log."""
    fake_system(tmp_path, f"echo much; echo ran >>{quote(str(tmp_path / 'ran'))}", user)
    done = run(made, "demo", PATH=f"{tmp_path}:{tools}", CC="false", HUBBUB_INSTALL=install)
    assert done.returncode == 0
    assert (tmp_path / "ran").exists() == runs
    assert ("do: installing" in done.stderr) == runs
    assert "much" not in done.stderr
    assert ("much" in (made / ".nox" / f"apt-{VERSION}.log").read_text()) == runs


def test_failing_apt(made: Path, tools: Path, tmp_path: Path) -> None:
    """What apt-get says when it fails is shown, and the run goes on with what there is."""
    fake_system(tmp_path, "echo no network; exit 100", 0)
    done = run(made, "demo", PATH=f"{tmp_path}:{tools}", CC="false")
    assert done.returncode == 0
    assert "no network" in done.stderr
    assert "do: apt-get failed" in done.stderr
    assert done.stdout == f"nox ['-s', 'demo'] in {made}\n"


def test_no_python(tree: Path, tools: Path, versions: list[str]) -> None:
    """Without a fitting Python the script says what it needs, what it has looked for, and ends."""
    done = run(tree, PATH=str(tools), PYTHON="no-such-python")
    assert done.returncode == 1
    names = " ".join(f"python{version}" for version in reversed(versions))
    assert f"Python {versions[0]} or later is needed, and none of $PYTHON, python3, {names} is one" in done.stderr
    assert done.stdout == ""


def stand_in(folder: Path, name: str, code: str = f'exec {quote(sys.executable)} "$@"') -> None:
    """Puts a program of this name into the folder: this interpreter, unless told otherwise."""
    program = folder / name
    program.write_text(f"#!/bin/sh\n{code}\n")
    program.chmod(0o755)


def test_every_version_is_found(made: Path, tools: Path, versions: list[str], tmp_path: Path) -> None:
    """Any one of the versions that core names is enough."""
    for version in versions:
        folder = tmp_path / version
        folder.mkdir()
        stand_in(folder, f"python{version}")
        done = run(made, PATH=f"{folder}:{tools}", CC="true", PYTHON="no-such-python")
        assert done.stdout == f"nox [] in {made}\n", f"{version}: {done.stderr}"


def test_newest_version_wins(made: Path, tools: Path, versions: list[str], tmp_path: Path) -> None:
    """Of several versions, and with no fitting python3, the newest is taken."""
    stand_in(tmp_path, "python3", "exit 1")
    for version in versions[:-1]:
        stand_in(tmp_path, f"python{version}", "exit 1")
    stand_in(tmp_path, f"python{versions[-1]}")
    done = run(made, PATH=f"{tmp_path}:{tools}", CC="true", PYTHON="no-such-python")
    assert done.stdout == f"nox [] in {made}\n", done.stderr


def test_chosen_version_wins(made: Path, tools: Path, versions: list[str], tmp_path: Path) -> None:
    """PYTHON goes before all that are found."""
    for name in ["python3", *(f"python{version}" for version in versions)]:
        stand_in(tmp_path, name, "echo taken >&2; exit 1")
    done = run(made, PATH=f"{tmp_path}:{tools}", CC="true")
    assert done.stdout == f"nox [] in {made}\n"
    assert "taken" not in done.stderr


def test_old_python(tree: Path, tools: Path, versions: list[str], tmp_path: Path) -> None:
    """A Python that is older than the oldest that core names is passed over."""
    oldest = versions[0]
    major, minor = map(int, oldest.split("."))
    pretend = "import sys; sys.version_info = ({}, {}, 0); sys.argv = ['-c']; exec(sys.stdin.read())"
    for name, wanted in ((f"python{oldest}", (major, minor - 1)), ("python3", (major, minor - 1))):
        stand_in(tmp_path, name, f'printf %s "$2" | {sys.executable} -c "{pretend.format(*wanted)}"')
    done = run(tree, PATH=f"{tmp_path}:{tools}", PYTHON="python3")
    assert done.returncode == 1
    assert f"Python {oldest} or later is needed" in done.stderr


REAL = f'exec {quote(sys.executable)} "$@"'


def pretender(folder: Path, minor: int, made: str = REAL) -> str:
    """A Python that says it is of another version, and makes environments that are nothing but the program ``made``."""
    says = f"import sys\nsys.version_info = (3, {minor}, 0)\nsys.argv = ['-c']\nexec(sys.stdin.read())"
    code = f"""case "$1 $2" in
    "-m venv") mkdir -p "$4/bin"; printf '#!/bin/sh\n%s\n' {quote(made)} >"$4/bin/python"; chmod +x "$4/bin/python" ;;
    -c*) printf %s "$2" | {quote(sys.executable)} -c "{says}" ;;
    esac"""
    stand_in(folder, f"pretends-3.{minor}", code)
    return str(folder / f"pretends-3.{minor}")


@pytest.fixture
def more_tools(tools: Path, tmp_path: Path) -> str:
    """PATH with what a pretender needs besides."""
    folder = tmp_path / "more"
    folder.mkdir()
    for tool in ("chmod", "sleep"):
        (folder / tool).symlink_to(str(shutil.which(tool)))
    return f"{folder}:{tools}"


def test_versions_do_not_meet(made: Path, more_tools: str, tmp_path: Path) -> None:
    """What one version of Python made stays as it is when another one runs the script: both may run at once."""
    stamp = made / ".nox" / f"nox-{VERSION}" / "stamp"
    before = stamp.stat().st_mtime_ns
    done = run(made, PATH=more_tools, CC="true", PYTHON=pretender(tmp_path, 99))
    assert done.stdout == f"nox [] in {made}\n", done.stderr
    assert done.stderr == "do: making .nox/nox-python3.99, which runs the sessions\n"
    assert run(made, PATH=more_tools, CC="true").stderr == ""
    assert stamp.stat().st_mtime_ns == before


def test_apt_and_pip_work_side_by_side(made: Path, more_tools: str, tmp_path: Path) -> None:
    """What runs the sessions is made while system packages are installed: an apt-get that waits for it ends."""
    stamp = made / ".nox" / "nox-python3.98" / "stamp"
    waits = f"n=0; until [ -e {quote(str(stamp))} ] || [ $n = 200 ]; do sleep 0.1; n=$((n + 1)); done; exit 9"
    fake_system(tmp_path, waits, 0)
    python = pretender(tmp_path, 98)
    said = run(made, "demo", PATH=f"{tmp_path}:{more_tools}", CC="false", PYTHON=python).stderr
    assert "making .nox/nox-python3.98" in said.partition("do: apt-get failed")[0]
    assert stamp.exists()


def test_an_environment_that_cannot_be_made(made: Path, more_tools: str, tmp_path: Path) -> None:
    """What pip says when it fails is shown, also if system packages were installed meanwhile, and nothing is run."""
    fake_system(tmp_path, "exit 0", 0)
    python = pretender(tmp_path, 97, f'case "$*" in *pip*) echo no such index; exit 5 ;; esac\n{REAL}')
    done = run(made, "demo", PATH=f"{tmp_path}:{more_tools}", CC="false", PYTHON=python)
    assert done.returncode == 5
    assert "no such index" in done.stderr
    assert done.stdout == ""
