"""Runs a command once for each argument, some at a time: ``python fan_out.py --at-once 8 gzip -- *.log``.

A failed command does not stop the others. Ctrl-C ends those that run.
"""

import argparse
import sys

from hubbub import subprocess
from hubbub.pool import Pool


class FanOut:
    """One command for many arguments."""

    def __init__(self, command: list[str], seconds: float) -> None:
        self.command = command
        self.seconds = seconds

    def run(self, argument: str) -> tuple[str, int, str]:
        """The argument, the exit status, and what was printed. A command that takes too long is killed."""
        try:
            done = subprocess.run(
                [*self.command, argument],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=self.seconds,
            )
        except subprocess.TimeoutExpired:
            return argument, 124, f"killed after {self.seconds:g} seconds\n"
        except OSError as error:
            return argument, 127, f"{error}\n"
        return argument, done.returncode, done.stdout


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--at-once", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long one run may take")
    parser.add_argument(
        "command", nargs=argparse.REMAINDER, help="the command with its first arguments; after -- the others"
    )
    if "--" not in sys.argv:
        parser.error("say what to run it for, after --")
    cut = sys.argv.index("--")
    options = parser.parse_args(sys.argv[1:cut])
    if not options.command:
        parser.error("say what to run, before --")
    failed = 0
    for name, status, output in Pool(options.at_once).imap_unordered(
        FanOut(options.command, options.seconds).run, sys.argv[cut + 1 :]
    ):
        failed += status != 0
        print(f"== {name}: {status}\n{output}", end="", flush=True)
    sys.exit(failed != 0)
