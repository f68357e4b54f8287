"""The tests of several packages side by side: most tests wait, or use one core."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Outcome", "at_once", "largest_first", "side_by_side"]


@dataclass(frozen=True)
class Outcome:
    """How one of the commands ended."""

    name: str
    status: int
    output: str
    seconds: float


def at_once() -> int:
    """How many packages are tested at a time: two where there are two cores; ``HUBBUB_TESTS_AT_ONCE`` says otherwise.

    :raises ValueError: the variable is no number, or less than one.
    """
    text = os.environ.get("HUBBUB_TESTS_AT_ONCE", "")
    if text:
        if not text.isdecimal() or int(text) < 1:
            raise ValueError(f"HUBBUB_TESTS_AT_ONCE is how many packages to test at a time, 1 or more, not {text!r}")
        return int(text)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, 2)


def largest_first(folders: Sequence[Path]) -> list[Path]:
    """Folders of tests in an order in which the last to end has begun early."""
    return sorted(folders, key=lambda folder: -sum(path.stat().st_size for path in folder.rglob("test_*.py")))


def side_by_side(commands: Mapping[str, Sequence[str]], limit: int, tell: Callable[[Outcome], None]) -> list[Outcome]:
    """Runs the commands, so many at a time, in their order; ``tell`` hears of each when it has ended.

    :returns: all outcomes, in the order of the commands.
    """
    with ThreadPoolExecutor(limit) as executor:
        running = {executor.submit(_run, name, command): name for name, command in commands.items()}
        found = {}
        try:
            for future in as_completed(running):
                outcome = future.result()
                found[outcome.name] = outcome
                tell(outcome)
        except BaseException:  # Ctrl-C, above all: what has not begun does not
            executor.shutdown(wait=False, cancel_futures=True)
            raise
    return [found[name] for name in commands]


def _run(name: str, command: Sequence[str]) -> Outcome:
    began = time.monotonic()
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    )
    return Outcome(name, done.returncode, done.stdout, time.monotonic() - began)
