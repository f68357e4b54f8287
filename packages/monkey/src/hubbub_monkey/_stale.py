"""Finding references to originals that were taken before patching.

A module that ran ``from time import sleep`` before ``time.sleep`` was replaced goes on blocking. Nothing can be done
about it afterwards in general (the name may be a default argument, or bound in a closure), but it can be reported.
"""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Iterable, Iterator
from types import BuiltinFunctionType, FunctionType, ModuleType

from hubbub_monkey import _journal
from hubbub_monkey._whereabouts import is_ours
from hubbub_monkey.report import Replacement, Stale

__all__ = ["find"]

_KINDS = (FunctionType, BuiltinFunctionType, type)


def find(replacements: Iterable[Replacement]) -> Iterator[Stale]:
    """References in modules and their classes, except hubbub's, to what ``replacements`` replaced."""
    originals: dict[int, Replacement] = {}
    for item in sorted(replacements, key=_obscurity):
        if isinstance(item.old, _KINDS):
            originals.setdefault(id(item.old), item)
    if not originals:
        return
    for name, module in sorted(sys.modules.items()):
        if isinstance(module, ModuleType) and not is_ours(name):
            yield from _in_module(name, module, originals)
    for item in originals.values():
        if isinstance(item.old, type):
            yield from _subclasses(item)


def _obscurity(item: Replacement) -> tuple[bool, bool]:
    """Sort key: of the names of a function, the one to use in reports comes first: public, and in its own module."""
    private = item.module.startswith("_") or item.name.startswith("_")
    return private, item.module != getattr(item.old, "__module__", item.module)


def _in_module(holder: str, module: ModuleType, originals: dict[int, Replacement]) -> Iterator[Stale]:
    for name, value in list(vars(module).items()):
        item = originals.get(id(value))
        if item is not None and not _home(holder, name, item):
            yield _stale(holder, module, name, item)
        elif isinstance(value, type) and value.__module__ == holder:
            for attribute, inner in list(vars(value).items()):
                item = originals.get(id(inner))
                if item is not None and not _journal.replaced(holder, f"{name}.{attribute}"):
                    yield _stale(f"{holder}.{name}", module, attribute, item)


def _home(holder: str, name: str, item: Replacement) -> bool:
    """Whether this is the original's own place: where it is defined, the C half of its module, or a replaced name."""
    if holder in (f"_{item.module}", getattr(item.old, "__module__", None)) and name == item.old.__name__:
        return True
    return holder == f"_{item.module}" or bool(_journal.replaced(holder, name))


def _subclasses(item: Replacement) -> Iterator[Stale]:
    for cls in item.old.__subclasses__():
        module = sys.modules.get(cls.__module__)
        if module is None or is_ours(cls.__module__) or cls.__module__ == item.module:
            continue
        yield _stale(f"{cls.__module__}.{cls.__qualname__}", module, "(base class)", item)


def _stale(holder: str, module: ModuleType, name: str, item: Replacement) -> Stale:
    file = getattr(module, "__file__", None) or ""
    return Stale(holder, file, name, f"{item.module}.{item.name}", _is_library(module, file))


def _is_library(module: ModuleType, file: str) -> bool:
    if module.__name__.partition(".")[0] in sys.stdlib_module_names:
        return True
    return bool(file) and file.startswith(sysconfig.get_path("stdlib")) and "site-packages" not in file
