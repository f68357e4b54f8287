"""A web server and 500 crawlers in one process, on every installed loop, ending with a table.

Each loop gets a process of its own, which runs ``crawl.py`` with a patched standard library. The exit status is 0 only
if every page arrived as it is on disk.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hubbub import plugins
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

LOOPS = ("stdlib", "libev", "libuv")
CRAWL = Path(__file__).with_name("crawl.py")
LIMIT = 60.0  # seconds that one loop may take
SHOWN = 20  # failures that are printed per loop


@dataclass
class Outcome:
    """What one loop's process said."""

    loop: str
    result: dict[str, Any] | None = None
    failures: list[tuple[str, str]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether it ended, and every page was right."""
        return self.result is not None and not self.failures and not self.errors


@contextmanager
def worker(loop: str, arguments: list[str], log: Any) -> Iterator[subprocess.Popen[str]]:
    """The process of one loop; it has ended when the block ends, however that comes about."""
    process = subprocess.Popen(
        [sys.executable, "-m", "hubbub_monkey", str(CRAWL), *arguments],
        env={**os.environ, "HUBBUB_LOOP": loop},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def run(loop: str, arguments: list[str], progress: Progress) -> Outcome:
    """Run one loop and follow it."""
    outcome = Outcome(loop)
    bar = progress.add_task(loop, total=None)
    with tempfile.TemporaryFile("w+") as log, worker(loop, arguments, log) as process:
        expired = threading.Event()

        def expire() -> None:
            expired.set()
            process.kill()

        limit = threading.Timer(LIMIT, expire)
        limit.start()
        try:
            for line in process.stdout or ():
                note(json.loads(line), outcome, progress, bar)
            status = process.wait()
        finally:
            limit.cancel()
            progress.stop_task(bar)
        log.seek(0)
        said = log.read().strip()
    if expired.is_set():
        outcome.errors.append(f"not finished after {LIMIT:.0f} s")
    if outcome.result is None and not outcome.errors:
        outcome.errors.append(f"ended with status {status} before the crawl was over")
    if said:
        outcome.errors.append(said)
    return outcome


def note(fact: dict[str, Any], outcome: Outcome, progress: Progress, bar: Any) -> None:
    """Take in one line of a worker."""
    match fact["event"]:
        case "start":
            progress.update(bar, total=fact["total"])
        case "progress":
            progress.update(bar, completed=fact["done"])
        case "failure":
            outcome.failures.append((fact["url"], fact["reason"]))
        case "error":
            outcome.errors.append(fact["text"])
        case "end":
            progress.update(bar, completed=fact["requests"])
            outcome.result = fact


def table(outcomes: list[Outcome]) -> Table:
    """The results side by side."""
    crawlers = max((outcome.result["at_once"] for outcome in outcomes if outcome.result), default=0)
    view = Table(title=f"Crawling the standard library's sources, {crawlers} requests at once")
    view.add_column("loop", no_wrap=True)
    for heading in ("requests", "failures", "req/s", "p50 ms", "p99 ms", "peak MiB", "switches"):
        view.add_column(heading, justify="right", no_wrap=True)
    for outcome in outcomes:
        result = outcome.result
        if result is None:
            view.add_row(outcome.loop, *["-"] * 7)
            continue
        view.add_row(
            outcome.loop,
            str(result["requests"]),
            str(result["failures"]),
            f"{result['rate']:.0f}",
            f"{result['p50'] * 1000:.1f}",
            f"{result['p99'] * 1000:.1f}",
            f"{result['memory'] / 2**20:.0f}",
            str(result["switches"]),
        )
    return view


def complain(outcome: Outcome, console: Console) -> None:
    """Name what went wrong on one loop."""
    for url, reason in outcome.failures[:SHOWN]:
        console.print(f"{outcome.loop}: {url}: {reason}", markup=False, highlight=False, soft_wrap=True)
    if len(outcome.failures) > SHOWN:
        console.print(f"{outcome.loop}: and {len(outcome.failures) - SHOWN} more", markup=False)
    for text in outcome.errors:
        console.print(f"{outcome.loop}: {text}", markup=False, highlight=False, soft_wrap=True)


def choose(wanted: list[str] | None, console: Console) -> list[str]:
    """The loops to run: those asked for, or all that are installed."""
    installed = plugins.names(plugins.LOOPS)
    if wanted:
        for name in wanted:
            if name not in installed:
                package = plugins.provider(plugins.LOOPS, name)
                advice = f"; pip install {package}" if package else ""
                raise SystemExit(f"demo: no loop {name!r}; installed are: {', '.join(installed)}{advice}")
        return wanted
    for name in LOOPS:
        if name not in installed:
            console.print(f"loop {name} is left out: {plugins.provider(plugins.LOOPS, name)} is not installed")
    return [*(name for name in LOOPS if name in installed), *(name for name in installed if name not in LOOPS)]


def main() -> int:
    """Run the demonstration; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--loop", action="append", help="only this one; may be given several times")
    own, others = parser.parse_known_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    console = Console()
    columns = (TextColumn("{task.description:>8}"), BarColumn(None), MofNCompleteColumn(), TimeElapsedColumn())
    outcomes = []
    loops = choose(own.loop, console)
    with Progress(*columns, console=console) as progress:
        for loop in loops:
            outcomes.append(run(loop, others, progress))
    console.print(table(outcomes))
    complaints = Console(stderr=True)
    for outcome in outcomes:
        complain(outcome, complaints)
    return 0 if all(outcome.good for outcome in outcomes) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
