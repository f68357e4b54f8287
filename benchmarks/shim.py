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
"""

from __future__ import annotations

import argparse
import importlib
import json
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

__all__ = ["Api", "main"]

NET = {"socket", "ssl", "select", "selectors"}


class Api:
    """Hubbub or gevent by the names they share."""

    def __init__(self, library: str) -> None:
        """``library`` is ``hubbub`` or ``gevent``."""
        self.library = library
        top = importlib.import_module(library)
        self.spawn: Callable[..., Any] = top.spawn
        self.sleep: Callable[[float], None] = top.sleep
        self.joinall: Callable[..., Any] = top.joinall

    def module(self, name: str) -> ModuleType:
        """A cooperative module by its last name, such as ``socket`` or ``queue``."""
        prefix = "hubbub_net" if self.library == "hubbub" and name in NET else self.library
        return importlib.import_module(f"{prefix}.{name}")


def main(run: Callable[[Api, int], None], operations: int) -> None:
    """Warms up, runs ``run(api, operations)`` once and prints its CPU seconds per operation as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("library", choices=["hubbub", "gevent"])
    parser.add_argument("--operations", type=int, default=operations)
    arguments = parser.parse_args()
    api = Api(arguments.library)
    api.sleep(0)  # there is a hub, as in every program that has greenlets
    run(api, max(1, arguments.operations // 10))
    before = time.process_time()
    run(api, arguments.operations)
    seconds = time.process_time() - before
    print(json.dumps({"seconds": seconds / arguments.operations}))
