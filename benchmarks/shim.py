"""What a benchmark needs to run on hubbub and on gevent alike.

A benchmark is a file beside this one::

    from shim import Api, main

    OPERATIONS = 10_000

    def run(api: Api, operations: int) -> None:
        for _ in range(operations):
            api.spawn(int).join()

    if __name__ == "__main__":
        main(run, OPERATIONS)

``run.py`` finds it by itself. Run alone, ``python spawn_join.py hubbub`` prints its CPU time.

A benchmark that has to set something up returns the CPU seconds of what counts; else all that ``run`` takes counts.

A benchmark whose cost depends on how many greenlets or connections there are has ``SIZES = (100, 1_000)``, the usual
one first, passes it to ``main``, and finds in ``api.size`` which one is meant.
"""

from __future__ import annotations

import argparse
import importlib
import json
import resource
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

__all__ = ["Api", "main", "memory"]

NET = {"socket", "ssl", "select", "selectors"}


class Api:
    """Hubbub or gevent by the names they share."""

    def __init__(self, library: str, size: int = 0) -> None:
        """``library`` is ``hubbub`` or ``gevent``."""
        self.library = library
        self.size = size
        self.wsgi = "hubbub_server.wsgi" if library == "hubbub" else "gevent.pywsgi"
        top = importlib.import_module(library)
        self.spawn: Callable[..., Any] = top.spawn
        self.sleep: Callable[[float], None] = top.sleep
        self.joinall: Callable[..., Any] = top.joinall

    def module(self, name: str) -> ModuleType:
        """A cooperative module by its last name, such as ``socket`` or ``queue``."""
        prefix = "hubbub_net" if self.library == "hubbub" and name in NET else self.library
        return importlib.import_module(f"{prefix}.{name}")


def _begin(operations: int, sizes: Sequence[int]) -> tuple[Api, int, int]:
    """What the command line asks for, with a hub, as in every program that has greenlets: and how much, how often."""
    parser = argparse.ArgumentParser()
    parser.add_argument("library", choices=["hubbub", "gevent"])
    parser.add_argument("--operations", type=int, default=operations)
    parser.add_argument("--size", type=int, default=sizes[0] if sizes else 0)
    parser.add_argument("--repeat", type=int, default=1)
    given = vars(parser.parse_args())
    api = Api(given["library"], given["size"])
    api.sleep(0)
    return api, max(given["operations"], given["size"]), given["repeat"]


def main(run: Callable[[Api, int], float | None], operations: int, sizes: Sequence[int] = ()) -> None:
    """Warms up, runs ``run(api, operations)`` and prints its CPU seconds per operation as JSON: the least, if it is run
    several times."""
    api, count, repeat = _begin(operations, sizes)
    run(api, max(1, count // 10))
    costs = []
    for _ in range(repeat):
        before = time.process_time()
        took = run(api, count)
        costs.append(time.process_time() - before if took is None else took)
    print(json.dumps({"seconds": min(costs) / count}))


def memory(run: Callable[[Api, int], object], operations: int) -> None:
    """Runs ``run(api, operations)`` and prints by how many bytes, per operation, the process has grown, as JSON.

    What ``run`` returns is kept until then. It is run once: what is freed does not shrink a process.
    """
    api, count, _ = _begin(operations, ())
    run(api, 10)
    before = _resident()
    kept = run(api, count)
    grown = _resident() - before
    del kept
    print(json.dumps({"bytes": grown / count}))


def _resident() -> int:
    """Bytes of the process that are in memory (proc_pid_statm(5))."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
