"""The page that people see first."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import hubbub

README = Path(__file__).resolve().parent.parent / "README.md"


def test_the_examples_of_the_readme_run(hub: hubbub.Hub) -> None:
    """What the README shows is what happens."""
    result = doctest.testfile(str(README), module_relative=False)
    assert result.attempted > 10
    assert result.failed == 0


def test_the_other_snippets_compile() -> None:
    """Snippets that need a network are at least Python."""
    snippets = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert snippets
    for snippet in snippets:
        compile(snippet, str(README), "exec")
