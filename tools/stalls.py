"""A pytest plugin under which the process stands still at random: ``./do tests -- net -p tools.stalls``.

On a busy machine a process may stand still for tens of milliseconds between any two lines, so a test that takes the
order of two real times for granted fails one day. Under this plugin it fails soon: before some statements of tests, and
whenever a native thread takes it, the GIL is kept for 20 to 80 milliseconds. ``HUBBUB_STALLS`` is the seed, an integer;
with the name of a test it decides where that one is struck. A test that fails says where it was.
"""

from __future__ import annotations

import ast
import builtins
import ctypes
import os
import sys
import time
import zlib
from collections.abc import Generator, Iterator
from pathlib import Path
from random import Random

import _pytest.assertion.rewrite as rewriting
import pytest

SEED = int(os.environ.get("HUBBUB_STALLS", "1"))
LIKELY = 0.35
"""How likely a statement is struck, as long as the test has not been struck often."""
OFTEN = 10
_HOOK = "_stands_still"
_BLOCKS = ("body", "orelse", "finalbody")
_keeping_the_gil = ctypes.PyDLL(None)
_sleep = time.sleep  # patching replaces it in some tests


def stand_still(random: Random) -> int:
    """Keep the GIL for a while; how long: milliseconds."""
    pause = random.randrange(20, 80)
    _keeping_the_gil.usleep(pause * 1000)
    return pause


class Strikes:
    """Where the running test has been struck, and is to be."""

    def __init__(self) -> None:
        self.random = Random()
        self.places: list[str] = []
        self.on = False

    def begin(self, name: str) -> None:
        """A test begins."""
        self.random.seed(zlib.crc32(name.encode()) + SEED)
        self.places = []
        self.on = True

    def statement(self) -> None:
        """A statement of a test begins."""
        if self.on and len(self.places) < OFTEN and self.random.random() < LIKELY:
            caller = sys._getframe(1)
            place = f"{Path(caller.f_code.co_filename).name}:{caller.f_lineno}"
            self.places.append(f"{place} for {stand_still(self.random)} ms")


strikes = Strikes()


class Striking(ast.NodeTransformer):
    """Puts a call before each statement of each function, and into each lambda."""

    def visit(self, node: ast.AST) -> ast.AST:
        """Visit the parts first."""
        self.generic_visit(node)
        if isinstance(node, ast.Lambda):
            both = ast.Tuple([_call(node.body), node.body], ast.Load())
            node.body = ast.copy_location(ast.Subscript(both, ast.Constant(1), ast.Load()), node.body)
        elif not isinstance(node, ast.Module | ast.ClassDef):
            for name in _BLOCKS:
                statements = getattr(node, name, None)
                if isinstance(statements, list):
                    setattr(node, name, list(_struck(statements)))
        return node


def _struck(statements: list[ast.stmt]) -> Iterator[ast.stmt]:
    for number, statement in enumerate(statements):
        is_docstring = not number and isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
        if not is_docstring:
            yield ast.copy_location(ast.Expr(_call(statement)), statement)
        yield statement


def _call(place: ast.AST) -> ast.expr:
    return ast.copy_location(ast.Call(ast.Name(_HOOK, ast.Load()), [], []), place)


def _rewrite(
    mod: ast.Module, source: bytes, module_path: str | None = None, config: pytest.Config | None = None
) -> None:
    if module_path and "tests" in Path(module_path).parts:
        Striking().visit(mod)
        ast.fix_missing_locations(mod)
    _rewrite_asserts(mod, source, module_path, config)


_rewrite_asserts = rewriting.rewrite_asserts


class _Taker:
    """A native thread that takes the GIL now and then. Python does not count it among its threads."""

    def __init__(self) -> None:
        self._over = False
        self._run = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(self._take_often)
        self._ident = ctypes.c_ulong()
        _keeping_the_gil.pthread_create(ctypes.byref(self._ident), None, self._run, None)

    def _take_often(self, _: object) -> None:
        random = Random(SEED)
        while not self._over:
            _sleep(random.uniform(0.02, 0.1))
            if strikes.on:
                stand_still(random)

    def end(self) -> None:
        """Return when it has ended."""
        self._over = True
        ctypes.CDLL(None).pthread_join(self._ident, None)


_takers: list[_Taker] = []


def pytest_configure(config: pytest.Config) -> None:
    """Have the modules of tests compiled with the calls, in memory alone."""
    setattr(builtins, _HOOK, strikes.statement)
    rewriting.rewrite_asserts = _rewrite
    rewriting.PYC_TAIL = ".stalls" + rewriting.PYC_TAIL
    sys.dont_write_bytecode = True
    _takers.append(_Taker())


def pytest_unconfigure(config: pytest.Config) -> None:
    """End the thread."""
    _takers.pop().end()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Strike a test while it runs."""
    strikes.begin(item.nodeid)
    try:
        return (yield)
    except BaseException:
        item.add_report_section("call", "moments in which the process stood still", "\n".join(strikes.places))
        raise
    finally:
        strikes.on = False
