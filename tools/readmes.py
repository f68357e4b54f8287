"""What a README, or a page, promises: what to install, and examples that run with nothing else."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

__all__ = ["blocks", "installs", "run"]

_BLOCK = re.compile(r"^```([^\n`]*)\n(.*?)^```", re.MULTILINE | re.DOTALL)

_RUN = """
import doctest, re, sys
text = re.sub("^```.*$", "", open(sys.argv[1], encoding="utf-8").read(), flags=re.MULTILINE)
test = doctest.DocTestParser().get_doctest(text, {"__name__": "__main__"}, sys.argv[1], sys.argv[1], 0)
runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL)
runner.run(test)
print("examples:", runner.tries, "failed:", runner.failures)
sys.exit(bool(runner.failures))
"""
"""Runs the examples of a text in one namespace, as the documentation's build does."""


def blocks(text: str, *kinds: str) -> list[str]:
    """The fenced blocks of a Markdown text that are of these kinds; ``""`` is a block without one."""
    return [code for kind, code in _BLOCK.findall(text) if kind in kinds]


def installs(text: str) -> list[str]:
    """The requirements that the text has its reader install with pip, in their order, each once."""
    found = []
    for block in blocks(text, "", "sh", "console"):
        for line in block.splitlines():
            command = line.removeprefix("$ ")
            if command.startswith("pip install "):
                words = shlex.split(command, comments=True)
                found += [word for word in words[2:] if not word.startswith("-")]
    return list(dict.fromkeys(found))


def run(path: Path) -> tuple[str, ...]:
    """Arguments for a Python that runs the examples of a README.

    :raises SyntaxError: an example that is only read is no Python.
    """
    for place, code in enumerate(blocks(path.read_text(), "python")):
        compile(code, f"{path}, example {place + 1}", "exec")
    return "-c", _RUN, str(path)
