"""The accelerator and the server that it is made for."""

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
import pytest
from hubbub_server import Limits, WSGIServer, acceleration
from hubbub_server.http.request import HeadParser
from hubbub_server_speed import usual
from hubbub_server_speed._extension import extension

NATIVE = Path(__file__).parent.parent / "src" / "hubbub_server_speed" / "native"
DIGESTS = Path(__file__).with_name("mirrors.txt")
"""A line for each method that C code follows: its C file, its name, and a digest of its source when the two were last
compared."""
MIRRORED = {**acceleration.MIRRORED, WSGIServer.serve_request: "response.c"}  # a server is not known where parts are


def digest(function: Callable[..., Any]) -> str:
    """Of the source without what changes nothing: lines of comment, the docstring."""
    text = textwrap.dedent(inspect.getsource(function))
    (definition,) = ast.parse(text).body
    assert isinstance(definition, ast.FunctionDef)
    lines = text.splitlines()
    first = definition.body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
        assert first.end_lineno is not None
        lines[first.lineno - 1 : first.end_lineno] = []
    code = [line.rstrip() for line in lines if not re.fullmatch(r"\s*(#.*)?", line)]
    return hashlib.sha256("\n".join(code).encode()).hexdigest()[:12]


def entries() -> dict[str, str]:
    """What mirrors.txt should say, by the full name of a method."""
    names = {function: f"{function.__module__}.{function.__qualname__}" for function in MIRRORED}
    return {names[f]: f"{source} {names[f]} {digest(f)}" for f, source in MIRRORED.items()}


def test_a_changed_method_is_held_against_c() -> None:
    """A change of what C code follows is an error that names the C file, until mirrors.txt has the new digest."""
    written = {line.split()[1]: line for line in DIGESTS.read_text().splitlines()}
    now = entries()
    changed = [
        f"{name} is not as it was: does {line.split()[0]} still do the same? Then write into {DIGESTS.name}:\n{line}"
        for name, line in now.items()
        if written.get(name) != line
    ]
    gone = [f"{name} is followed no more: take it out of {DIGESTS.name}" for name in written if name not in now]
    assert not changed + gone, "\n".join(changed + gone)


@pytest.mark.skipif(not NATIVE.exists(), reason="the C files are not part of a wheel")
def test_the_files_are_there() -> None:
    """Each C file that the server names exists."""
    assert {path.name for path in NATIVE.glob("*.c")} >= set(MIRRORED.values())


@pytest.mark.parametrize("built", [acceleration.LAYOUT - 1, acceleration.LAYOUT + 1])
def test_another_layout(monkeypatch: pytest.MonkeyPatch, built: int) -> None:
    """What was compiled for another layout, older or newer, is told from the server's, and requests are Python's."""
    monkeypatch.setattr(extension, "LAYOUT", built)
    with pytest.warns(
        RuntimeWarning, match=rf"\(layout {built}, not {acceleration.LAYOUT}\): requests are served in Python"
    ):
        assert usual(acceleration.PARTS) is None


def test_off() -> None:
    """The setting that switches accelerators off leaves this one aside, too."""
    assert acceleration.usual_maker() is not None
    hubbub.configure(accelerators=False)
    try:
        assert acceleration.usual_maker() is None
    finally:
        hubbub.configure(accelerators=None)


def test_a_missing_part() -> None:
    """A server that lacks a part, or a slot, is refused with its name."""
    code = (
        "import warnings; warnings.simplefilter('always')\n"
        "from hubbub_server import acceleration; from hubbub_server_speed import usual\n"
        "parts = dict(acceleration.PARTS, Clock=type('Clock', (), {'idle_deadline': 1}))\n"
        "wrong = [parts, *(acceleration.PARTS | {name: 1} for name in ('today', 'Socket'))]\n"
        "for name in sorted(set(acceleration.PARTS) - {'layout'}):\n"
        "    wrong.append({key: part for key, part in acceleration.PARTS.items() if key != name})\n"
        "for parts in wrong:\n"
        "    with warnings.catch_warnings(record=True) as seen:\n"
        "        assert usual(parts) is None\n"
        "    print(str(seen[0].message).partition('(')[2].partition(')')[0])\n"
        "print(usual(acceleration.PARTS))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50, check=True)
    slot, today, sock, *missing, last = done.stdout.splitlines()
    assert slot.endswith("has no slot idle_deadline")
    assert today == sock == "a part is not of the type that is expected"
    assert missing == [f"{name} is missing" for name in sorted(set(acceleration.PARTS) - {"layout"})]
    assert "Usual" in last


def test_arguments() -> None:
    """What is no parser, no connection or no head is refused at the door."""
    make = acceleration.usual_maker()
    assert make is not None
    with pytest.raises(AttributeError, match="limits"):
        make(None)  # type: ignore[arg-type]  # it is what the test is about
    made: Any = make(HeadParser(Limits()))
    for wrong in ((), (1, b""), (None, None), (made, b"x", 1)):
        with pytest.raises(TypeError, match=r"serve\(\) takes a Connection and bytes"):
            made.serve(*wrong)


if __name__ == "__main__":
    DIGESTS.write_text("".join(f"{line}\n" for line in sorted(entries().values())))
