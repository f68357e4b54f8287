"""The tool that prepares releases, on a repository of two packages made for it."""

from __future__ import annotations

import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest
from packaging.version import Version

from tools import readmes, release
from tools.packages import installable, packages
from tools.releasing import Release, Repository
from tools.shell import Shell

SETTINGS = """
[build-system]
requires = ["hatchling"]
[project]
name = "{name}"
version = "0.1.0"
classifiers = ["Programming Language :: Python :: 3.11"]
dependencies = [{needs}]
[project.optional-dependencies]
more = ["hubbub-more>=0.1,<0.2", "other>=1"]
[tool.hatch.build.targets.wheel]
"""
LOG = "# Changelog\n\n## [Unreleased]\n\n### Added\n\n- All of it.\n"


def package(root: Path, short: str, name: str, needs: str) -> None:
    """Writes a package."""
    folder = root / "packages" / short
    folder.mkdir(parents=True)
    (folder / "pyproject.toml").write_text(SETTINGS.format(name=name, needs=needs))
    (folder / "CHANGELOG.md").write_text(LOG)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """A repository with core and two that depend on it, and one commit."""
    root = tmp_path / "tree"
    package(root, "core", "hubbub", '"greenlet"')
    package(root, "net", "hubbub-net", '"hubbub>=0.1,<0.3", "other"')
    package(root, "more", "hubbub-more", '"hubbub>=0.1,<0.2"')
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "somebody")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "somebody@example.org")
    (root / ".gitignore").write_text(".nox/\n")
    repository = Repository(root)
    repository.git("init", "--quiet")
    repository.git("add", "--all")
    repository.git("commit", "--quiet", "--message", "All of it")
    return repository


def planned(repository: Repository, short: str, version: str) -> Release:
    """A release of one of the packages."""
    packages.cache_clear()
    return Release(packages(repository.root)[short], version)


def test_nothing_speaks_against_it(repository: Repository) -> None:
    """A later version with a changelog may be released; its tag has the name of the folder."""
    made = planned(repository, "net", "0.1.0")
    assert made.problems(repository) == []
    assert made.tag == "net-v0.1.0"


@pytest.mark.parametrize(
    ("version", "said"),
    [("one", "no version"), ("0.2", None), ("0.2.0.RC1", "written '0.2.0rc1'"), ("0.1.0", "0.1.0 has been released")],
)
def test_versions(repository: Repository, version: str, said: str | None) -> None:
    """A version is a normal one and later than the last that has a tag."""
    repository.git("tag", "net-v0.1.0")
    repository.git("tag", "net-v0.0.9")
    problems = planned(repository, "net", version).problems(repository)
    assert ([said in problem for problem in problems] == [True]) if said else problems == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (LOG.replace("- All of it.\n", ""), "says nothing of what is new"),
        (LOG.replace("[", "").replace("]", ""), "is to be"),
    ],
)
def test_changelog_is_demanded(repository: Repository, text: str, said: str) -> None:
    """What does not say what is new is not released."""
    made = planned(repository, "net", "0.2.0")
    made.changelog.write_text(text)
    (problem,) = made.problems(repository)
    assert said in problem


def test_prepared_changelog(repository: Repository) -> None:
    """A changelog in which somebody has dated the version by hand is taken as it is."""
    made = planned(repository, "net", "0.2.0")
    made.changelog.write_text("## [Unreleased]\n\n## [0.2.0] - 2030-01-02\n\n- All of it.\n")
    assert made.problems(repository) == []
    before = made.changelog.read_text()
    made.apply(date(2030, 5, 5))
    assert made.changelog.read_text() == before


def test_ranges_of_others(repository: Repository) -> None:
    """A version of core that another package does not take is refused, with the name of that package."""
    assert planned(repository, "core", "0.1.5").problems(repository) == []
    (problem,) = planned(repository, "core", "0.2.0").problems(repository)
    assert problem.startswith("hubbub-more takes hubbub<0.2,>=0.1 only")


def test_apply(repository: Repository) -> None:
    """A release sets the version and dates the changelog, and touches no other file."""
    made = planned(repository, "net", "0.2.0")
    made.apply(date(2030, 5, 5))
    assert 'version = "0.2.0"' in (made.package.folder / "pyproject.toml").read_text()
    assert "## [Unreleased]\n\n## [0.2.0] - 2030-05-05\n\n### Added" in made.changelog.read_text()
    assert [line[3:] for line in repository.changed()] == ["packages/net/CHANGELOG.md", "packages/net/pyproject.toml"]


def test_cores(repository: Repository) -> None:
    """A package is tried with the oldest and the newest released core of its range; core with none."""
    made = planned(repository, "net", "0.2.0")
    assert made.cores(repository) == []
    for version in ("0.0.9", "0.1.0", "0.1.7", "0.2.10", "0.2.9", "0.3.0"):
        repository.git("tag", f"core-v{version}")
    assert made.cores(repository) == [Version("0.1.0"), Version("0.2.10")]
    assert planned(repository, "core", "0.4.0").cores(repository) == []


def test_export(repository: Repository, tmp_path: Path) -> None:
    """A package is had as it was at a tag, without what came later."""
    repository.git("tag", "core-v0.1.0")
    made = planned(repository, "core", "0.2.0")
    made.apply(date(2030, 5, 5))
    tree = repository.export("core-v0.1.0", tmp_path / "copy", "packages/core")
    assert [path.name for path in (tree / "packages").iterdir()] == ["core"]
    assert (tree / "packages" / "core" / "CHANGELOG.md").read_text() == LOG


def test_installable(repository: Repository) -> None:
    """All of ours that an installation brings is named, through extras too; others are left to pip."""
    ours, others = installable(["hubbub-net[more]", "pytest>=9", "hubbub-net"], repository.root)
    assert ours == {"hubbub-net": {"more"}, "hubbub": set(), "hubbub-more": set()}
    assert others == ["pytest>=9"]


def told(root: Path, *words: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """What the command refuses with, in a repository."""
    packages.cache_clear()
    monkeypatch.setattr(release, "ROOT", root)
    monkeypatch.setattr(release, "packages", lambda: packages(root))
    with pytest.raises(SystemExit) as caught:
        release.main(words)
    return str(caught.value)


def test_refusals(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before it builds, the command refuses unknown packages, uncommitted files, and what core must precede."""
    assert "'nonsense' is no package; there are core, more, net" in told(
        repository.root, "nonsense", "1.0", monkeypatch=monkeypatch
    )
    (repository.root / "packages" / "net" / "new.py").touch()
    said = told(repository.root, "net", "0.2.0", monkeypatch=monkeypatch)
    assert said.splitlines() == ["not committed: packages/net/new.py", "not released yet: hubbub"]


def test_finish(repository: Repository, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The end is one commit and a tag, and the command that pushes both; after a dry run nothing has changed."""
    made = planned(repository, "net", "0.2.0")
    before = repository.git("rev-parse", "HEAD")
    release.finish(made, repository, Shell(tmp_path / "log"), dry_run=True)
    assert repository.changed() == []
    assert repository.git("rev-parse", "HEAD") == before
    release.finish(made, repository, Shell(tmp_path / "log"), dry_run=False)
    assert repository.changed() == []
    assert repository.git("log", "-1", "--format=%s").strip() == "Release hubbub-net 0.2.0"
    assert repository.released(made.package) == [Version("0.2.0")]
    assert "git push origin HEAD net-v0.2.0" in capsys.readouterr().out


README = """
```
pip install hubbub-dns                # thread, block
$ pip install -U 'hubbub-dns[ares]' other
python program.py
```

```pycon
>>> number = 1

```

```pycon
>>> number + {added}
2

```

```python
read = {read}
```
"""


def test_installs() -> None:
    """What a README has its reader install is found, without options and comments."""
    assert readmes.installs(README) == ["hubbub-dns", "hubbub-dns[ares]", "other"]


@pytest.mark.parametrize(("added", "status"), [("1", 0), ("2", 1)])
def test_examples(tmp_path: Path, added: str, status: int) -> None:
    """The examples of a README run one after the other; a wrong one fails."""
    path = tmp_path / "README.md"
    path.write_text(README.format(added=added, read="1"))
    done = subprocess.run([sys.executable, *readmes.run(path)], capture_output=True, text=True, timeout=150)
    assert done.returncode == status, done.stderr
    assert done.stdout.splitlines()[-1] == f"examples: 2 failed: {status}"


def test_examples_that_are_only_read(tmp_path: Path) -> None:
    """An example without prompts is at least Python."""
    path = tmp_path / "README.md"
    path.write_text(README.format(added="1", read="("))
    with pytest.raises(SyntaxError):
        readmes.run(path)


def test_shell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A program's output is in the log; it is shown when the program fails, which ends the release."""
    shell = Shell(tmp_path / "log")
    assert shell.run(sys.executable, "-c", "print('heard')", silent=True) == "heard\n"
    assert capsys.readouterr().out == ""
    with pytest.raises(SystemExit, match="failed with status 3"):
        shell.run(sys.executable, "-c", "print('broken'); raise SystemExit(3)")
    assert "broken" in capsys.readouterr().err
    assert "heard" in (tmp_path / "log").read_text()
