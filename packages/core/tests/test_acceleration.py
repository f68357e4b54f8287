"""What accelerators are told: the tables are made of the marks, and nothing is left out."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import hubbub
import pytest
from hubbub import acceleration

HOME = Path(hubbub.__file__).parent
TABLES = ("constants", "objects")
MARK = re.compile(r"^ *@(twin|mirrored|known_to_c)\b", re.MULTILINE)


def test_every_module_with_marks_is_known():
    """A module that has marks is among those that the tables are made of, and no other is."""
    marked = {path for path in HOME.rglob("*.py") if path.name != "_twins.py" and MARK.search(path.read_text())}
    assert {Path(module.__file__) for module in acceleration.MARKED} == marked


def test_every_mark_is_in_a_table():
    """As many methods, classes and functions are marked as the tables have."""
    count = sum(len(MARK.findall(Path(module.__file__).read_text())) for module in acceleration.MARKED)
    known = [name for name in acceleration.PARTS if name not in TABLES]
    classes = {cls for cls, _ in acceleration.TWINS} | {acceleration.ring.RingBackend.poll}
    assert count == len(acceleration.TWINS) + len(acceleration.MIRRORED) + len(known) - len(classes)


def test_parts_go_by_their_full_names():
    """Each part is what its name says."""
    for name, part in acceleration.PARTS.items():
        if name not in TABLES:
            assert f"{part.__module__}.{part.__qualname__}" == name
            assert part.__module__ in sys.modules


class Counting:
    """Has a method by two names."""

    def first(self) -> int:
        return 1

    second = first


def test_other_names_of_a_method_are_replaced_too():
    """A method that has two names is replaced under both, and set back under both."""
    undo = acceleration.replace_methods({(Counting, "first"): lambda self: 2})
    assert (Counting().first(), Counting().second()) == (2, 2)
    undo()
    assert (Counting().first(), Counting().second()) == (1, 1)


def test_what_is_not_there_is_refused():
    """A method that the class itself does not have is refused, before anything is changed."""
    with pytest.raises(AttributeError, match="Counting has no method 'third'"):
        acceleration.replace_methods({(Counting, "first"): lambda self: 2, (Counting, "third"): lambda self: 3})
    assert Counting().first() == 1
