"""Runs the benchmarks on hubbub and on gevent, in turn, and prints the ratio of the least times.

Every run is a process of its own. A round runs each contestant once, so that a machine that
slows down or speeds up does so for all of them. Compared is CPU time (user and system), which
other programs on the machine disturb less than wall time; and the least of all rounds, which they
disturb least. A row in which hubbub is slower than gevent, or than an earlier hubbub, is red. What gevent cannot run,
or dies of, has a row without its figure. Beside some rows are references: what the same costs with libraries of
another kind, where they are installed, or in C, where there is a compiler.
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
NOT_PROGRAMS = {"run", "shim"}
# The gevent loop that each of hubbub's is compared with; others are compared with its default.
RIVALS = {"libuv": "libuv-cffi"}
DEFAULT_RIVAL = "libev-cext"
LIST_LOOPS = "from importlib.metadata import entry_points as e; print(*sorted(e(group='hubbub.loops').names))"
QUICK = 10
"""How many times fewer operations a quick run has."""
REPEAT = 2
"""How often a quick run has each process measure; it has one of each."""
PEERS = {
    "tcp_echo": (
        *("c-epoll", "uvloop-protocols", "uvloop-streams"),
        *("asyncio-protocols", "asyncio-streams", "trio-streams"),
    )
}
"""Programs of ``peers/`` and the references that each makes: a library, and which of its interfaces."""
RED, PLAIN = "\033[31m", "\033[0m"


@dataclass(frozen=True)
class Contestant:
    """A library on a loop, in the environment of one interpreter."""

    name: str
    loop: str
    python: str
    programs: str = "{}.py"
    """How its programs are called."""
    optional: bool = False
    """Whether it is left out of a row if it fails there: an earlier hubbub may lack what a program needs, and gevent
    may die of it."""

    def cost(self, work: Work) -> dict[str, float]:
        """What one run of a program says: CPU seconds, or bytes, per operation.

        :raises subprocess.SubprocessError: the program failed, or does not end.
        """
        settings = {f"{self.name.upper()}_LOOP": self.loop} if self.loop else {}
        done = subprocess.run(
            [self.python, str(FOLDER / self.programs.format(work.program)), self.name, *work.options],
            env=os.environ | settings,
            stdout=subprocess.PIPE,
            check=True,
            timeout=300,
        )
        cost: dict[str, float] = json.loads(done.stdout)
        return cost


@dataclass(frozen=True)
class Work:
    """A program, and of what size: of connections or greenlets, as the program says."""

    program: str
    size: int | None = None
    operations: int | None = None
    repeat: int | None = None

    @property
    def name(self) -> str:
        """For a row of the table."""
        return self.program if self.size is None else f"{self.program} {self.size:,}"

    @property
    def options(self) -> list[str]:
        """For its command line."""
        given = {"size": self.size, "operations": self.operations, "repeat": self.repeat}
        return [f"--{name}={value}" for name, value in given.items() if value is not None]


@dataclass(frozen=True)
class Row:
    """What came of one program on one of hubbub's loops. Costs are seconds or bytes per operation."""

    program: str
    size: int | None
    unit: str
    loop: str
    hubbub: float
    rival_loop: str
    gevent: float | None
    """None: it could not be measured."""
    before: float | None
    """Of the hubbub that this one is compared with."""
    references: dict[str, float] = field(default_factory=dict)
    """Of :data:`PEERS`, as far as they could be measured."""

    @property
    def slower(self) -> bool:
        """Whether hubbub costs more than gevent, or (by more than a twentieth, as noise has) than it did before."""
        fastest = [self.gevent or math.inf, 1.05 * self.before if self.before is not None else math.inf]
        return self.hubbub > min(fastest)


def programs() -> list[str]:
    """The names of all programs."""
    stems = (path.stem for path in FOLDER.glob("[!_]*.py"))
    return sorted(stem for stem in stems if stem not in NOT_PROGRAMS)


def works(names: Iterable[str], quick: bool) -> Iterator[Work]:
    """What is to be run: each program, in a full run in each of its sizes."""
    for name in names:
        module = importlib.import_module(name)
        sizes = getattr(module, "SIZES", (None,))
        for size in sizes[:1] if quick else sizes:
            yield Work(name, size, max(1, module.OPERATIONS // QUICK), REPEAT) if quick else Work(name, size)


def pairs(hubbub: str, gevent: str, loops: list[str]) -> list[tuple[Contestant, Contestant]]:
    """Each loop that hubbub has here, or those that were asked for, beside its rival."""
    listed = subprocess.run([hubbub, "-c", LIST_LOOPS], stdout=subprocess.PIPE, text=True, check=True).stdout.split()
    if unknown := set(loops) - set(listed):
        raise SystemExit(f"no such loop: {', '.join(sorted(unknown))}; there are {', '.join(listed)}")
    return [
        (
            Contestant("hubbub", loop, hubbub),
            Contestant("gevent", RIVALS.get(loop, DEFAULT_RIVAL), gevent, optional=True),
        )
        for loop in loops or listed
    ]


def references(work: Work, peers: dict[str, str]) -> list[Contestant]:
    """What is shown beside a program.

    :param peers: the Python of each library that there is.
    """
    return [
        Contestant(name, "", peers[library], "peers/{}_peers.py", optional=True)
        for name in PEERS.get(work.program, ())
        if (library := name.partition("-")[0]) in peers
    ]


def measure(work: Work, contestants: list[Contestant], rounds: int) -> dict[Contestant, dict[str, float]]:
    """The least cost of each contestant over the rounds, without those optional ones that fail, which it tells."""
    costs: dict[Contestant, list[dict[str, float]]] = {contestant: [] for contestant in contestants}
    for _ in range(rounds):
        for contestant, seen in list(costs.items()):
            try:
                seen.append(contestant.cost(work))
            except subprocess.SubprocessError as error:
                if not contestant.optional:
                    raise
                print(f"{work.name} cannot be measured with {contestant.python} {contestant.name}: {error}")
                del costs[contestant]
    return {contestant: min(seen, key=lambda cost: next(iter(cost.values()))) for contestant, seen in costs.items()}


def compare(
    work: Work,
    compared: list[tuple[Contestant, Contestant]],
    before: str | None,
    rounds: int,
    peers: dict[str, str],
) -> Iterator[Row]:
    """Run ``work``, and yield a row for each of hubbub's loops.

    :param before: the Python of an environment with the hubbub to compare with.
    :param peers: see :func:`references`.
    """
    earlier = {ours: Contestant("hubbub", ours.loop, before, optional=True) for ours, _ in compared} if before else {}
    beside = references(work, peers)
    contestants = dict.fromkeys([*(one for pair in compared for one in pair), *earlier.values(), *beside])
    costs = measure(work, list(contestants), rounds)
    for ours, theirs in compared:
        ((unit, hubbub),) = costs[ours].items()
        old = costs.get(earlier[ours], {}).get(unit) if ours in earlier else None
        others = {one.name: costs[one][unit] for one in beside if one in costs}
        rival = costs.get(theirs, {}).get(unit)
        yield Row(work.program, work.size, unit, ours.loop, hubbub, theirs.loop, rival, old, others)


def shown(row: Row, name: str, width: int, colours: bool) -> str:
    """A line of the table."""
    factor, digits = (1e6, 2) if row.unit == "seconds" else (1, 0)
    line = f"{name:<{width}}{row.loop:<9}{row.hubbub * factor:>10,.{digits}f}   {row.rival_loop:<18}"
    if row.gevent is None:
        line += f"{'failed':>10}{'':>8}"
    else:
        line += f"{row.gevent * factor:>10,.{digits}f}{row.gevent / row.hubbub:>8.2f}"
    if row.before is not None:
        line += f"{row.before * factor:>12,.{digits}f}{row.before / row.hubbub:>8.2f}"
    if not row.slower:
        return line
    return f"{RED}{line}{PLAIN}" if colours else f"{line}  slower"


def shown_references(row: Row, width: int) -> Iterator[str]:
    """Lines below those of a program."""
    for name, cost in row.references.items():
        yield f"{'':<{width + 19}}   {name:<18}{cost * 1e6:>10,.2f}{cost / row.hubbub:>8.2f}  reference"


def arguments() -> argparse.Namespace:
    """The command line, checked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hubbub", required=True, help="the Python of an environment with hubbub")
    parser.add_argument("--gevent", required=True, help="the Python of an environment with gevent")
    parser.add_argument("--before", help="the Python of an environment with the hubbub to compare with")
    for library in ("uvloop", "trio"):
        parser.add_argument(f"--{library}", help=f"the Python of an environment with {library}, for reference")
    parser.add_argument("--rounds", type=int, help="runs of each contestant (default: 5; quick: 1)")
    parser.add_argument("--loop", action="append", default=[], help="only on this loop of hubbub's (default: all)")
    parser.add_argument(
        "--quick",
        action="store_true",
        help=f"a tenth of the operations {REPEAT} times in one process, one size, the native loop libev",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there, too")
    parser.add_argument("programs", nargs="*", metavar="PROGRAM", help=f"of {', '.join(programs())} (default: all)")
    given = parser.parse_args()
    if unknown := set(given.programs) - set(programs()):
        parser.error(f"no such program: {', '.join(sorted(unknown))}; there are {', '.join(programs())}")
    given.rounds = given.rounds or (1 if given.quick else 5)
    given.loop = given.loop or (["libev"] if given.quick else [])
    return given


@contextmanager
def compiled_once() -> Iterator[None]:
    """Where bytecode is not to be written, have it in a temporary folder, or each process compiles all modules anew."""
    with tempfile.TemporaryDirectory() as folder:
        if os.environ.pop("PYTHONDONTWRITEBYTECODE", ""):
            os.environ["PYTHONPYCACHEPREFIX"] = folder
        yield


@compiled_once()
def main() -> None:
    """Runs what the arguments ask for and prints a table."""
    given = arguments()
    compared = pairs(given.hubbub, given.gevent, given.loop)
    todo = list(works(given.programs or programs(), given.quick))
    width = max(len(work.name) for work in todo) + 2
    colours = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    peers = {"asyncio": given.hubbub, "uvloop": given.uvloop, "trio": given.trio}
    there = {library: python for library, python in peers.items() if python}
    if shutil.which("cc"):
        there["c"] = given.hubbub  # whose program has it compiled
    runs = given.rounds * REPEAT if given.quick else given.rounds
    print(f"CPU microseconds (or bytes) per operation, the least of {runs} runs; ratio: the other's / hubbub's\n")
    before = f"{'before':>12}{'ratio':>8}" if given.before else ""
    print(f"{'program':<{width}}{'loop':<9}{'hubbub':>10}   {'rival':<18}{'gevent':>10}{'ratio':>8}{before}")
    rows = []
    for work in todo:
        fresh = list(compare(work, compared, given.before, given.rounds, there))
        for row in fresh:
            print(shown(row, work.name, width, colours), flush=True)
        for line in shown_references(fresh[0], width):
            print(line, flush=True)
        rows += fresh
    slower = sum(row.slower for row in rows)
    print(f"\n{len(rows)} rows, {slower} of them slower")
    if given.json:
        given.json.write_text(json.dumps([{**asdict(row), "slower": row.slower} for row in rows], indent=1) + "\n")


if __name__ == "__main__":
    main()
