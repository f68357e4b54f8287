"""Running programs in processes where ``import gevent`` means hubbub."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def program(tmp_path: Path) -> Callable[..., list[str]]:
    """Runs a program with the facade in place, as the environment variable puts it there; the lines it printed."""

    def run(source: str, **environment: str) -> list[str]:
        script = tmp_path / "program.py"
        script.write_text(textwrap.dedent(source))
        done = subprocess.run(
            [sys.executable, str(script)],
            capture_output=True,
            text=True,
            timeout=50,
            cwd=tmp_path,
            env={**os.environ, "HUBBUB_GEVENT": "1", **environment},
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    return run


@pytest.fixture
def on_loop(program: Callable[..., list[str]], loop_name: str) -> Callable[..., list[str]]:
    """The same, on each loop."""

    def run(source: str, **environment: str) -> list[str]:
        return program(source, HUBBUB_LOOP=loop_name, **environment)

    return run
