"""``python -m hubbub_monkey``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

Python = Callable[..., Any]

SCRIPT = """
import sys, time
import hubbub.time
print(__name__, sys.argv, time.sleep is hubbub.time.sleep)
"""


def test_script(python: Python, tmp_path: Path) -> None:
    """A script runs as __main__ with its own arguments, options among them, on patched modules."""
    (tmp_path / "tool.py").write_text(SCRIPT)
    done = python("", "-m", "hubbub_monkey", "tool.py", "--no-time", "-x")
    assert done.stdout == "__main__ ['tool.py', '--no-time', '-x'] True\n"


def test_module(python: Python, tmp_path: Path) -> None:
    """-m runs a module."""
    (tmp_path / "tool.py").write_text(SCRIPT)
    done = python("", "-m", "hubbub_monkey", "-m", "tool", "-m")
    assert done.stdout == f"__main__ ['{tmp_path / 'tool.py'}', '-m'] True\n"


def test_leave_out(python: Python, tmp_path: Path) -> None:
    """--no-NAME leaves a module alone."""
    (tmp_path / "tool.py").write_text(SCRIPT)
    assert python("", "-m", "hubbub_monkey", "--no-time", "tool.py").stdout == "__main__ ['tool.py'] False\n"


def test_script_folder(python: Python, tmp_path: Path) -> None:
    """The script's folder comes first on the module path."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "beside.py").write_text("print('beside')\n")
    (tmp_path / "sub" / "tool.py").write_text("import beside\n")
    assert python("", "-m", "hubbub_monkey", "sub/tool.py").stdout == "beside\n"


def test_report(python: Python, tmp_path: Path) -> None:
    """--report prints what was replaced to stderr."""
    (tmp_path / "tool.py").write_text("")
    done = python("", "-m", "hubbub_monkey", "--report", "tool.py")
    assert "time.sleep: time.sleep -> hubbub.time.sleep" in done.stderr
    assert done.stdout == ""


def test_exit_status(python: Python, tmp_path: Path) -> None:
    """The exit status is the script's."""
    (tmp_path / "tool.py").write_text("raise SystemExit(7)\n")
    python("", "-m", "hubbub_monkey", "tool.py", status=7)


def test_nothing_to_run(python: Python) -> None:
    """Without a script the command says what it needs; its help lists the modules."""
    assert "nothing to run" in python("", "-m", "hubbub_monkey", status=2).stderr
    help_text = python("", "-m", "hubbub_monkey", "--help").stdout
    assert "--no-socket" in help_text
    assert "--no-time" in help_text


def test_no_such_script(python: Python) -> None:
    """A script that does not exist is said in one line, before anything is patched."""
    for option in ("--report", "--check"):
        done = python("", "-m", "hubbub_monkey", option, "nosuch.py", status=2)
        assert done.stderr.splitlines()[-1] == "python -m hubbub_monkey: error: there is no file 'nosuch.py'"
        assert done.stdout == ""


def test_unknown_option(python: Python) -> None:
    """An unknown option is an error, not a script's name."""
    assert "--no-scoket" in python("", "-m", "hubbub_monkey", "--no-scoket", "x.py", status=2).stderr
