"""Patching from outside: the environment, pytest's option, and the check of a script."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Python = Callable[..., Any]

SHOW = "import time, socket, hubbub_monkey as m; print(m.is_module_patched('time'), m.is_module_patched('socket'))"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("1", "True True"),
        ("time", "True False"),
        ("socket, time", "True True"),
        ("0", "False False"),
        ("", "False False"),
    ],
)
def test_environment(python: Python, value: str, shown: str) -> None:
    """HUBBUB_MONKEY patches at the start of the interpreter: everything, what it names, or nothing."""
    assert python("", "-c", SHOW, HUBBUB_MONKEY=value).stdout == f"{shown}\n"


def test_environment_of_children(python: Python) -> None:
    """With HUBBUB_MONKEY child processes are patched too."""
    source = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {SHOW!r}], check=True)"
    assert python("", "-c", source, HUBBUB_MONKEY="1").stdout == "True True\n"


def test_environment_unused(python: Python) -> None:
    """Without the variable nothing of hubbub is imported at the start but what looks for the variable."""
    source = "import sys; print([name for name in sys.modules if name.startswith('hubbub')])"
    done = python("", "-c", source, HUBBUB_MONKEY="")
    assert {name for name in eval(done.stdout) if not name.endswith("_start")} == set()


def test_wrong_environment(python: Python) -> None:
    """A name that nobody knows is reported, and the interpreter goes on unpatched."""
    done = python("", "-c", SHOW, HUBBUB_MONKEY="time,soket")
    assert "no patch is called 'soket'" in done.stderr
    assert done.stdout == "False False\n"


CONFTEST = "from time import sleep\n"
TEST = """
import conftest, hubbub.time
def test_early():
    assert conftest.sleep is hubbub.time.sleep
"""


def test_pytest_option(python: Python, tmp_path: Path) -> None:
    """--hubbub-monkey patches before the first conftest is imported, and pytest's header says so."""
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_early.py").write_text(TEST)
    done = python("", "-m", "pytest", "--hubbub-monkey", "test_early.py")
    assert "1 passed" in done.stdout
    assert "hubbub-monkey: " in done.stdout


def test_pytest_under_the_environment(python: Python, tmp_path: Path) -> None:
    """Under HUBBUB_MONKEY pytest has nothing to warn of, even where warnings are errors."""
    (tmp_path / "test_nothing.py").write_text("def test_nothing(): pass\n")
    options = ["-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider"]
    done = python("", *options, cwd=tmp_path, HUBBUB_MONKEY="1")
    assert "1 passed" in done.stdout, done.stdout + done.stderr
    assert "warning" not in done.stdout


def test_pytest_without(python: Python, tmp_path: Path) -> None:
    """Without the option pytest runs unpatched."""
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_early.py").write_text(TEST)
    done = python("", "-m", "pytest", "test_early.py", status=1)
    assert "hubbub-monkey:" not in done.stdout


LATE = """import early
import sys
import hubbub_monkey
print("before")
hubbub_monkey.patch_all()
print("after")
"""


def test_check(python: Python, tmp_path: Path) -> None:
    """--check runs a script up to its patch_all, prints the report, and names what came too early and what to move."""
    (tmp_path / "early.py").write_text("import os\nfrom time import sleep\n")
    (tmp_path / "late.py").write_text(LATE)
    said = python("", "-m", "hubbub_monkey", "--check", "late.py", status=1).stdout
    assert said.startswith("before\n")
    assert "after" not in said
    assert "late.py:5\n" in said
    assert f"too late: {tmp_path / 'early.py'}:2: early holds time.sleep as sleep" in said
    assert "move that call before the import of early" in said


def test_check_good(python: Python, tmp_path: Path) -> None:
    """--check of a script that patches first ends well."""
    (tmp_path / "good.py").write_text("import hubbub_monkey\nhubbub_monkey.patch_all()\nfrom time import sleep\n")
    said = python("", "-m", "hubbub_monkey", "--check", "good.py").stdout
    assert "patched time (hubbub)" in said
    assert "too late: " not in said


def test_check_unpatched(python: Python, tmp_path: Path) -> None:
    """--check of a script that never patches says so."""
    (tmp_path / "never.py").write_text("raise SystemExit(3)\n")
    assert "nothing was patched" in python("", "-m", "hubbub_monkey", "--check", "never.py", status=1).stdout
