"""Making ``import gevent`` mean hubbub.

A finder in :data:`sys.meta_path` loads this package's files under gevent's names, as ordinary modules: their
``__name__`` is ``gevent.event``, and ``importlib``, ``runpy``, ``mock.patch`` and import hooks see nothing unusual.
Each is one object under two names: ``hubbub_gevent.event`` is the same module.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec, SourceFileLoader
from types import ModuleType

__all__ = ["RealGeventImported", "has_module", "install", "is_installed", "unknown_in"]

# This module is loaded at the start of every interpreter that HUBBUB_GEVENT is set for: it imports little. Finders and
# loaders need no base class.
_HERE = os.path.dirname(os.path.abspath(__file__))
_FACADE = "gevent"
_SELF = "hubbub_gevent"
_TOP = "_gevent"
_OWN = frozenset({"installing", "pytest_plugin"})


class RealGeventImported(ImportError):
    """The real gevent is in use in this process; hubbub cannot take its place any more."""


def install() -> None:
    """From now on ``import gevent``, and every public submodule, means hubbub, even where gevent is installed too.

    A second call does nothing.

    :raises RealGeventImported: gevent itself was imported before.
    """
    if is_installed():
        return
    found = sys.modules.get(_FACADE)
    if found is not None:
        raise RealGeventImported(
            f"gevent was imported already, from {getattr(found, '__file__', None) or repr(found)}; "
            "call hubbub_gevent.install() before anything imports gevent",
            name=_FACADE,
        )
    sys.meta_path.insert(0, _Finder())
    sys.meta_path.append(_LastWord())


def is_installed() -> bool:
    """Whether ``import gevent`` means hubbub."""
    return any(isinstance(finder, _Finder) for finder in sys.meta_path)


def has_module(name: str) -> bool:
    """Whether there is a module ``gevent.<name>``."""
    return _file_of(name) is not None


def _file_of(relative: str) -> str | None:
    """The source of a facade module, ``"event"`` or ``"resolver.thread"``; None if there is none."""
    parts = relative.split(".")
    if parts[0] in _OWN or parts[0] in ("__init__", "__main__") or parts[0] == _TOP:
        return None
    path = os.path.join(_HERE, *parts)
    for file in (os.path.join(path, "__init__.py"), f"{path}.py"):
        if os.path.isfile(file):
            return file
    return None


class _Finder:
    """Answers for ``gevent``, ``gevent.X`` and, so that there is one object each, ``hubbub_gevent.X``."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec of a facade module, or None."""
        if fullname == _FACADE:
            return _spec(fullname, os.path.join(_HERE, f"{_TOP}.py"), _TOP, [_HERE])
        top, _, relative = fullname.partition(".")
        if top not in (_FACADE, _SELF) or not relative:
            return None
        file = _file_of(relative)
        if file is None:
            return None
        other = f"{_SELF if top == _FACADE else _FACADE}.{relative}"
        if top == _SELF or other in sys.modules:
            return ModuleSpec(fullname, _Alias(other))  # type: ignore[arg-type]  # the import system asks no base class
        package = os.path.basename(file) == "__init__.py"
        return _spec(fullname, file, relative, [os.path.dirname(file)] if package else None)


def _spec(name: str, file: str, relative: str, locations: list[str] | None) -> ModuleSpec | None:
    loader = _FacadeLoader(name, file, relative)
    return importlib.util.spec_from_file_location(name, file, loader=loader, submodule_search_locations=locations)


class _FacadeLoader(SourceFileLoader):
    """Loads a file of this package under gevent's name, and enters it under its own name too."""

    def __init__(self, fullname: str, path: str, relative: str) -> None:
        super().__init__(fullname, path)
        self._own = f"{_SELF}.{relative}"

    def exec_module(self, module: ModuleType) -> None:
        """Run the file."""
        sys.modules[self._own] = module
        try:
            super().exec_module(module)
        except BaseException:
            sys.modules.pop(self._own, None)
            raise
        if "__getattr__" not in vars(module):
            module.__getattr__ = unknown_in(module.__name__)  # type: ignore[method-assign]  # PEP 562
        parent, _, child = self._own.rpartition(".")
        setattr(importlib.import_module(parent), child, module)


def unknown_in(module: str) -> Callable[[str], object]:
    """The ``__getattr__`` of a module: an error that says whose gevent has no such name."""

    def __getattr__(name: str) -> object:
        raise AttributeError(
            f"module {module!r}, which is hubbub's, has no attribute {name!r}; "
            "if gevent 26.9.0 has it, please report that to hubbub",
            name=name,
        )

    return __getattr__


class _Alias:
    """Gives an existing module a second name."""

    def __init__(self, other: str) -> None:
        self._other = other
        self._spec: ModuleSpec | None = None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """The module that the other name means."""
        module = importlib.import_module(self._other)
        self._spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Nothing to run; the module keeps its first name."""
        module.__spec__ = self._spec


class _LastWord:
    """Says whose gevent has no such module, when no other finder knows it either."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """What a finder that came later finds.

        :raises ModuleNotFoundError: nothing.
        """
        if fullname.partition(".")[0] != _FACADE:
            return None
        for finder in sys.meta_path[sys.meta_path.index(self) + 1 :]:
            spec = finder.find_spec(fullname, path, target)
            if spec is not None:
                return spec
        raise ModuleNotFoundError(
            f"No module named {fullname!r} in hubbub, which takes gevent's place; "
            "if gevent 26.9.0 has it, please report that to hubbub",
            name=fullname,
        )
