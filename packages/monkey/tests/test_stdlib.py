"""What the patches of core and of this package do to the standard library, in processes of their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

Python = Callable[..., Any]
FIRST = "import hubbub_monkey\nhubbub_monkey.patch_all()\n"


def test_sleep(python: Python) -> None:
    """time.sleep refuses what it refuses unpatched."""
    source = """
import time
for seconds in (-1, float("nan"), None):
    try: time.sleep(seconds)
    except (ValueError, TypeError) as error: print(type(error).__name__)
"""
    assert python(FIRST + source).stdout.split() == ["ValueError", "ValueError", "TypeError"]


def test_functions_of_signal(python: Python) -> None:
    """Functions of the signal module say that they belong to it."""
    source = """
import inspect, signal
print({value.__module__ for value in vars(signal).values() if inspect.isfunction(value)} - {"enum"})
print(signal.set_wakeup_fd.__doc__ is not None, signal.set_wakeup_fd(-1))
"""
    assert python(FIRST + source).stdout.splitlines() == ["{'signal'}", "True -1"]


LATE = "wait = wait_c = print\ndef wait_poll(): pass\n"
SHOW = "import psycopg.waiting as w; print(w.wait is w.wait_poll)\n"


def fake_psycopg(folder: Path) -> None:
    """Stands for psycopg 3 with its accelerator; the real one is tried by ./do integration."""
    (folder / "psycopg").mkdir()
    (folder / "psycopg" / "__init__.py").write_text("import psycopg.waiting\n")
    (folder / "psycopg" / "waiting.py").write_text(LATE)


def test_psycopg(python: Python, tmp_path: Path) -> None:
    """psycopg 3 is told to wait in Python when it is imported, and is not imported for that."""
    fake_psycopg(tmp_path)
    assert python(FIRST + "import sys; print('psycopg' in sys.modules)\n" + SHOW).stdout.split() == ["False", "True"]


def test_psycopg_before(python: Python, tmp_path: Path) -> None:
    """The same if it was imported before; unpatch_all puts back what was there, and looks at imports no more."""
    fake_psycopg(tmp_path)
    early = "import sys; before = list(sys.meta_path); import psycopg\n"
    undo = "hubbub_monkey.unpatch_all(); print(before == sys.meta_path)\n"
    assert python(early + FIRST + SHOW + undo + SHOW).stdout.split() == ["True", "True", "False"]
    assert python("import sys; before = list(sys.meta_path)\n" + FIRST + SHOW + undo + SHOW).stdout.split() == [
        "True",
        "True",
        "False",
    ]


def test_psycopg_left(python: Python, tmp_path: Path) -> None:
    """psycopg=False leaves it alone."""
    fake_psycopg(tmp_path)
    assert python("import hubbub_monkey\nhubbub_monkey.patch_all(psycopg=False)\n" + SHOW).stdout == "False\n"
