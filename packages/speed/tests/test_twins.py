"""Methods of core and their twins in C stay the same: what is marked there is here, and no change goes unseen."""

from __future__ import annotations

import ast
import hashlib
import inspect
import io
import subprocess
import sys
import textwrap
import tokenize
from pathlib import Path
from typing import Any

import pytest
from hubbub import acceleration
from hubbub_speed import _methods
from hubbub_speed.methods import install_methods, uninstall_methods

NATIVE = Path(__file__).parent.parent / "src" / "hubbub_speed" / "native"
DIGESTS = Path(__file__).with_name("twins.txt")
"""A line for each marked method: its C file, its name, and a digest of its source when the two were last compared."""
LOOKED_AT = {**acceleration.TWINS, **acceleration.MIRRORED}


def digest(method: Any) -> str:
    """Of the source without what changes nothing: decorators, comments, the docstring."""
    text = textwrap.dedent(inspect.getsource(method))
    (function,) = ast.parse(text).body
    assert isinstance(function, ast.FunctionDef)
    lines = text.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            lines[token.start[0] - 1] = token.line[: token.start[1]]
    first = function.body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
        assert first.end_lineno is not None
        lines[first.lineno - 1 : first.end_lineno] = []
    code = [line.rstrip() for line in lines[function.lineno - 1 :] if line.strip()]
    return hashlib.sha256("\n".join(code).encode()).hexdigest()[:12]


def entries() -> dict[str, str]:
    """What twins.txt should say: a line for each full name of a method."""
    uninstall_methods()
    try:
        marked = {key: key[0].__dict__[key[1]] for key in LOOKED_AT}
        methods = {key: one.fget if isinstance(one, property) else one for key, one in marked.items()}
    finally:
        install_methods()
    names = {key: f"{method.__module__}.{method.__qualname__}" for key, method in methods.items()}
    return {names[key]: f"{LOOKED_AT[key]} {names[key]} {digest(method)}" for key, method in methods.items()}


def test_a_changed_method_is_held_against_its_twin() -> None:
    """A change of a marked method is an error that names the C file to look at, until twins.txt has the new digest."""
    written = {line.split()[1]: line for line in DIGESTS.read_text().splitlines()}
    now = entries()
    changed = [
        f"{name} is not as it was: does {line.split()[0]} still do the same? Then write into {DIGESTS.name}:\n{line}"
        for name, line in now.items()
        if written.get(name) != line
    ]
    gone = [f"{name} is marked no more: take it out of {DIGESTS.name}" for name in written if name not in now]
    assert not changed + gone, "\n".join(changed + gone)


def test_the_digest_tells_code_from_words() -> None:
    """Docstrings, comments and decorators may change; anything else makes another digest."""

    def method(self: Any) -> int:
        """Words."""
        # More words.
        return 1

    before = digest(method)

    def method(self: Any) -> int:  # type: ignore[no-redef]  # the same name, to be told by its body
        """Other words."""
        return 1

    assert digest(method) == before

    def method(self: Any) -> int:  # type: ignore[no-redef]  # as above
        """Words."""
        return 2

    assert digest(method) != before


def test_marks_are_what_is_replaced() -> None:
    """Each method that is marked in core has a twin here, and no other is replaced."""
    assert set(_methods.bind(acceleration.PARTS)) == set(acceleration.TWINS)


@pytest.mark.skipif(not NATIVE.exists(), reason="the C files are not part of a wheel")
def test_marks_name_the_right_file() -> None:
    """The C file that a mark names is there, and defines a method of that name if the mark is that of a twin."""
    for (cls, name), source in LOOKED_AT.items():
        text = (NATIVE / source).read_text()
        if (cls, name) in acceleration.TWINS:
            assert f'"{name}"' in text, f"{source} has no {name}"
            assert f'"{cls.__module__}.{cls.__qualname__}"' in text, f"{source} knows nothing of {cls}"


def test_constants_are_those_of_core() -> None:
    """Both kinds of methods go by the numbers of core: another slice makes another turn in C too."""
    code = (
        "from hubbub import acceleration; from hubbub_speed import _methods\n"
        "from hubbub.lowlevel import loop_class, make_loop\n"
        "constants = acceleration.CONSTANTS | {'slice': 3, 'slices': 5, 'slow': 1e9, 'overtime': -1e9}\n"
        "methods = _methods.bind(dict(acceleration.PARTS, constants=constants))\n"
        "acceleration.replace_methods(methods)\n"
        "loop = make_loop(loop_class('stdlib'))\n"
        "loop.ready.extend([int] * 100)\n"
        "loop.run_ready()\n"
        "print(len(loop.ready))\n"
        "loop.destroy()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50, check=True)
    assert done.stdout.strip() == "90"  # 1, 1, 2, 3 and 3


@pytest.mark.parametrize(("longest", "left"), [(0, 98), (1e9, 0)])
def test_the_length_of_a_turn_is_that_of_core(longest: float, left: int) -> None:
    """By how much many callables lengthen a turn is said by core: by nothing, it ends at the second look."""
    code = (
        "from hubbub import acceleration; from hubbub_speed import _methods\n"
        "from hubbub.lowlevel import loop_class, make_loop\n"
        f"constants = acceleration.CONSTANTS | {{'crowd': 1e-9, 'longest': {longest}, 'slow': 1e9, 'overtime': -1e9}}\n"
        "methods = _methods.bind(dict(acceleration.PARTS, constants=constants))\n"
        "acceleration.replace_methods(methods)\n"
        "loop = make_loop(loop_class('stdlib'))\n"
        "loop.ready.extend([int] * 100)\n"
        "loop.run_ready()\n"
        "print(len(loop.ready))\n"
        "loop.destroy()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50, check=True)
    assert done.stdout.strip() == str(left)


def test_a_missing_constant_is_refused() -> None:
    """A core that lacks a number is refused with its name."""
    code = (
        "from hubbub import acceleration; from hubbub_speed import _methods\n"
        "try: _methods.bind(dict(acceleration.PARTS, constants={}))\n"
        "except TypeError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50, check=True)
    assert "slice is missing" in done.stdout


if __name__ == "__main__":
    DIGESTS.write_text("".join(f"{line}\n" for line in sorted(entries().values())))
