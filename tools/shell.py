"""Programs run for a person who watches: a line for each, their output only when they fail."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

__all__ = ["Shell"]


class Shell:
    """What :class:`tools.environment.Environment` needs of a session, without nox."""

    def __init__(self, log: Path) -> None:
        """:param log: a file that gets the output of everything that is run."""
        self._log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text("")

    def run(self, *words: Any, silent: bool = False, **options: Any) -> str:
        """Run a program and return its output.

        :param silent: say nothing of it unless it fails.
        :raises SystemExit: it failed; its output has been printed.
        """
        command = [str(word) for word in words]
        if not silent:
            self.log(shlex.join([Path(command[0]).name, *command[1:]]))
        environment = {**os.environ, **(options.get("env") or {})}
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=environment,
            cwd=options.get("cwd"),
        )
        with self._log.open("a") as file:
            file.write(f"$ {shlex.join(command)}\n{done.stdout}\n")
        if done.returncode not in options.get("success_codes", [0]):
            print(done.stdout, file=sys.stderr)
            raise SystemExit(f"failed with status {done.returncode}: {shlex.join(command)}\nall output: {self._log}")
        return done.stdout

    def log(self, message: str, *values: Any, **options: Any) -> None:
        """Say a line."""
        print(f"* {message % values if values else message}", flush=True)
