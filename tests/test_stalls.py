"""The plugin under which the process stands still."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path


def test_a_test_that_leans_on_time_fails(root: Path, tmp_path: Path) -> None:
    """The process stands still between the statements of tests, and a test that fails for it says where."""
    folder = tmp_path / "tests"
    folder.mkdir()
    (folder / "test_quick.py").write_text(
        "import time\n\ndef test_quick():\n    begun = time.monotonic()\n"
        + "    later = lambda: begun + 0.01\n" * 40
        + "    assert time.monotonic() < later()\n"
    )
    options = ["-q", "-p", "tools.stalls", "-p", "no:cacheprovider", "-c", str(root / "pyproject.toml")]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(folder)], cwd=root, capture_output=True, text=True, timeout=150
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "1 failed" in done.stdout
    assert "the process stood still" in done.stdout
    assert re.search(r"^test_quick\.py:\d+ for \d\d ms$", done.stdout, re.MULTILINE)
