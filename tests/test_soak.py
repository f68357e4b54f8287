"""The programs of ``./do soak``, for some seconds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAMS = sorted((Path(__file__).parent.parent / "soak").glob("*.py"))


@pytest.mark.timeout(200)
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.stem)
def test_nothing_grows(program: Path, loop_name: str) -> None:
    """Whatever is done at random, beside kills and time limits, nothing is lost, and nothing is left afterwards."""
    done = subprocess.run(
        [sys.executable, str(program), "--minutes", "0.07", "--seed", "1", "--loop", loop_name],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    # In so short a time the server's workers may not be counted often enough to tell what grows.
    ends = ("flat", "nothing was lost") if program.stem in ("server", "crowd") else "flat"
    assert done.stdout.rstrip().endswith(ends)
