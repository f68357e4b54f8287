"""Functions that stand for builtin ones.

A builtin function that is an attribute of a class does not turn into a method when it is reached through an instance;
a function of Python does. So patching puts functions that are bound already in the place of builtin ones.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from types import MethodType
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

__all__ = ["Place", "as_builtin"]

P = ParamSpec("P")
T = TypeVar("T")


class Place:
    """What such a function is bound to. It stands for the function's module, so that pickle finds it there by name."""

    __slots__ = ("_module",)

    def __init__(self, module: str) -> None:
        self._module = module

    def __repr__(self) -> str:
        return self._module

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # copy and pickle ask for some of these
            raise AttributeError(name)
        return getattr(import_module(self._module), name)

    def __reduce__(self) -> tuple[type[Place], tuple[str]]:
        return Place, (self._module,)

    def __deepcopy__(self, memo: object) -> Place:
        return self


def as_builtin(function: Callable[Concatenate[Place, P], T]) -> Callable[P, T]:
    """Decorator: the function without its first parameter. As an attribute of a class it does not become a method.

    The call costs nothing more. The first argument is a :class:`Place`, which the function ignores.
    """
    return cast("Callable[P, T]", MethodType(function, Place(function.__module__)))
