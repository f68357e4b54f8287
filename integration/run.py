"""Runs the scripts of this folder, each in an environment of its own, and says in a line each what they proved.

An environment is made once in the folder given by --state, and made anew when a script's dependencies change. It sees
the packages of the interpreter that runs this, where those of the repository are installed. A script ends with status
0 and a last line that says what it proved, or with 77 and a last line that says what the machine lacks.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SUPPORT = Path(__file__).resolve().parent / "support"
sys.path.insert(0, str(SUPPORT))

from trial import programs, scripts
from trial.scripts import Script
from trial.servers import SKIPPED


@dataclass(frozen=True)
class Outcome:
    """How a script ended."""

    word: str
    """``ok``, ``FAILED`` or ``skipped``."""
    said: str
    seconds: float = 0.0
    output: str = ""

    def line(self, name: str) -> str:
        """The line that is printed."""
        took = f" {self.seconds:.1f} s" if self.word == "ok" else ""
        return f"{self.word} {name}{took}: {self.said}"


class Lacking(Exception):
    """The machine cannot have what a script needs."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; its exit status: 0, 1 if a script failed, 2 if there is none of that name."""
    options = _parser().parse_args(arguments)
    try:
        chosen = scripts.choose(scripts.find(), options.names)
    except scripts.BadScript as error:
        print(error, file=sys.stderr)
        return 2
    if options.list:
        print("\n".join(script.name for script in chosen))
        return 0
    settings = {"HUBBUB_LOOP": options.loop} if options.loop else {}
    counts = {"ok": 0, "FAILED": 0, "skipped": 0}
    for script in chosen:
        outcome = attempt(script, options.state, settings)
        counts[outcome.word] += 1
        print(outcome.line(script.name), flush=True)
        if outcome.output and (options.verbose or outcome.word == "FAILED"):
            print(re.sub("^", "    ", outcome.output.rstrip(), flags=re.MULTILINE), flush=True)
    print(f"{counts['ok']} passed, {counts['FAILED']} failed, {counts['skipped']} skipped")
    return 1 if counts["FAILED"] else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="./do integration --", description="Try real libraries over real servers.")
    parser.add_argument("names", nargs="*", metavar="GROUP | NAME", help=f"groups: {', '.join(scripts.GROUPS)}")
    parser.add_argument("--state", type=Path, required=True, help="where environments are kept (given by ./do)")
    parser.add_argument("--list", action="store_true", help="only print the names")
    parser.add_argument("--loop", help="the event loop; by default the first that is installed")
    parser.add_argument("-v", "--verbose", action="store_true", help="print the output of all scripts")
    return parser


def attempt(script: Script, state: Path, settings: dict[str, str]) -> Outcome:
    """See to what a script needs, and run it."""
    try:
        see_to_python(script)
        see_to_programs(script)
        python = environment(script, state)
    except Lacking as lack:
        return Outcome("skipped", str(lack))
    except subprocess.CalledProcessError as error:
        return Outcome("FAILED", "its environment cannot be made", output=error.stdout)
    return run(script, python, settings)


def see_to_python(script: Script) -> None:
    """Look whether this Python will do.

    :raises Lacking: it will not.
    """
    wanted = re.findall(r"(>=|<)\s*(\d+)\.(\d+)", script.python)
    ours = sys.version_info[:2]
    for sign, major, minor in wanted:
        if (ours >= (int(major), int(minor))) != (sign == ">="):
            raise Lacking(f"Python {script.python}")


def see_to_programs(script: Script) -> None:
    """Install what brings the programs that a script starts, unless they are there.

    :raises Lacking: it cannot be had.
    """
    if not programs.missing(script.programs, script.debian):
        return
    problem = programs.install(script.debian) if script.debian else "nothing is known that brings it"
    if lacking := programs.missing(script.programs, script.debian):
        raise Lacking(f"{', '.join(lacking)} ({problem})")


def environment(script: Script, state: Path) -> str:
    """The Python of the script's environment, made or reused.

    :raises Lacking: a dependency cannot be had.
    :raises subprocess.CalledProcessError: the environment cannot be made.
    """
    folder = state / script.name.replace("/", "-")
    python = str(folder / "bin" / "python")
    stamp = folder / "stamp"
    marker = repr((sys.version, sys.prefix, script.dependencies, script.without_dependencies))
    if stamp.exists() and stamp.read_text() == marker:
        return python
    shutil.rmtree(folder, ignore_errors=True)
    _quietly(sys.executable, "-m", "venv", "--without-pip", str(folder))
    site = sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)})
    shared = sysconfig.get_path("purelib")
    Path(site, "_hubbub_packages.pth").write_text(f"import site; site.addsitedir({shared!r})\n")
    for requirements, options in ((script.dependencies, ()), (script.without_dependencies, ("--no-deps",))):
        if requirements:
            _pip(python, *options, *requirements)
    stamp.write_text(marker)
    return python


def _pip(python: str, *arguments: str) -> None:
    try:
        _quietly(sys.executable, "-m", "pip", "--python", python, "install", "-q", *arguments)
    except subprocess.CalledProcessError as error:
        found = re.search(r"No matching distribution found for (.+)", error.stdout)
        if found:
            raise Lacking(f"no distribution of {found[1]} for this machine") from error
        raise


def _quietly(*command: str) -> None:
    """Runs a command whose output is of interest only if it fails: it is in the error's ``stdout``."""
    pipe, nothing = subprocess.PIPE, subprocess.DEVNULL
    subprocess.run(command, check=True, text=True, stdin=nothing, stdout=pipe, stderr=subprocess.STDOUT)


def run(script: Script, python: str, settings: dict[str, str]) -> Outcome:
    """Run a script in a session of its own; whatever that leaves behind is killed."""
    variables = {
        "PYTHONPATH": str(SUPPORT),
        # Scripts are called like the libraries they try: their own folder must not be on the path.
        "PYTHONSAFEPATH": "1",
        "PYTHONFAULTHANDLER": "1",
        "PYTHONUNBUFFERED": "1",
    }
    # Not a pipe: what a script leaves behind would keep that open.
    with tempfile.TemporaryFile("w+", errors="replace") as output:
        begun = time.monotonic()
        process = subprocess.Popen(
            [python, str(script.path)],
            env=os.environ | variables | script.environment | settings,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            in_time = _wait(process, script.seconds)
        finally:
            _kill_session(process.pid)
            process.wait()
        seconds = time.monotonic() - begun
        output.seek(0)
        text = output.read()
    if not in_time:
        return Outcome("FAILED", f"not done after {script.seconds:g} s", seconds, text)
    lines = text.split("\n")
    said = next((line for line in reversed(lines) if line.strip()), "it said nothing")
    if process.returncode == SKIPPED:
        return Outcome("skipped", said, seconds, text)
    if process.returncode:
        return Outcome("FAILED", f"exit status {process.returncode}: {said}", seconds, text)
    return Outcome("ok", said, seconds, text)


def _wait(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Whether a process ended in time; one that did not is made to print where it hangs."""
    try:
        process.wait(seconds)
        return True
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGABRT)
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        print("no traceback: it ignores SIGABRT", file=sys.stderr)
    return False


def _kill_session(leader: int) -> None:
    try:
        os.killpg(leader, signal.SIGKILL)
    except ProcessLookupError:
        pass


if __name__ == "__main__":
    sys.exit(main())
