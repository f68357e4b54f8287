"""Runs the benchmarks on hubbub and on gevent, in turn, and prints the ratio of the medians.

Every run is a process of its own. A round runs each contestant once, so that a machine that
slows down or speeds up does so for all of them. Compared is CPU time (user and system), which
other programs on the machine disturb less than wall time.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
NOT_PROGRAMS = {"run", "shim"}
# The gevent loop that each of hubbub's is compared with; others are compared with its default.
RIVALS = {"libuv": "libuv-cffi"}
DEFAULT_RIVAL = "libev-cext"
LIST_LOOPS = "from importlib.metadata import entry_points as e; print(*sorted(e(group='hubbub.loops').names))"


@dataclass(frozen=True)
class Contestant:
    """A library on a loop, in the environment of one interpreter."""

    library: str
    loop: str
    python: str

    def seconds(self, program: str) -> float:
        """CPU seconds per operation in one run of a program."""
        settings = {f"{self.library.upper()}_LOOP": self.loop}
        done = subprocess.run(
            [self.python, str(FOLDER / f"{program}.py"), self.library],
            env=os.environ | settings,
            stdout=subprocess.PIPE,
            check=True,
            timeout=300,
        )
        return float(json.loads(done.stdout)["seconds"])


def programs() -> list[str]:
    """The names of all programs."""
    stems = (path.stem for path in FOLDER.glob("[!_]*.py"))
    return sorted(stem for stem in stems if stem not in NOT_PROGRAMS)


WIDTH = max(map(len, programs())) + 2


def pairs(hubbub: str, gevent: str) -> list[tuple[Contestant, Contestant]]:
    """Each loop that hubbub has here beside its rival."""
    listed = subprocess.run([hubbub, "-c", LIST_LOOPS], stdout=subprocess.PIPE, text=True, check=True)
    return [
        (Contestant("hubbub", loop, hubbub), Contestant("gevent", RIVALS.get(loop, DEFAULT_RIVAL), gevent))
        for loop in listed.stdout.split()
    ]


def measure(program: str, contestants: list[Contestant], rounds: int) -> dict[Contestant, float]:
    """The median of each contestant over the rounds."""
    times: dict[Contestant, list[float]] = {contestant: [] for contestant in contestants}
    for _ in range(rounds):
        for contestant, seen in times.items():
            seen.append(contestant.seconds(program))
    return {contestant: statistics.median(seen) for contestant, seen in times.items()}


def main() -> None:
    """Runs what the arguments ask for and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hubbub", required=True, help="the Python of an environment with hubbub")
    parser.add_argument("--gevent", required=True, help="the Python of an environment with gevent")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each contestant (default: 5)")
    parser.add_argument("programs", nargs="*", metavar="PROGRAM", help=f"of {', '.join(programs())} (default: all)")
    arguments = parser.parse_args()
    if unknown := set(arguments.programs) - set(programs()):
        parser.error(f"no such program: {', '.join(sorted(unknown))}; there are {', '.join(programs())}")
    compared = pairs(arguments.hubbub, arguments.gevent)
    contestants = list(dict.fromkeys(contestant for pair in compared for contestant in pair))
    print(f"CPU microseconds per operation, medians of {arguments.rounds} rounds; ratio: gevent / hubbub\n")
    print(f"{'program':<{WIDTH}}{'hubbub loop':<13}{'hubbub':>9}   {'gevent loop':<13}{'gevent':>9}{'ratio':>9}")
    for program in arguments.programs or programs():
        medians = measure(program, contestants, arguments.rounds)
        for ours, theirs in compared:
            print(
                f"{program:<{WIDTH}}{ours.loop:<13}{medians[ours] * 1e6:>9.2f}   "
                f"{theirs.loop:<13}{medians[theirs] * 1e6:>9.2f}{medians[theirs] / medians[ours]:>9.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
