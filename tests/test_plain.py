"""Core does in Python what accelerators do in C."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools import twins


@pytest.mark.timeout(1800)
def test_core_without_accelerators(root: Path) -> None:
    """The tests of what has methods in C pass on every loop with HUBBUB_ACCELERATORS=0, as they do with these."""
    rooms = map(str, twins.rooms(root / "packages" / "core"))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *rooms],
        env=os.environ | {"HUBBUB_ACCELERATORS": "0"},
        capture_output=True,
        text=True,
        timeout=1790,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
