"""Marks on what an accelerator has a second time in C. :mod:`hubbub.acceleration` makes its tables of them.

A marked method and its twin must do the same. Who changes the one looks at the other: the mark says in which file of
hubbub-speed, and a test of hubbub-speed fails at each change of a marked method until somebody has said that he did.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["known_to_c", "mirrored", "twin"]

_Marked = TypeVar("_Marked", bound=Callable[..., Any])

replaced: dict[Callable[..., Any], str] = {}
"""Methods in whose place an accelerator sets its own, each with the C file of that one."""
copied: dict[Callable[..., Any], str] = {}
"""Methods whose work C does itself where it would call them, each with the C file."""
known: list[Any] = []
"""Classes whose slots C reads, and functions that it calls."""


def twin(source: str) -> Callable[[_Marked], _Marked]:
    """Mark a method that an accelerator replaces.

    :param source: the C file of hubbub-speed that has it.
    """

    def mark(method: _Marked) -> _Marked:
        replaced[method] = source
        return method

    return mark


def mirrored(source: str) -> Callable[[_Marked], _Marked]:
    """Mark a method, or a function, that stays, but that methods in C do not call: they do what it does.

    :param source: the C file of hubbub-speed that does it.
    """

    def mark(method: _Marked) -> _Marked:
        copied[method] = source
        return method

    return mark


def known_to_c(thing: _Marked) -> _Marked:
    """Mark a class whose slots C reads or writes in place, or a function that C calls."""
    known.append(thing)
    return thing
