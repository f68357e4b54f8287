"""The frame of a soak: many greenlets do random deeds for minutes; nothing may grow meanwhile.

A program lists its deeds, functions of a :class:`random.Random`, each of which ends within seconds and leaves nothing
behind, and calls :meth:`Soak.main`. Now and then all deeds are finished and everything is counted. What there is after
the warm-up, a third of the time, must be there at the end, and no more.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from typing import Any

import hubbub
from hubbub import inspect
from hubbub.lowlevel import get_hub

from support.census import Census, kinds

__all__ = ["Soak"]

Deed = Callable[[random.Random], object]

_PATIENCE = 30.0
"""Seconds that a deed may take."""
_COUNTS = 12
_TOLERANCE = {"objects": 400, "greenlets": 2, "threads": 12, "descriptors": 8, "kilobytes": 8192}
"""How much more there may be at the end. Idle threads of pools come and go, each with its hub's descriptors."""


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--loop", help="the loop to run on; default: the first that is installed")
    return parser.parse_args()


class Soak:
    """The deeds of one program."""

    def __init__(self, greenlets: int = 24) -> None:
        """Read the arguments of the process. Make it before anything that makes a hub.

        :param greenlets: how many do deeds at the same time.
        """
        self._options = _arguments()
        if self._options.loop:
            hubbub.configure(loop=self._options.loop)
        self._count = greenlets
        self._deeds: list[tuple[Deed, int]] = []
        self._done: Counter[str] = Counter()
        self._failures: list[str] = []
        self._reports: Counter[str] = Counter()
        self._expected: tuple[type[BaseException], ...] = ()

    def deed(self, weight: int = 10) -> Callable[[Deed], Deed]:
        """Decorate a function that is a deed, done in proportion to ``weight``."""

        def add(function: Deed) -> Deed:
            self._deeds.append((function, weight))
            return function

        return add

    def expect(self, *errors: type[BaseException]) -> None:
        """These may be reported to the hub: greenlets fail with them on purpose."""
        self._expected += errors

    def main(self) -> None:
        """Run as the arguments of the process say; exits with 1 if something grew, failed or hung."""
        options = self._options
        if options.loop and get_hub().loop.name != options.loop:
            raise SystemExit(f"a hub was made before --loop {options.loop} was read: {get_hub().loop!r}")
        print(f"seed {options.seed}, {get_hub().loop!r}", flush=True)
        hub: Any = get_hub()
        hub.handle_error = self._reported
        problems = self._run(options.minutes * 60, options.seed)
        self._tell(problems)
        sys.stdout.flush()
        os._exit(1 if problems else 0)  # what hangs must not keep the process

    # Running ---------------------------------------------------------------------------------------------------------

    def _run(self, seconds: float, seed: int) -> list[str]:
        begin = time.monotonic()
        counts: list[Census] = []
        before: Counter[str] = Counter()
        for number in range(_COUNTS):
            until = begin + seconds * (number + 1) / _COUNTS
            if not self._stretch(until, seed * _COUNTS + number):
                return ["a deed hangs:\n" + inspect.report()]
            hubbub.sleep(0.05)  # what the deeds have ended is over, too
            counts.append(Census.take(time.monotonic() - begin))
            print(counts[-1], flush=True)
            if number == _COUNTS // 3:
                before = kinds()
        return self._failures + self._growth(counts, before)

    def _stretch(self, until: float, seed: int) -> bool:
        """Deeds until a moment, and until all are finished. False: one hangs."""
        workers = [hubbub.spawn(self._work, random.Random(f"{seed}-{number}"), until) for number in range(self._count)]
        left = until - time.monotonic() + _PATIENCE
        return len(hubbub.joinall(workers, timeout=max(left, _PATIENCE))) == self._count

    def _work(self, chance: random.Random, until: float) -> None:
        deeds, weights = zip(*self._deeds, strict=True)
        while time.monotonic() < until:
            (deed,) = chance.choices(deeds, weights)
            try:
                deed(chance)
            except BaseException:
                self._failures.append(f"{deed.__name__} failed:\n{traceback.format_exc()}")
                return
            self._done[deed.__name__] += 1
            hubbub.sleep(0)

    def _reported(self, context: object, kind: object, error: object, tb: object) -> None:
        if isinstance(error, (*self._expected, hubbub.GreenletExit)):
            self._reports[type(error).__name__] += 1
        else:
            text = "".join(traceback.format_exception(error)) if isinstance(error, BaseException) else repr(error)
            self._failures.append(f"{context!r} failed:\n{text}")

    # Judging ---------------------------------------------------------------------------------------------------------

    def _growth(self, counts: list[Census], before: Counter[str]) -> list[str]:
        warm = counts[_COUNTS // 3 : 2 * _COUNTS // 3]
        late = counts[2 * _COUNTS // 3 :]
        problems = []
        for name, tolerance in _TOLERANCE.items():
            most = max(getattr(count, name) for count in warm)
            least = min(getattr(count, name) for count in late)
            if least > most + tolerance:
                problems.append(f"{name} grow: {most} at most after the warm-up, {least} at least at the end")
        more = kinds() - before
        print("more of: " + ", ".join(f"{kind} {count}" for kind, count in more.most_common(12)))
        return problems

    def _tell(self, problems: list[str]) -> None:
        deeds = ", ".join(f"{name} {count}" for name, count in sorted(self._done.items()))
        print(f"{sum(self._done.values())} deeds: {deeds}")
        print(f"failures on purpose: {dict(self._reports)}")
        idle = [deed.__name__ for deed, _ in self._deeds if not self._done[deed.__name__]]
        if idle:
            print(f"never done: {', '.join(idle)}")
        for problem in problems[:10]:
            print(problem)
        print("FAILED" if problems else "flat")
