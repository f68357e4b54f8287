"""Core does in Python what accelerators do in C."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CORE = Path(__file__).parent.parent / "packages" / "core" / "tests"
# The tests of what has methods in C.
ROOMS = (
    "condition event hub identity inspect interruption io io_closing io_streams lock loop_random loop_stdlib models "
    "queue queue_failures readiness stray_switches timeout waitany"
)


@pytest.mark.timeout(400)
def test_core_without_accelerators() -> None:
    """The tests of core's hot rooms pass with HUBBUB_ACCELERATORS=0 as they do with everything that is installed."""
    files = [str(CORE / f"test_{room}.py") for room in ROOMS.split()]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--hubbub-loop=stdlib", *files],
        env=os.environ | {"HUBBUB_ACCELERATORS": "0"},
        capture_output=True,
        text=True,
        timeout=390,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
