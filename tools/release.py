"""Prepare the release of one package: ``./do release -- PACKAGE VERSION``.

It checks changelog, version and ranges; builds sdist and wheel in a copy of the tree; installs the wheel alone, with
the oldest and with the newest released core that its range takes, and runs the examples of its README and its tests
there; then it commits, tags, and says what to push. With --dry-run the tree stays as it is.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from datetime import date
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from packaging.requirements import Requirement

from tools.packages import closure, packages
from tools.releasing import Release, Repository
from tools.shell import Shell
from tools.trial import Trial

__all__ = ["finish", "main"]


def main(words: Sequence[str] | None = None) -> None:
    """The command."""
    words = list(sys.argv[1:] if words is None else words)
    place = words.index("--") if "--" in words else len(words)
    chosen, options = _arguments().parse_args(words[:place]), words[place + 1 :]
    known = packages()
    if chosen.package not in known:
        raise SystemExit(f"{chosen.package!r} is no package; there are {', '.join(known)}")
    release = Release(known[chosen.package], chosen.version)
    repository = Repository(ROOT)
    state = ROOT / ".nox" / "release-python{}.{}".format(*sys.version_info)
    shell = Shell(state.with_name(f"{state.name}.log"))
    _check(release, repository, shell, chosen.dry_run)
    with tempfile.TemporaryDirectory() as scratch:
        trial = Trial(release, repository, shell, Path(scratch) / "release", state)
        trial.check()
        cores = [str(version) for version in release.cores(repository)]
        for core in cores or [""]:
            trial.try_alone(core, options)
        for path in trial.artefacts():
            shell.log(f"{path.name}, {path.stat().st_size / 1024:.0f} KiB")
            if chosen.to:
                chosen.to.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, chosen.to)
    finish(release, repository, shell, chosen.dry_run)


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="./do release --", description=str(__doc__).partition("\n\n")[2], epilog="What follows -- goes to pytest."
    )
    parser.add_argument("package", help="the name of a folder of packages/")
    parser.add_argument("version", help="for instance 0.2.0")
    parser.add_argument("--dry-run", action="store_true", help="change nothing, only say what would be done")
    parser.add_argument("--to", type=Path, metavar="FOLDER", help="also copy sdist and wheel into a folder")
    return parser


def _check(release: Release, repository: Repository, shell: Shell, dry_run: bool) -> None:
    """:raises SystemExit: the release must not be made."""
    problems = release.problems(repository)
    if not dry_run and (changed := repository.changed()):
        problems.append(f"not committed: {', '.join(line[3:] for line in changed[:5])}")
    unreleased = [
        package.name for package in closure([release.package], repository.root) if not repository.released(package)
    ]
    needed = {Requirement(word).name for word in release.package.runtime} & set(unreleased)
    if needed and not dry_run:
        problems.append(f"not released yet: {', '.join(sorted(needed))}")
    if problems:
        raise SystemExit("\n".join(problems))
    if needed:
        shell.log(f"not released yet, so the tree's are tried: {', '.join(sorted(needed))}")


def finish(release: Release, repository: Repository, shell: Shell, dry_run: bool) -> None:
    """Commit and tag, or say so."""
    if dry_run:
        shell.log(f"dry run: nothing was changed. It would commit, tag {release.tag}, and ask you to push both")
        return
    release.apply(date.today())
    repository.git("commit", "--quiet", "--message", f"Release {release.package.name} {release.version}", "--all")
    repository.git("tag", "--annotate", release.tag, "--message", f"{release.package.name} {release.version}")
    shell.log(f"now push the commit and the tag, which publishes it: git push origin HEAD {release.tag}")


if __name__ == "__main__":
    main()
