"""Marks for methods that an accelerator has a second time in C. :mod:`hubbub.acceleration` makes its tables of them.

A marked method and its twin must do the same. An author who changes one must look at the other: the mark names its file
in hubbub-speed. A test of hubbub-speed fails at each change of a marked method until the author has confirmed that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["known_to_c", "mirrored", "twin"]

_Marked = TypeVar("_Marked", bound=Callable[..., Any])

replaced: dict[Callable[..., Any], str] = {}
"""Methods that an accelerator replaces, each with the C file of its twin."""
copied: dict[Callable[..., Any], str] = {}
"""Methods whose work C code does itself instead of calling them, each with the C file."""
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
    """Mark a method or function that stays in Python; methods in C do its work themselves instead of calling it.

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
