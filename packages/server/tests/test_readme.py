"""The examples of the README."""

from __future__ import annotations

import doctest
from pathlib import Path
from typing import Any

README = Path(__file__).parent.parent / "README.md"


def test_readme(hub: Any) -> None:
    """What the README shows is what happens."""
    failed, tried = doctest.testfile(str(README), module_relative=False)
    assert tried > 15
    assert failed == 0
