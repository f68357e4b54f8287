"""Virtual environments that are filled step by step. A step whose inputs did not change is skipped."""

from __future__ import annotations

import hashlib
import re
import shlex
import shutil
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

from tools.packages import ROOT, Package, installable, packages, split
from tools.testing import at_once

__all__ = ["Environment", "Session", "build_failure", "digest"]

# What hatchling asks for besides, to make an editable install; without build isolation it is ours to bring.
FOR_EDITABLE = "editables>=0.5"


class Session(Protocol):
    """What is needed of a session of nox."""

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """Runs a program; with ``silent`` returns its output."""

    def log(self, *args: Any, **kwargs: Any) -> None:
        """Says something."""


def digest(*parts: str | Path) -> str:
    """A hash of texts and of files, by name and content."""
    total = hashlib.sha256()
    for part in parts:
        total.update(str(part).encode() + b"\0")
        if isinstance(part, Path):
            total.update(part.read_bytes())
    return total.hexdigest()


class Environment:
    """A virtual environment whose steps are remembered by the hash of their inputs."""

    def __init__(self, session: Session, folder: Path, base: str = sys.executable) -> None:
        """Makes the environment unless it is there already and of the same Python."""
        self.session = session
        self.folder = folder
        self.bin = folder / ("Scripts" if sys.platform == "win32" else "bin")
        self.python = str(self.bin / "python")
        marker = digest(str(folder), base, sys.version)
        if self._done("made", marker):
            return
        shutil.rmtree(folder, ignore_errors=True)
        session.log(f"{folder.name}: making the environment")
        command = (sys.executable, "-m", "virtualenv", "-q", "--python", base, str(folder))
        session.run(*command, external=True, silent=True, log=False)
        self._remember("made", marker)

    def _stamp(self, step: str) -> Path:
        return self.folder / "stamps" / step

    def _done(self, step: str, marker: str) -> bool:
        stamp = self._stamp(step)
        return stamp.exists() and stamp.read_text() == marker

    def _remember(self, step: str, marker: str) -> None:
        stamp = self._stamp(step)
        stamp.parent.mkdir(exist_ok=True)
        stamp.write_text(marker)

    def run(self, *arguments: str | Path, **options: Any) -> Any:
        """Runs the environment's Python with these arguments."""
        words = [str(argument) for argument in arguments]
        return self.session.run(self.python, *words, external=True, **options)

    def pip(self, *arguments: str | Path, what: str = "", **options: Any) -> Any:
        """Runs pip install. Its output is shown when it fails, and kept in ``pip.log``.

        Bytecode is left to whoever imports the module: most of what is installed, nobody does.

        :param what: what is installed, as it is said; else the arguments are, without their folders.
        """
        options["env"] = {"PIP_NO_COMPILE": "1", **options.get("env", {})}
        said = what or " ".join(Path(argument).name for argument in map(str, arguments) if argument[:1] != "-")
        self.session.log(f"{self.folder.name}: installing {said}")
        output = self.run("-m", "pip", "install", *arguments, silent=True, log=False, **options)
        with (self.folder / "pip.log").open("a") as log:
            log.write(f"$ pip install {shlex.join(map(str, arguments))}\n{output}\n")
        return output

    def step(self, name: str, marker: str, *arguments: str | Path, what: str = "") -> None:
        """Runs pip install unless the same was done before."""
        if not self._done(name, marker):
            self.pip(*arguments, what=what)
            self._remember(name, marker)

    def requirements(self, *files: Path) -> None:
        """Installs pinned requirements."""
        for file in files:
            name = f"requirements-{file.parent.name}-{file.stem}"
            self.step(name, digest(file), "-r", file)

    def others(self, name: str, *requirements: str, what: str = "") -> None:
        """Installs those of the requirements that are not of this repository."""
        theirs = sorted(set(split(requirements)[1]))
        self.step(name, digest(*theirs), *theirs, what=what)

    def packages(self, root: Path = ROOT) -> dict[str, str]:
        """Installs all packages of the repository, or of another checkout of it, editable.

        Returns the native packages that could not be built, each with the reason.
        """
        everything = list(packages(root).values())
        needed = (FOR_EDITABLE, *(r for package in everything for r in package.use))
        self.others("use", *needed, what="what the packages use, with all extras")
        return self.editable(everything)

    def only(self, requirements: Sequence[str]) -> dict[str, str]:
        """Installs what these bring, and no more; packages of the repository editable. Returns as :meth:`packages`."""
        ours, others = installable(requirements, ROOT)
        chosen = [package for package in packages().values() if package.name in ours]
        needed = (FOR_EDITABLE, *others, *(r for package in chosen for r in (*package.building, *package.runtime)))
        self.others("only", *needed, what=f"what {', '.join(requirements)} need")
        return self.editable(chosen)

    def editable(self, chosen: Sequence[Package]) -> dict[str, str]:
        """Installs packages of the repository where they stand. Returns as :meth:`packages`."""
        self._install([package for package in chosen if not package.native])
        native = [package for package in chosen if package.native]
        with ThreadPoolExecutor(at_once()) as executor:  # compilers use one core each
            reasons = zip(native, executor.map(self._build, native), strict=True)
            return {package.name: reason for package, reason in reasons if reason}

    def _install(self, pure: Sequence[Package]) -> None:
        markers = {package: digest(*package.sources()) for package in pure}
        due = [package for package in pure if not self._done(f"pure-{package.short}", markers[package])]
        if not due:
            return
        editable = [word for package in due for word in ("-e", str(package.folder))]
        # Without dependencies: what a sibling lacks must not be looked for in an index.
        names = ", ".join(package.name for package in due)
        self.pip("--no-deps", "--no-build-isolation", *editable, what=names)
        for package in due:
            self._remember(f"pure-{package.short}", markers[package])

    def _build(self, package: Package) -> str:
        """Builds a native package in place, unless what an earlier build made is there; returns why it failed."""
        name = f"native-{package.short}"
        if self._done(name, self._built(package)):
            return ""
        before = package.compiled().items()
        words = ("--no-deps", "--no-build-isolation", "-e", package.folder)
        output = self.pip(*words, what=f"{package.name}, which is compiled", success_codes=[0, 1])
        if "Successfully installed" in output:
            made = sorted(path.relative_to(package.folder) for path, _ in package.compiled().items() - before)
            self._stamp(f"{name}-made").write_text("".join(f"{path}\n" for path in made))
            self._remember(name, self._built(package))
            return ""
        reason = build_failure(output)
        if not reason:
            self.session.log(output)
        return reason or "see its output above"

    def _built(self, package: Package) -> str:
        """A marker of a package's sources, and of the modules that the last build made and that are still there."""
        made = self._stamp(f"native-{package.short}-made")
        listed = made.read_text().splitlines() if made.exists() else ["no build has told"]
        return digest(*package.sources(), *(f"{path} {(package.folder / path).exists()}" for path in listed))


def build_failure(output: str) -> str:
    """Says in a line what a failed build lacked; nothing when that is unclear."""
    said = re.search(r"#error \"?([^\n\"]+)", output)
    if said:
        return said[1]
    header = re.search(r"fatal error: '?([\w./-]+)'?(?:: No such file|\s+file not found)", output)
    if header:
        return f"{header[1]} is missing"
    compiler = re.search(r"command '([^']+)' failed: No such file", output)
    if compiler:
        return f"the compiler {compiler[1]} is missing"
    library = re.search(r"cannot find (-l\w+)|library '?(\w+)'? not found", output)
    if library:
        return f"the library {library[1] or library[2]} is missing"
    return ""
