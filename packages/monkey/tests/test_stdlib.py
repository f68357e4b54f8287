"""What the patches of core and of this package do to the standard library, in processes of their own."""

from __future__ import annotations

from collections.abc import Callable
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
