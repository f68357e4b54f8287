"""The accelerator and the event loop that it is made for."""

from __future__ import annotations

import ast
import hashlib
import inspect
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hubbub
import hubbub_asyncio
import pytest
from hubbub_asyncio import acceleration
from hubbub_asyncio_speed import asyncio_methods
from hubbub_asyncio_speed._extension import extension

NATIVE = Path(__file__).parent.parent / "src" / "hubbub_asyncio_speed" / "native"
DIGESTS = Path(__file__).with_name("twins.txt")
"""A line for each method that has a twin in C: the C file, its name, and a digest of its source when the two were last
compared."""


def digest(function: Callable[..., Any]) -> str:
    """Of the source without what changes nothing: decorators, lines of comment, the docstring."""
    text = textwrap.dedent(inspect.getsource(function))
    (definition,) = ast.parse(text).body
    assert isinstance(definition, ast.FunctionDef)
    lines = text.splitlines()
    first = definition.body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
        assert first.end_lineno is not None
        lines[first.lineno - 1 : first.end_lineno] = []
    code = [line.rstrip() for line in lines[definition.lineno - 1 :] if not re.fullmatch(r"\s*(#.*)?", line)]
    return hashlib.sha256("\n".join(code).encode()).hexdigest()[:12]


def entries() -> dict[str, str]:
    """What twins.txt should say, by the full name of a method."""
    names = {function: f"{function.__module__}.{function.__qualname__}" for function in acceleration.TWINS}
    return {names[f]: f"{source} {names[f]} {digest(f)}" for f, source in acceleration.TWINS.items()}


def test_a_changed_method_is_held_against_c() -> None:
    """A change of a method that has a twin is an error that names the C file, until twins.txt has the new digest."""
    written = {line.split()[1]: line for line in DIGESTS.read_text().splitlines()}
    now = entries()
    changed = [
        f"{name} is not as it was: does {line.split()[0]} still do the same? Then write into {DIGESTS.name}:\n{line}"
        for name, line in now.items()
        if written.get(name) != line
    ]
    gone = [f"{name} has no twin any more: take it out of {DIGESTS.name}" for name in written if name not in now]
    assert not changed + gone, "\n".join(changed + gone)


@pytest.mark.skipif(not NATIVE.exists(), reason="the C files are not part of a wheel")
def test_the_files_are_there() -> None:
    """Each C file that the event loop names exists."""
    assert {path.name for path in NATIVE.glob("*.c")} >= set(acceleration.TWINS.values())


def test_all_twins() -> None:
    """What is marked is replaced, and nothing else."""
    methods = asyncio_methods(acceleration.PARTS)
    assert methods is not None
    found = {f"{cls.__module__}.{cls.__qualname__}.{name}" for cls, name in methods}
    assert found == {f"{function.__module__}.{function.__qualname__}" for function in acceleration.TWINS}


@pytest.mark.parametrize("built", [acceleration.LAYOUT - 1, acceleration.LAYOUT + 1])
def test_another_layout(monkeypatch: pytest.MonkeyPatch, built: int) -> None:
    """What was compiled for another layout, older or newer, is told from it, and Python's methods stay."""
    monkeypatch.setattr(extension, "LAYOUT", built)
    acceleration.slow_down()
    with pytest.warns(RuntimeWarning, match=rf"\(layout {built}, not {acceleration.LAYOUT}\): its event loop runs in"):
        assert not acceleration.accelerate()


def test_off() -> None:
    """The setting that switches accelerators off leaves this one aside, too."""
    acceleration.slow_down()
    hubbub.configure(accelerators=False)
    try:
        hubbub_asyncio.new_event_loop().close()
        assert inspect.isfunction(hubbub_asyncio.HubEventLoop.call_soon)
    finally:
        hubbub.configure(accelerators=None)
    hubbub_asyncio.new_event_loop().close()
    assert not inspect.isfunction(hubbub_asyncio.HubEventLoop.call_soon)


def test_a_missing_part() -> None:
    """An event loop that lacks a part, or a slot, is refused with its name."""
    code = (
        "import warnings; warnings.simplefilter('always')\n"
        "import hubbub_asyncio; from hubbub_asyncio.acceleration import PARTS; from hubbub_asyncio_speed import *\n"
        "wrong = [dict(PARTS, Watch=type('Watch', (), {'_queued': 1})), dict(PARTS, PlainHandle=1)]\n"
        "for name in sorted(set(PARTS) - {'layout'}):\n"
        "    wrong.append({key: part for key, part in PARTS.items() if key != name})\n"
        "for parts in wrong:\n"
        "    with warnings.catch_warnings(record=True) as seen:\n"
        "        assert asyncio_methods(parts) is None\n"
        "    print(str(seen[0].message).partition('(')[2].partition(')')[0])\n"
        "print(len(asyncio_methods(PARTS)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50, check=True)
    slot, kind, *missing, last = done.stdout.splitlines()
    assert slot.endswith("has no slot _queued")
    assert kind == "PlainHandle is not a class"
    assert missing == [f"{name} is missing" for name in sorted(set(acceleration.PARTS) - {"layout"})]
    assert int(last) == len(acceleration.TWINS)


if __name__ == "__main__":
    acceleration.slow_down()
    DIGESTS.write_text("".join(f"{line}\n" for line in sorted(entries().values())))
