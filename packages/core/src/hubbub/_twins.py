"""Marks for methods that an accelerator has a second time in C. :mod:`hubbub.acceleration` makes its tables of them.

A marked method and its twin must do the same. An author who changes one must look at the other: the mark names its file
in the accelerator, for core hubbub-speed. A test of the accelerator fails at each change of a marked method until the
author has confirmed that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

__all__ = ["Marks", "copied", "known", "known_to_c", "mirrored", "replaced", "twin"]

_Marked = TypeVar("_Marked", bound=Callable[..., Any])


class Marks:
    """What is marked, in one package."""

    def __init__(self) -> None:
        self.replaced: Final[dict[Callable[..., Any], str]] = {}
        """Methods that an accelerator replaces, each with the C file of its twin."""
        self.copied: Final[dict[Callable[..., Any], str]] = {}
        """Methods whose work C code does itself instead of calling them, each with the C file."""
        self.known: Final[list[Any]] = []
        """Classes whose slots C reads, and functions that it calls."""

    def twin(self, source: str) -> Callable[[_Marked], _Marked]:
        """Mark a method that an accelerator replaces.

        :param source: the accelerator's C file that has it.
        """

        def mark(method: _Marked) -> _Marked:
            self.replaced[method] = source
            return method

        return mark

    def mirrored(self, source: str) -> Callable[[_Marked], _Marked]:
        """Mark a method or function that stays in Python; methods in C do its work themselves instead of calling it.

        :param source: the accelerator's C file that does it.
        """

        def mark(method: _Marked) -> _Marked:
            self.copied[method] = source
            return method

        return mark

    def known_to_c(self, thing: _Marked) -> _Marked:
        """Mark a class whose slots C reads or writes in place, or a function that C calls."""
        self.known.append(thing)
        return thing


_core = Marks()
twin, mirrored, known_to_c = _core.twin, _core.mirrored, _core.known_to_c
replaced, copied, known = _core.replaced, _core.copied, _core.known
