"""Core does in Python what accelerators do in C."""

from __future__ import annotations

import faulthandler
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hubbub import plugins

from tools import twins

PARTS = 8
LIMIT = 900 if "HUBBUB_STRESS_SEEDS" not in os.environ else 1700
"""Seconds for a part: it takes half a minute on a machine of its own, and each test in it has a time limit already."""
LOOPS = plugins.names(plugins.LOOPS) if "HUBBUB_STRESS_SEEDS" in os.environ else ("stdlib",)
"""All of them in ``./do stress``: without accelerators the loops differ in what the library does alone."""


def part_of_the_rooms(core: Path, number: int) -> list[Path]:
    """Every eighth of the test files, by their size: all parts take about as long."""
    by_size = sorted(twins.rooms(core), key=lambda path: path.stat().st_size)
    return by_size[number::PARTS]


@pytest.mark.timeout(LIMIT + 50)
@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("part", range(PARTS))
def test_core_without_accelerators(root: Path, part: int, loop: str) -> None:
    """The tests of what has methods in C pass with HUBBUB_ACCELERATORS=0, as they do with these."""
    files = part_of_the_rooms(root / "packages" / "core", part)
    assert files
    faulthandler.cancel_dump_traceback_later()  # pytest's, for this test: it would come much earlier
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--hubbub-loop={loop}", *map(str, files)],
        env=os.environ | {"HUBBUB_ACCELERATORS": "0"},
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
