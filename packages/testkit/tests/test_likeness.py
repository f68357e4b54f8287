"""What the comparison of replacements finds."""

from __future__ import annotations

from typing import Any

import pytest
from hubbub_testkit.likeness import differences


class Old:
    """Something to be replaced."""

    LIMIT = 1

    def __init__(self, size: int = 0) -> None:
        self._size = size

    def get(self, block: bool = True, timeout: float | None = None) -> None:
        """A method."""

    def _at_fork(self) -> None:
        """A private one."""

    @classmethod
    def make(cls, *parts: int, **names: int) -> None:
        """A class method."""


class Like(Old):
    """Takes and has more."""

    def get(self, block: bool = True, timeout: float | None = None, more: int = 1) -> None:
        """As before."""

    def other(self) -> None:
        """Besides."""


class Unlike:
    """Differs in everything."""

    LIMIT = None

    def __init__(self, length: int) -> None:
        self.length = length

    def get(self, wait: bool, *, timeout: float | None = None) -> None:
        """Other parameters."""

    make = staticmethod(lambda *parts: None)

    def __reduce__(self) -> Any:
        raise TypeError


def test_what_has_all_is_alike() -> None:
    """A replacement may have and take more."""
    assert list(differences(Old, Like, (Old(), Like()))) == []
    assert list(differences(Old.get, Like.get)) == []
    assert list(differences(1, 2)) == []


def test_what_differs_is_told() -> None:
    """Missing attributes and parameters, other kinds, other demands and other abilities are told by name."""
    assert list(differences(Old, Unlike, (Old(), Unlike(1)))) == [
        "__init__ demands length",
        "__init__ calls size length",
        "__init__ does not take size by name",
        "LIMIT is None, not data",
        "_at_fork is missing",
        "get takes 1 fewer by position",
        "get demands wait",
        "get calls block wait",
        "get does not take block by name",
        "make is a static method, not a class method",
        "_size of an object is missing",
        "cannot be copied",
        "cannot be deeply copied",
        "cannot be pickled",
    ]


@pytest.mark.parametrize(
    ("new", "difference"),
    [
        (lambda *, a: None, "takes 1 fewer by position"),
        (lambda a, b: None, "demands b"),
        (lambda b: None, "calls a b"),
        (3, "cannot be called"),
    ],
)
def test_functions(new: Any, difference: str) -> None:
    """Functions are compared by the calls that they take."""
    assert difference in list(differences(lambda a: None, new))


def test_kinds() -> None:
    """A class is replaced by a class, and a value by one of its kind."""
    assert list(differences(Old, lambda size=0: Old(size))) == ["is no class", *_missing()]
    assert list(differences(Old, 3)) == ["cannot be called"]
    assert list(differences(1, "1")) == ["is of str, not of int"]


def _missing() -> list[str]:
    return [f"{name} is missing" for name in ("LIMIT", "_at_fork", "get", "make")]
