"""The accelerator and the classes of TLS that it is made for."""

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
import hubbub_net.ssl
import pytest
from hubbub_net import acceleration
from hubbub_net._tlsreader import Reader
from hubbub_net_speed import net_methods
from hubbub_net_speed._extension import extension

NATIVE = Path(__file__).parent.parent / "src" / "hubbub_net_speed" / "native"
DIGESTS = Path(__file__).with_name("twins.txt")
"""A line for each method that C does the work of: the C file, its name, and a digest of its source when the two were
last compared."""


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
    known = acceleration.TWINS | acceleration.MIRRORED
    names = {function: f"{function.__module__}.{function.__qualname__}" for function in known}
    return {names[f]: f"{source} {names[f]} {digest(f)}" for f, source in known.items()}


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
    """Each C file that hubbub-net names exists."""
    named = set(acceleration.TWINS.values()) | set(acceleration.MIRRORED.values())
    assert {path.name for path in NATIVE.glob("*.c")} >= named


def test_all_twins() -> None:
    """What is marked is replaced, and nothing else; a twin has the parameters of the method that it replaces."""
    methods = net_methods(acceleration.PARTS)
    assert methods is not None
    found = {f"{cls.__module__}.{cls.__qualname__}.{name}": method for (cls, name), method in methods.items()}
    originals = {f"{function.__module__}.{function.__qualname__}": function for function in acceleration.TWINS}
    assert set(found) == set(originals)
    for name, method in found.items():
        assert [*inspect.signature(method).parameters] == [*inspect.signature(originals[name]).parameters], name


@pytest.mark.parametrize("built", [acceleration.LAYOUT - 1, acceleration.LAYOUT + 1])
def test_another_layout(monkeypatch: pytest.MonkeyPatch, built: int) -> None:
    """What was compiled for another layout, older or newer, is told from it once, and Python's methods stay."""
    monkeypatch.setattr(extension, "LAYOUT", built)
    acceleration.slow_down()
    with pytest.warns(RuntimeWarning, match=rf"\(layout {built}, not {acceleration.LAYOUT}\): its TLS runs in Python"):
        assert not acceleration.accelerate()
    assert not acceleration.accelerate()
    acceleration.slow_down()


def test_off() -> None:
    """The setting that switches accelerators off leaves this one aside, too."""
    acceleration.slow_down()
    hubbub.configure(accelerators=False)
    try:
        assert not acceleration.accelerate()
        assert inspect.isfunction(Reader.read)
    finally:
        hubbub.configure(accelerators=None)
    acceleration.slow_down()
    assert acceleration.accelerate()
    assert not inspect.isfunction(Reader.read)
    acceleration.slow_down()


def test_a_connection_turns_it_on(pair: Callable[[], tuple[Any, Any]]) -> None:
    """Nobody has to ask for it: the first connection puts it in place."""
    acceleration.slow_down()
    assert inspect.isfunction(Reader.read)
    server, client = pair()
    client.sendall(b"x")
    assert server.recv(10) == b"x"
    assert not inspect.isfunction(Reader.read)
    acceleration.slow_down()


def test_a_missing_part() -> None:
    """Classes of TLS that lack a part, or a slot, are refused with its name."""
    code = (
        "import warnings; warnings.simplefilter('always')\n"
        "import hubbub_net.ssl; from hubbub_net.acceleration import PARTS; from hubbub_net_speed import *\n"
        "wrong = [dict(PARTS, Turns=type('Turns', (), {'behind': 1})), dict(PARTS, Wire=1)]\n"
        "for name in sorted(set(PARTS) - {'layout'}):\n"
        "    wrong.append({key: part for key, part in PARTS.items() if key != name})\n"
        "for parts in wrong:\n"
        "    with warnings.catch_warnings(record=True) as seen:\n"
        "        assert net_methods(parts) is None\n"
        "    print(str(seen[0].message).partition('(')[2].partition(')')[0])\n"
        "print(len(net_methods(PARTS)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50, check=True)
    slot, kind, *missing, last = done.stdout.splitlines()
    assert slot.endswith("has no slot behind")
    assert kind == "Wire is not a class"
    assert missing == [f"{name} is missing" for name in sorted(set(acceleration.PARTS) - {"layout"})]
    assert int(last) == len(acceleration.TWINS)


if __name__ == "__main__":
    acceleration.slow_down()
    assert hubbub_net.ssl
    DIGESTS.write_text("".join(f"{line}\n" for line in sorted(entries().values())))
