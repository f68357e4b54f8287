"""What is known of :mod:`threading` in one version of CPython, and whether it is true of this interpreter."""

from __future__ import annotations

import importlib
import inspect
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import CodeType
from typing import Any

from hubbub_monkey.exceptions import PatchError, PatchWarning

__all__ = ["Adapter", "choose"]


@dataclass(frozen=True)
class Adapter:
    """One version's private names.

    :param version: the minor version, ``(3, 14)``.
    :param replacements: returns the names to set, ``{module: {name: value}}``. Every name must exist already.
    :param adopt_threads: adapts the threads that exist; called after the names are set. Returns what undoes it.
    :param leans_on: for each function of :mod:`threading`, the names that it must use.
    """

    version: tuple[int, int]
    replacements: Callable[[], dict[str, dict[str, Any]]]
    adopt_threads: Callable[[], Callable[[], None]]
    leans_on: Mapping[str, tuple[str, ...]]

    def faults(self) -> list[str]:
        """What differs from what the adapter needs, each in a few words."""
        return [*self._missing(), *self._unused()]

    def _missing(self) -> Iterator[str]:
        for module, names in self.replacements().items():
            there = vars(importlib.import_module(module))
            yield from (f"{module}.{name} is not there" for name in names if name not in there)

    def _unused(self) -> Iterator[str]:
        for path, names in self.leans_on.items():
            function = _find(path)
            if function is None:
                yield f"threading.{path} is not there"
                continue
            code = inspect.unwrap(function).__code__
            if code.co_filename == threading.Thread.run.__code__.co_filename:  # else it is a wrapper of another library
                used = set(_names(code))
                yield from (f"threading.{path} does not use {name}" for name in names if name not in used)


def _find(path: str) -> Any:
    found: Any = threading
    for name in path.split("."):
        found = getattr(found, name, None)
    return found


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _names(inner)


_KNOWN = ((3, 11), (3, 12), (3, 13), (3, 14), (3, 15))


def choose() -> Adapter:
    """The adapter for this interpreter: that of its version; for a later one the newest, with a warning.

    :raises PatchError: this interpreter differs from what the adapter needs. Nothing was changed.
    """
    mine = sys.version_info[:2]
    if sys.implementation.name != "cpython":
        raise PatchError(_refusal(f"this is {sys.implementation.name}, and only CPython's threads are known"))
    version = mine if mine in _KNOWN else _KNOWN[-1]
    try:
        found: Adapter = importlib.import_module("hubbub_monkey._cpython_{}{}".format(*version)).ADAPTER
        faults = found.faults()
    except (AttributeError, ImportError) as error:
        faults = [str(error)]
    known = "{}.{}".format(*version)
    here = ".".join(map(str, sys.version_info[:3]))
    if faults:
        raise PatchError(
            _refusal(f"the adapter for CPython {known} does not fit this CPython {here}: {'; '.join(faults)}")
        )
    if version != mine:
        warnings.warn(
            f"CPython {here} is not known to this hubbub-monkey. Its threads are patched as those of {known}: "
            "all private names that this leans on are there",
            PatchWarning,
            stacklevel=2,
        )
    return found


def _refusal(reason: str) -> str:
    return (
        f"threads cannot be patched: {reason}. Nothing was patched; thread=False leaves threads alone, locks included"
    )
