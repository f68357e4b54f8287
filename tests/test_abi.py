"""The C table that core's ring backend drives is declared once, in core, and every native loop implements it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from hubbub.loop.native import cdef

if TYPE_CHECKING:
    from conftest import Package


def test_declared_once(packages: list[Package]) -> None:
    """No package but core has a header of the table."""
    assert {package.name for package in packages for _ in package.folder.glob("src/**/hb*.h")} == {"hubbub"}


def test_implemented_as_declared(native: Package) -> None:
    """A native loop includes the declarations from where core says they are, and defines each function of them."""
    if not native.loops:
        pytest.skip("not a loop")
    (source,) = native.folder.glob("src/*/*.c")
    text = source.read_text()
    assert '#include "hb.cdef.h"' in text
    declared = set(re.findall(r"\b(hb_\w+)\(", re.sub(r"/\*.*?\*/", "", cdef(), flags=re.DOTALL)))
    assert len(declared) > 10
    assert {name for name in declared if not re.search(rf"^\w.*\b{name}\([^;]*$", text, re.MULTILINE)} == set()
