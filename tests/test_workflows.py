"""The workflows of .github: what they are made of, and the scripts that they call."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tools import packages as found
from tools import workflows

ACTION = re.compile(r"^\s*(?:- )?uses: (\S+)(?: # (\S+))?$", re.MULTILINE)


@pytest.fixture(scope="module")
def texts(root: Path) -> dict[str, str]:
    """The workflows, by name."""
    return {path.name: path.read_text() for path in (root / ".github" / "workflows").glob("*.yml")}


def jobs(text: str) -> dict[str, str]:
    """The jobs of a workflow."""
    parts = re.split(r"^  (\w+):\n", text.partition("\njobs:\n")[2], flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_actions_are_pinned(texts: dict[str, str]) -> None:
    """Every action of others is named by the hash of a commit, with its version beside it, the same everywhere."""
    versions: dict[str, set[tuple[str, str]]] = {}
    for text in texts.values():
        for action, version in ACTION.findall(text):
            if not action.startswith("./"):
                name, _, commit = action.partition("@")
                assert re.fullmatch(r"[0-9a-f]{40}", commit), action
                assert re.fullmatch(r"v\d+\.\d+\.\d+", version), action
                versions.setdefault(name, set()).add((commit, version))
    assert len(versions) > 5
    assert {name: seen for name, seen in versions.items() if len(seen) > 1} == {}


def test_least_permissions(texts: dict[str, str]) -> None:
    """No workflow has a permission; a job has those that it names, and may write only where that is its purpose."""
    writing = {}
    for name, text in texts.items():
        assert "\npermissions: {}\n" in text, name
        for job, body in jobs(text).items():
            assert "    permissions:\n" in body, f"{name}, {job}"
            writes = re.findall(r"^      ([\w-]+): write", body, re.MULTILINE)
            if writes:
                writing[job] = writes
    assert writing == {"publish": ["id-token"], "announce": ["contents"], "deploy": ["pages", "id-token"]}


def test_jobs_end(texts: dict[str, str]) -> None:
    """Every job that runs steps has a time limit, and no checkout leaves a token behind."""
    for name, text in texts.items():
        for job, body in jobs(text).items():
            assert ("    timeout-minutes:" in body) == ("    steps:" in body), f"{name}, {job}"
            assert body.count("actions/checkout@") == body.count("persist-credentials: false") + (
                "pypa/cibuildwheel@" in body and "persist-credentials" not in body
            )


def test_native_packages(texts: dict[str, str]) -> None:
    """CI builds the wheels of all packages that are compiled."""
    listed = re.search(r"package: \[(.*)\]", texts["ci.yml"])
    assert listed is not None
    assert listed[1].split(", ") == [package.short for package in found.packages().values() if package.native]


def test_sessions_and_files_exist(root: Path, texts: dict[str, str]) -> None:
    """Whatever ./do runs is a session, and whatever requirements are installed stand in a file."""
    sessions = set(re.findall(r"^def (\w+)\(session", (root / "noxfile.py").read_text(), re.MULTILINE))
    for text in texts.values():
        for words in re.findall(r"run: \./do (.*)", text):
            assert set(words.split()) <= sessions, words
        for path in re.findall(r"-r (\S+)", text):
            assert (root / path).is_file(), path


def test_versions() -> None:
    """The matrix of CI is what core's classifiers say."""
    lines = dict(line.split("=", 1) for line in workflows.answer(["versions"]).splitlines())
    assert json.loads(lines["pythons"]) == found.versions()
    assert lines["oldest"] == found.versions()[0]


def test_kind_of_package() -> None:
    """A workflow learns whether a package is compiled, and of one that does not exist, which there are."""
    assert workflows.answer(["package", "speed"]) == "native=true"
    assert workflows.answer(["package", "net"]) == "native=false"
    with pytest.raises(ValueError, match="'nonsense' is no package; there are asyncio, asyncio-speed, core"):
        workflows.answer(["package", "nonsense"])


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree with one package, released as 0.2.0."""
    folder = tmp_path / "packages" / "loop-x"
    folder.mkdir(parents=True)
    (folder / "pyproject.toml").write_text('[project]\nname = "hubbub-loop-x"\nversion = "0.2.0"\n')
    (folder / "CHANGELOG.md").write_text("## [Unreleased]\n\n## [0.2.0] - 2030-01-02\n\n### Fixed\n\n- It.\n")
    return tmp_path


def test_tags(tree: Path) -> None:
    """A tag names package and version, and the notes of a release are what its changelog says."""
    assert workflows.answer(["tag", "loop-x-v0.2.0"], tree).splitlines() == [
        "package=loop-x",
        "name=hubbub-loop-x",
        "version=0.2.0",
    ]
    assert workflows.answer(["notes", "loop-x-v0.2.0"], tree) == "### Fixed\n\n- It."


@pytest.mark.parametrize(
    ("tag", "said"),
    [("x-v0.2.0", "names no package"), ("loop-x-v0.3.0", "is not the version"), ("v0.2.0", "names no package")],
)
def test_wrong_tags(tree: Path, tag: str, said: str) -> None:
    """By a tag that does not fit the tree nothing is published."""
    with pytest.raises(ValueError, match=said):
        workflows.answer(["tag", tag], tree)
    (tree / "packages" / "loop-x" / "CHANGELOG.md").write_text("## [Unreleased]\n")
    found.packages.cache_clear()
    with pytest.raises(ValueError, match=r"the changelog of hubbub-loop-x has no 0\.2\.0"):
        workflows.answer(["tag", "loop-x-v0.2.0"], tree)


def test_command(root: Path) -> None:
    """The command ends with a status and a line when it cannot answer."""
    command = [sys.executable, "-m", "tools.workflows", "nonsense"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=150)
    assert done.returncode == 1
    assert done.stderr == "'nonsense' is no question: versions, package NAME, tag TAG or notes TAG\n"


def test_settings_of_wheels(root: Path) -> None:
    """Wheels are for old glibc and for musl, and their libraries come from pinned sources."""
    settings = tomllib.loads((root / ".github" / "cibuildwheel.toml").read_text())["tool"]["cibuildwheel"]
    assert {settings[f"manylinux-{machine}-image"] for machine in ("x86_64", "aarch64")} == {"manylinux_2_28"}
    assert (root / settings["before-all"].split()[0]).stat().st_mode & 0o111


@pytest.mark.skipif(sys.platform == "win32" or not shutil.which("tar"), reason="a shell script that uses tar")
def test_other_sources_are_refused(root: Path, tmp_path: Path) -> None:
    """An archive of libev that has another hash is not built."""
    (tmp_path / "libev-4.33.tar.gz").write_bytes(b"something else")
    command = [str(root / ".github" / "build-libraries"), str(tmp_path / "prefix")]
    environment = {"PATH": "/usr/bin:/bin", "HUBBUB_SOURCES": str(tmp_path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=150)
    assert done.returncode == 1
    assert "another hash than libev 4.33" in done.stderr
    assert not (tmp_path / "prefix").exists()
