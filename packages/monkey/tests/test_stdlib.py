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


HELD = """
import importlib, pkgutil, sys
if sys.argv[1:]:
    import hubbub_monkey
    hubbub_monkey.patch_all()
for top in ("hubbub", "hubbub_net"):
    for found in pkgutil.walk_packages(importlib.import_module(top).__path__, f"{top}."):
        if "._pyinstaller" not in found.name:  # for PyInstaller only
            importlib.import_module(found.name)
for name, module in sorted(sys.modules.items()):
    if name.partition(".")[0] in ("hubbub", "hubbub_net"):
        for key, value in sorted(vars(module).items()):
            if callable(value):
                print(name, key, getattr(value, "__module__", ""), getattr(value, "__qualname__", ""))
"""


def test_originals(python: Python, tmp_path: Path) -> None:
    """Modules of hubbub that are imported only after patching have the same originals as those imported before it."""
    early = python(HELD).stdout.splitlines()
    assert len(early) > 500
    late = python("", str(tmp_path / "script.py"), "late").stdout.splitlines()
    assert sorted(set(late) ^ set(early)) == []
